// The data sets that are image files, and their parts.
//
//   ImageParts parts = list_images(config.data);
//   for (const auto& [name, listing] : parts) …          // "train", "test", and data.eval_splits
//   ImageDataset train(std::move(parts[0].listing), image_options(config.data));
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fulcrum/data/image_dataset.h>

#include "apps/config.h"

namespace fulcrum::apps {

struct ImagePart {
  std::string name;
  ImageListing listing;
};
/// train, test, then the parts that data.eval_splits names, in this order.
using ImageParts = std::vector<ImagePart>;

/// The data sets of image files by their data.name.
const std::vector<std::string>& image_file_sets();
bool is_image_files(const DataSettings& settings);
/// What is known about the labels of a published data set, before imbalance or noise is added.
struct LabelsKnown {
  bool long_tailed = false, wrong = false;
  bool every_class_trained = true;  // `data check` reports classes without images; false: allowed, or listed already
};
LabelsKnown known_of_labels(const DataSettings& settings);

/// The listings of all parts, with their problems. Throws Error if a file cannot be read at all.
ImageParts list_images(const DataSettings& settings);
/// Throws UsageError, which names the setting, if a list's labels are not those of the classes. Other problems, and
/// other data sets, are left to ImageDataset.
void check_list_classes(const DataSettings& settings, const ImageParts& parts);
/// The paths of `other` that `train` has, too.
std::vector<std::string> shared_paths(const ImageListing& train, const ImageListing& other);
ImageOptions image_options(const DataSettings& settings);

/// The parts that data.eval_splits may name.
std::vector<std::string> eval_splits_of(const DataSettings& settings);
/// The parts of data.eval_splits; for data.name = list, val if there is a data.val_list.
std::vector<std::string> eval_splits(const DataSettings& settings);
/// Whether eval_splits() has the part val, which chooses the best epoch.
bool has_val_part(const DataSettings& settings);

/// Refuses settings of image files that are out of range or do not go together.
void check_image_settings(const DataSettings& settings);

}  // namespace fulcrum::apps
