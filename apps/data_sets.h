// The data sets that settings name, before imbalance, noise and splits.
//
//   DataSets sets = open_data_sets(config.data);
//   sets.train->size(); sets.test->class_names();
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fulcrum/data/image_dataset.h>

#include "apps/config.h"

namespace fulcrum::apps {

struct DataSets {
  std::unique_ptr<Dataset> train, test;
  /// What recipes for this data set normalise with, where there are any.
  std::optional<ChannelStatistics> published;
  std::vector<std::string> skipped;  // images left out: "train/a.jpg: reason"
};

/// Opens both parts; an Error where their images or classes do not match. Images left out by
/// data.on_bad_image = skip are counted, and the first ones listed, on stderr.
DataSets open_data_sets(const DataSettings& settings);

/// The data set's folder: data.dir, or where Debian installs Fashion-MNIST.
std::filesystem::path data_dir(const DataSettings& settings);

/// Whether the data set is image files: data.name = folder or list.
bool is_image_files(const DataSettings& settings);
/// Their listings, train and test, with what is wrong with them.
std::pair<ImageListing, ImageListing> list_images(const DataSettings& settings);
ImageOptions image_options(const DataSettings& settings);

/// What is allowed and has no effect: a rate of noise or an imbalance without its kind.
std::vector<std::string> data_warnings(const DataSettings& settings);

/// Refuses settings that are out of range or do not go together.
void check_data(const DataSettings& settings);

}  // namespace fulcrum::apps
