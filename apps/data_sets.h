// The data sets that settings name, before imbalance, noise and splits.
//
//   DataSets sets = open_data_sets(config.data);
//   sets.train->size(); sets.test->class_names(); sets.splits[0].name;
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fulcrum/data/dataset.h>

#include "apps/config.h"

namespace fulcrum::apps {

/// A part of the data that is evaluated beside the test set.
struct DataSplit {
  std::string name;
  std::unique_ptr<Dataset> data;
};

struct DataSets {
  std::unique_ptr<Dataset> train, test;
  std::vector<DataSplit> splits;  // data.eval_splits
  /// The channel statistics that recipes for this data set commonly use, if there are any.
  std::optional<ChannelStatistics> published;
  std::vector<std::string> skipped;     // images left out: "train/a.jpg: reason"
  std::vector<std::string> leaks = {};  // parts with images that are training images, too
};

/// Opens all parts. Throws Error if their images or classes do not match (UsageError for lists). Counts the images that
/// data.on_bad_image = skip leaves out on stderr, and lists the first ones.
DataSets open_data_sets(const DataSettings& settings);

/// The data set's folder: data.dir, or where Debian installs Fashion-MNIST.
std::filesystem::path data_dir(const DataSettings& settings);

/// Throws UsageError if the setting `key` is `given` for a data set other than `names`, which are those that use it.
void only_for(const DataSettings& settings, const std::vector<std::string>& names, const char* key, bool given);

/// Warnings about what is allowed but has no effect: a noise rate or an imbalance factor without its kind, a kind
/// without its rate or factor, or a folder val that data.eval_splits does not name.
std::vector<std::string> data_warnings(const DataSettings& settings);

/// Refuses settings that are out of range or do not go together.
void check_data(const DataSettings& settings);

}  // namespace fulcrum::apps
