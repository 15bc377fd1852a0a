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
  /// What recipes for this data set normalise with, where there are any.
  std::optional<ChannelStatistics> published;
  std::vector<std::string> skipped;  // images left out: "train/a.jpg: reason"
};

/// Opens all parts; an Error where their images or classes do not match, a UsageError for lists. Images left out by
/// data.on_bad_image = skip are counted, and the first ones listed, on stderr.
DataSets open_data_sets(const DataSettings& settings);

/// The data set's folder: data.dir, or where Debian installs Fashion-MNIST.
std::filesystem::path data_dir(const DataSettings& settings);

/// Refuses a setting that is given for a data set that does not look at it.
void only_for(const DataSettings& settings, const std::vector<std::string>& names, const char* key, bool given);

/// What is allowed and has no effect: a rate of noise or an imbalance without its kind.
std::vector<std::string> data_warnings(const DataSettings& settings);

/// Refuses settings that are out of range or do not go together.
void check_data(const DataSettings& settings);

}  // namespace fulcrum::apps
