// fulcrum predict: labels and probabilities of images.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fulcrum/core/inference_mode.h>
#include <fulcrum/data/image_dataset.h>

#include "apps/commands.h"
#include "apps/csv.h"
#include "apps/exit_codes.h"
#include "apps/flag_checks.h"
#include "apps/image_sets.h"
#include "apps/json_text.h"
#include "apps/losses.h"
#include "apps/ranges.h"
#include "apps/say.h"
#include "apps/settings_flags.h"
#include "apps/stored_model.h"

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

struct PredictFlags {
  SettingsFlags settings;
  std::string model;
  std::vector<std::string> images;  // files and folders
  std::string list;                 // a file of paths; -: stdin
  int64_t top = 1;
  std::string format = "text";
  bool skip = false;
};

// ---- which images ----

void add_folder(std::vector<std::string>& paths, const fs::path& folder) {
  std::vector<std::string> found;
  try {
    for (const auto& entry : fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink))
      if (!entry.is_directory() && has_image_extension(entry.path())) found.push_back(entry.path().string());
  } catch (const fs::filesystem_error& e) {
    fail("[predict] ", e.path1().string(), ": ", e.code().message());
  }
  check(!found.empty(), "[predict] ", folder.string(), ": expected .jpg, .jpeg or .png files in it, got none");
  std::ranges::sort(found);
  paths.insert(paths.end(), found.begin(), found.end());
}

// Reads paths, which are relative to the working directory, as on the command line.
std::vector<std::string> read_list(const std::string& list) {
  std::ifstream file;
  if (list != "-") file.open(list);
  check(list == "-" || file.is_open(), "[predict] ", list, ": cannot open the list of images");
  std::istream& in = list == "-" ? std::cin : file;
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (lines.empty() && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
    if (!line.empty()) lines.push_back(line);
  }
  check(!in.bad(), "[predict] ", list, ": cannot read the list of images");
  return lines;
}

std::vector<std::string> image_paths(const PredictFlags& flags) {
  std::vector<std::string> given = flags.images, paths;
  if (!flags.list.empty()) {
    const std::vector<std::string> listed = read_list(flags.list);
    given.insert(given.end(), listed.begin(), listed.end());
  }
  if (given.empty()) usage("predict: expected images: files, folders, or --list FILE");
  for (const std::string& path : given) {
    if (fs::is_directory(path)) add_folder(paths, path);
    else paths.push_back(path);
  }
  return paths;
}

// The options of evaluation. If those set no data.image_size, the data set is of one size already, and images are
// brought to that size as data.image_size would.
ImageOptions options_for(const DataSettings& data, const Shape& image) {
  ImageOptions options = is_image_files(data) ? image_options(data) : ImageOptions();
  options.channels = image[2];
  if (options.image_size == 0 && image[0] == image[1]) options.image_size = image[0];
  options.skip_bad = false;
  return options;
}

void leave_out_bad(ImageListing& listing, const ImageOptions& options) {
  const std::vector<BadImage> bad = find_bad_images(listing, options);
  if (bad.empty()) return;
  say("left out {} of {} images that cannot be read:\n", bad.size(), listing.paths.size());
  std::vector<std::string> good;
  size_t next = 0;
  for (size_t i = 0; i < listing.paths.size(); i++) {
    if (next < bad.size() && bad[next].index == static_cast<int64_t>(i)) say("  {}\n", bad[next++].reason);
    else good.push_back(listing.paths[i]);
  }
  check(!good.empty(), "[predict] none of ", listing.paths.size(), " images can be read");
  listing.paths = std::move(good);
}

ImageDataset open_images(const PredictFlags& flags, const Config& config, const ModelInputs& inputs) {
  const ImageOptions options = options_for(config.data, inputs.image);
  ImageListing listing;
  listing.paths = image_paths(flags);
  listing.class_names = inputs.classes;
  if (flags.skip) leave_out_bad(listing, options);
  listing.labels.assign(listing.paths.size(), 0);  // unused
  ImageDataset images(std::move(listing), options);
  check(images.image_shape() == inputs.image, "[predict] ", images.paths()[0], ": expected images of ", inputs.image[0],
        "x", inputs.image[1], " (height x width), got ", images.image_shape()[0], "x", images.image_shape()[1]);
  return images;
}

// ---- what is printed ----

struct Guess {
  size_t index;  // of the class
  double probability;
};

// The `top` likeliest classes, the likeliest first; of equals, the first.
std::vector<Guess> guesses_of(const float* logits, size_t classes, size_t top) {
  const double largest = *std::max_element(logits, logits + classes);
  double sum = 0;
  std::vector<Guess> all(classes);
  for (size_t i = 0; i < classes; i++) sum += (all[i] = {i, std::exp(logits[i] - largest)}).probability;
  std::ranges::stable_sort(all, std::greater(), &Guess::probability);
  all.resize(top);
  for (Guess& g : all) g.probability /= sum;
  return all;
}

// A byte that does not continue a character of UTF-8 begins one.
size_t characters(const std::string& text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

class Printer {
 public:
  Printer(std::string format, const std::vector<std::string>& classes, const std::vector<std::string>& paths)
      : format_(std::move(format)), classes_(classes) {
    constexpr size_t kWidest = 60;
    for (const std::string& path : paths) width_ = std::max(width_, std::min(characters(path), kWidest));
    if (format_ == "csv") fmt::print("image,rank,label,index,probability\n");
  }

  void print(const std::string& path, const std::vector<Guess>& guesses) const {
    if (format_ == "json") return print_json(path, guesses);
    if (format_ == "csv") return print_csv(path, guesses);
    std::string line = path + std::string(width_ - std::min(width_, characters(path)), ' ');
    for (const Guess& g : guesses) line += fmt::format("  {:6.2f} % {}", 100 * g.probability, classes_[g.index]);
    fmt::print("{}\n", line);
  }

 private:
  void print_json(const std::string& path, const std::vector<Guess>& guesses) const {
    nlohmann::json top = nlohmann::json::array();
    for (const Guess& g : guesses)
      top.push_back({{"label", classes_[g.index]}, {"index", g.index}, {"probability", g.probability}});
    const nlohmann::json row = {{"image", path}, {"predictions", top}};
    fmt::print("{}\n", json_text(row));
  }
  void print_csv(const std::string& path, const std::vector<Guess>& guesses) const {
    for (size_t rank = 0; rank < guesses.size(); rank++)
      fmt::print("{},{},{},{},{:.6g}\n", csv_field(path), rank + 1, csv_field(classes_[guesses[rank].index]),
                 guesses[rank].index, guesses[rank].probability);
  }

  std::string format_;
  const std::vector<std::string>& classes_;
  size_t width_ = 0;
};

int run_predict(const PredictFlags& flags) {
  const StoredModel stored = open_stored_model(flags.model, flags.settings);
  const Config& config = stored.config;
  use_device(config.train);
  use_threads(config);
  const ModelInputs inputs = inputs_of(stored);
  const int64_t classes = std::ssize(inputs.classes);
  if (flags.top > classes)
    usage("--top: expected at most ", classes, ", the classes of ", stored.file.string(), ", got ", flags.top);
  const std::unique_ptr<Module> model = build(stored, inputs.image, classes);
  model->to(Device(config.train.device), activation_dtype(config));
  model->eval();

  const ImageDataset images = open_images(flags, config, inputs);
  const Loader loader = make_eval_loader(config, images, all_indices(images.size()), inputs.statistics);
  const Printer printer(flags.format, inputs.classes, images.paths());
  const InferenceMode inference;
  size_t at = 0;
  for (const Batch& batch : loader.epoch(0)) {
    const Tensor logits = (*model)(batch.images).to(DType::kF32).to(Device()) * logit_scale(config.loss);
    for (int64_t i = 0; i < batch.size; i++) {
      const std::string& path = images.paths()[at++];
      const float* row = logits.data<float>() + i * classes;
      check(std::all_of(row, row + classes, [](float v) { return std::isfinite(v); }), "[predict] ", path,
            ": the network's answer is not finite");
      printer.print(path, guesses_of(row, static_cast<size_t>(classes), static_cast<size_t>(flags.top)));
    }
    std::fflush(stdout);
  }
  return kExitDone;
}

}  // namespace

void add_predict_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("predict", "Label images with a trained model");
  sub->footer("Example: fulcrum predict runs/first photos/ cat.jpg --top 3 --format csv");
  auto flags = std::make_shared<PredictFlags>();
  sub->add_option("model", flags->model, "a run directory (its last.safetensors) or a safetensors file")->required();
  sub->add_option("images", flags->images, "JPEG and PNG files, and folders of them");
  sub->add_option("--list", flags->list, "a file with one image path per line, or - for stdin");
  sub->add_option("-k,--top", flags->top, "number of classes to list, the likeliest first")
      ->check(above_zero())
      ->capture_default_str();
  sub->add_option("--format", flags->format, "text, json (one object per line) or csv (one line per class)")
      ->check(CLI::IsMember({"text", "json", "csv"}))
      ->capture_default_str();
  sub->add_flag("--skip", flags->skip, "read all images first, and leave out those that cannot be read");
  flags->settings.add_some_to(*sub, {"data.name", "data.dir", "data.workers", "model.name", "loss.name", "train.amp",
                                     "train.device", "train.threads", "train.tf32", "train.cudnn_benchmark"});
  sub->callback([flags, &command] { command = [flags] { return run_predict(*flags); }; });
}

}  // namespace fulcrum::apps
