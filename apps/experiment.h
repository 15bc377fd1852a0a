// An experiment: what a configuration describes, built: data, model, optimiser, losses.
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
  std::unique_ptr<Dataset> val;   // a part of the data set that chooses the best epoch; nothing: val_indices
  std::vector<DataSplit> splits;  // evaluated beside the test set
  std::vector<int64_t> train_indices, val_indices;  // val empty: nothing held out
  std::vector<int64_t> class_counts;                // of train_indices, noisy labels
  ChannelStatistics statistics;
  std::vector<std::string> skipped;  // data.on_bad_image = skip: "train/a.jpg: reason"
  /// Of indices, labels, and pixels of data in memory, else paths and sizes of files.
  DataChecksums checksums;
};

/// Reads and prepares the data: subset, noise, split.
ExperimentData load_data(const DataSettings& settings);

/// fulcrum::make_model; a UsageError for what names or describes no network.
std::unique_ptr<Module> named_model(const std::string& name, const ModelOptions& options);

/// With its initial numbers; load_pretrained puts others there.
std::unique_ptr<Module> make_model(const Config& config, const Dataset& data);
/// For images [H, W, C].
std::unique_ptr<Module> make_model(const Config& config, const Shape& image, int64_t classes);
/// Of what the model trains.
std::unique_ptr<Optimizer> make_optimizer(const Config& config, const Module& model,
                                          const std::vector<int64_t>& class_counts);
Schedule make_schedule(const Config& config);
/// Batches of an epoch over so many samples, as train.limit_batches leaves them.
int64_t steps_of_epoch(const Config& config, int64_t samples);
/// Slice number `part` of `parts` of each batch.
Loader make_train_loader(const Config& config, const ExperimentData& data, int part = 0, int parts = 1);
/// Images in a batch of an evaluation. train.limit_batches counts the CPU's, so that it means the same on every device.
int64_t eval_batch(const Dataset& data, Device device = {});
/// Without shuffling or augmentation.
Loader make_eval_loader(const Config& config, const Dataset& data, std::vector<int64_t> indices,
                        const ChannelStatistics& statistics);

DType activation_dtype(const Config& config);

}  // namespace fulcrum::apps
