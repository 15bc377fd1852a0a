// An experiment: what a configuration describes, built: data, model, optimiser, losses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include <fulcrum/data/loader.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/optim/optimizer.h>
#include <fulcrum/optim/schedule.h>

#include "apps/config.h"

namespace fulcrum::apps {

struct ExperimentData {
  std::unique_ptr<InMemoryDataset> train, test;
  std::vector<int64_t> train_indices, val_indices;  // val empty: nothing held out
  std::vector<int64_t> class_counts;                // of train_indices, noisy labels
  ChannelStatistics statistics;
  /// Hash of the images, labels and indices that training sees; a resumed run must find the same.
  uint64_t checksum = 0;
};

/// Reads and prepares the data: subset, noise, split.
ExperimentData load_data(const DataSettings& settings);

/// The data set's folder: data.dir, or where Debian installs Fashion-MNIST.
std::filesystem::path data_dir(const DataSettings& settings);

/// With its initial numbers; load_pretrained puts others there.
std::unique_ptr<Module> make_model(const Config& config, const Dataset& data);
std::unique_ptr<Optimizer> make_optimizer(const Config& config, std::vector<Tensor> parameters);
Schedule make_schedule(const Config& config);
Loader make_train_loader(const Config& config, const ExperimentData& data);
/// Images in a batch of an evaluation.
inline constexpr int64_t kEvalBatch = 500;
/// Without shuffling or augmentation.
Loader make_eval_loader(const Config& config, const Dataset& data, std::vector<int64_t> indices,
                        const ChannelStatistics& statistics);

/// Class-balanced weights (1−β)/(1−βⁿ), normalised to sum C (Cui et al., CVPR 2019); a class with
/// no samples gets 0. f32 [C].
Tensor class_balanced_weights(const std::vector<int64_t>& counts, double beta);

DType activation_dtype(const Config& config);

}  // namespace fulcrum::apps
