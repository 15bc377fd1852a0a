// Builds an experiment from its configuration: data, model, optimiser, schedule, loaders.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <fulcrum/data/loader.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/optim/optimizer.h>
#include <fulcrum/optim/schedule.h>

#include "apps/config.h"
#include "apps/data_checksums.h"
#include "apps/data_sets.h"

namespace fulcrum::apps {

struct ExperimentData {
  std::unique_ptr<Dataset> train, test;
  std::unique_ptr<Dataset> val;   // a part of the data set that chooses the best epoch; null: val_indices do
  std::vector<DataSplit> splits;  // evaluated beside the test set
  std::vector<int64_t> train_indices, val_indices;  // val empty: nothing held out
  std::vector<int64_t> class_counts;                // of train_indices, by noisy labels
  ChannelStatistics statistics;
  std::vector<std::string> skipped;  // data.on_bad_image = skip: "train/a.jpg: reason"
  std::vector<std::string> leaks;    // warnings of evaluated images that are training images, too
  /// Over indices, labels, and the pixels of data in memory or the paths and sizes of files.
  DataChecksums checksums;
};

/// Reads and prepares the data: subset, noise, split.
ExperimentData load_data(const DataSettings& settings);

/// fulcrum::make_model, but throws UsageError if `name` or `options` describe no network.
std::unique_ptr<Module> named_model(const std::string& name, const ModelOptions& options);

/// The model with its initial weights, which load_pretrained can replace.
std::unique_ptr<Module> make_model(const Config& config, const Dataset& data);
/// The same, for images [H, W, C].
std::unique_ptr<Module> make_model(const Config& config, const Shape& image, int64_t classes);
/// The optimiser of the parameters that are not frozen, with the run's risk.
std::unique_ptr<Optimizer> make_optimizer(const Config& config, const Module& model,
                                          const std::vector<int64_t>& class_counts);
Schedule make_schedule(const Config& config);
/// The number of batches in an epoch over `samples` samples, as limited by train.limit_batches.
int64_t steps_of_epoch(const Config& config, int64_t samples);
/// Loads slice `part` of `parts` of each training batch.
Loader make_train_loader(const Config& config, const ExperimentData& data, int part = 0, int parts = 1);
/// Images in an evaluation batch. train.limit_batches counts batches of the CPU's size on every device, so that it
/// always means the same images.
int64_t eval_batch(const Dataset& data, Device device = {});
/// Loads `indices` without shuffling or augmentation.
Loader make_eval_loader(const Config& config, const Dataset& data, std::vector<int64_t> indices,
                        const ChannelStatistics& statistics);

DType activation_dtype(const Config& config);

}  // namespace fulcrum::apps
