#include "apps/model_inputs.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "apps/json_text.h"

namespace fulcrum::apps {

ModelInputs inputs_of(const ExperimentData& data) {
  return {data.train->image_shape(), data.statistics, data.train->class_names()};
}

std::string class_difference(const std::vector<std::string>& there, const std::vector<std::string>& here) {
  const std::vector<std::string> numbers = numbered_class_names(std::ssize(here));
  if (there.size() != here.size() || there == numbers || here == numbers) return {};
  for (size_t c = 0; c < here.size(); c++)
    // Compare names as they are in a file, where bytes that are not UTF-8 have been replaced.
    if (json_text(there[c]) != json_text(here[c]))
      return concat_text("class ", c, " is ", there[c], " there and ", here[c], " here");
  return {};
}

std::string to_text(const ModelInputs& inputs) {
  const Shape& s = inputs.image;
  const nlohmann::json json = {{"shape", {s[0], s[1], s[2]}},
                               {"mean", inputs.statistics.mean},
                               {"std", inputs.statistics.stddev},
                               {"classes", inputs.classes}};
  return json_text(json);
}

std::optional<ModelInputs> read_inputs(const TensorFile& tensors, const std::string& file) {
  const auto text = tensors.metadata.find("inputs");
  if (text == tensors.metadata.end()) return std::nullopt;
  ModelInputs inputs;
  try {
    const nlohmann::json json = nlohmann::json::parse(text->second);
    const auto shape = json.at("shape").get<std::vector<int64_t>>();
    check(shape.size() == 3 && *std::ranges::min_element(shape) > 0, "expected a shape [H, W, C]");
    inputs.image = {shape[0], shape[1], shape[2]};
    json.at("mean").get_to(inputs.statistics.mean);
    json.at("std").get_to(inputs.statistics.stddev);
    json.at("classes").get_to(inputs.classes);
    check(std::ssize(inputs.statistics.mean) == shape[2] && std::ssize(inputs.statistics.stddev) == shape[2],
          "expected a mean and a std for each of ", shape[2], " channels");
    check(!inputs.classes.empty(), "expected classes");
  } catch (const std::exception& e) {
    fail(file, ": metadata 'inputs': ", e.what());
  }
  return inputs;
}

}  // namespace fulcrum::apps
