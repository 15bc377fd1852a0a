#include "apps/stored_model.h"

#include <set>

#include <fulcrum/layers/models.h>

#include "apps/checkpoint.h"
#include "apps/ranges.h"
#include "apps/run_directory.h"
#include "apps/sealed_file.h"

namespace fulcrum::apps {

namespace {

// The rows of the head's weight.
int64_t classes_of(const StoredModel& stored) {
  const std::string head = head_prefix(*fulcrum::make_model(stored.config.model.name)) + "weight";
  const auto weight = stored.tensors.tensors.find(head);
  check(weight != stored.tensors.tensors.end() && weight->second.dim() == 2, stored.file.string(),
        ": expected a matrix '", head, "', the head of model.name = ", stored.config.model.name);
  return weight->second.size(0);
}

}  // namespace

bool acts_on_stored_model(const std::string& key) {
  static const std::set<std::string> of_training = {"data.sampler",
                                                    "data.pad",
                                                    "data.flip",
                                                    "data.rotation",
                                                    "data.erase",
                                                    "data.erase_scale",
                                                    "data.erase_ratio",
                                                    "data.random_crop",
                                                    "data.scale",
                                                    "data.ratio",
                                                    "data.mixup",
                                                    "data.cutmix",
                                                    "data.random_resized_crop",
                                                    "data.mix_prob",
                                                    "data.randaugment",
                                                    "data.randaugment_magnitude",
                                                    "data.color_jitter",
                                                    "data.mix_switch_prob"};
  static const std::set<std::string> others = {"model.name",      "model.stem", "loss.name",
                                               "loss.ldam_scale", "train.amp",  "train.device",
                                               "train.threads",   "train.tf32", "train.cudnn_benchmark"};
  return key.starts_with("data.") ? !of_training.contains(key) : others.contains(key);
}

StoredModel open_stored_model(const std::filesystem::path& path, const SettingsFlags& settings) {
  refuse_directory_of_runs(path);
  StoredModel stored;
  stored.file = std::filesystem::is_directory(path) ? path / "last.safetensors" : path;
  stored.tensors = load_sealed(stored.file);
  Config base;
  if (const auto text = stored.tensors.metadata.find("config"); text != stored.tensors.metadata.end())
    load_toml(base, text->second, stored.file.string());
  stored.config = settings.resolve(base);
  settings.refuse_without(acts_on_stored_model, "beside a trained model");
  return stored;
}

void refuse_to_replace(const StoredModel& stored, const std::string& flag, const std::filesystem::path& output) {
  std::error_code ignored;
  if (std::filesystem::equivalent(stored.file, output, ignored))
    usage(flag, ": ", output.string(), " is the model that is read; expected another file");
}

ModelInputs inputs_of(const StoredModel& stored) {
  if (auto inputs = read_inputs(stored.tensors, stored.file.string())) return *inputs;
  const DataSettings& d = stored.config.data;
  if (d.image_size > 0 && std::ssize(d.mean) == d.channels)
    return {{d.image_size, d.image_size, d.channels}, {d.mean, d.stddev}, numbered_class_names(classes_of(stored))};
  return inputs_of(load_data(d));
}

std::unique_ptr<Module> build(const StoredModel& stored, const Shape& image, int64_t classes) {
  std::unique_ptr<Module> model = make_model(stored.config, image, classes);
  try {
    model->load_state_dict(evaluated_tensors(stored.tensors));
  } catch (const Error& e) {
    fail(stored.file.string(), ": ", e.what());
  }
  return model;
}

}  // namespace fulcrum::apps
