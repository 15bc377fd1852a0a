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
/// What is known of the labels of a data set that was published, before imbalance and noise are made.
struct LabelsKnown {
  bool long_tailed = false, wrong = false;
  bool every_class_trained = true;  // a class without training images is a mistake that the listing does not report
};
LabelsKnown known_of_labels(const DataSettings& settings);

/// Listings with what is wrong with them; an Error for a file that cannot be read at all.
ImageParts list_images(const DataSettings& settings);
/// Refuses lists whose labels are not those of the classes, and names the setting; what else is wrong with them, and
/// with other data sets, is for ImageDataset.
void check_list_classes(const DataSettings& settings, const ImageParts& parts);
ImageOptions image_options(const DataSettings& settings);

/// What can be in data.eval_splits.
std::vector<std::string> eval_splits_of(const DataSettings& settings);
/// data.eval_splits; a list's val where there is a data.val_list.
std::vector<std::string> eval_splits(const DataSettings& settings);
/// Whether the part val is among them: it chooses the best epoch.
bool has_val_part(const DataSettings& settings);

/// Refuses settings of image files that are out of range or do not go together.
void check_image_settings(const DataSettings& settings);

}  // namespace fulcrum::apps
