// What training has seen of each sample: its weights and its last loss. For reports, and to find
// wrong labels.
//
//   SampleRecords records(dataset.size(), device);
//   records.add(batch.indices, opt.weights(), losses);          // every step
//   records.class_share(dataset.labels(), indices, classes);    // share of the weight, by class
//   records.save(run / "samples.safetensors", dataset, indices);
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include <fulcrum/core/kernels.h>
#include <fulcrum/data/dataset.h>

namespace fulcrum::apps {

class SampleRecords {
 public:
  SampleRecords(int64_t samples, Device device);
  /// indices i64 [B], weights and losses [B]; detached.
  void add(const Tensor& indices, const Tensor& weights, const Tensor& losses);
  /// f32 [samples, kSampleColumns], live: part of a checkpoint.
  const Tensor& table() const { return table_; }
  /// The share of each class in the sum of the samples' last weights, [classes].
  std::vector<double> class_share(std::span<const int64_t> labels, std::span<const int64_t> indices,
                                  int64_t classes) const;
  /// docs/recipes.md, "The run's directory", says what the file holds.
  void save(const std::filesystem::path& path, const Dataset& data,
            const std::vector<int64_t>& indices) const;

 private:
  Tensor table_;
};

}  // namespace fulcrum::apps
