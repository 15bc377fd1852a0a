// SampleRecords: the weights and the last loss of each sample in training. For reports, and to find wrong labels.
//
//   SampleRecords records(dataset.size(), device);
//   records.add(batch.indices, opt.weights(), losses);          // every step
//   const SampleTable seen = records.read();                    // once an epoch
//   seen.class_share(dataset.labels(), indices, classes);       // share of the weight, by class
//   seen.save(run / "samples.safetensors", dataset, indices);
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/data/dataset.h>
#include <fulcrum/data/ranking.h>

#include "apps/histogram.h"

namespace fulcrum::apps {

/// The records, on the host.
class SampleTable {
 public:
  explicit SampleTable(Tensor host) : host_(std::move(host)) {}
  bool visited(int64_t index) const { return row(index)[kSampleVisits] > 0; }
  /// The mean of B·p over the visits, 1 in the plain mean; 0 before the first visit.
  float mean_weight(int64_t index) const;
  /// The loss at the last visit, class weights included; 0 before the first.
  float loss(int64_t index) const { return row(index)[kSampleLoss]; }
  /// False if all mean weights are alike, as in the plain mean.
  bool weights_differ(std::span<const int64_t> indices) const;
  /// The share of each class in the sum of the samples' last weights, [classes].
  std::vector<double> class_share(std::span<const int64_t> labels, std::span<const int64_t> indices,
                                  int64_t classes) const;
  /// How many of the visited samples lie in each bin of `bins`, by their last weight or loss.
  std::vector<int64_t> weight_histogram(std::span<const int64_t> indices, const LogBins& bins) const;
  std::vector<int64_t> loss_histogram(std::span<const int64_t> indices, const LogBins& bins) const;
  /// How well low mean weights tell wrong labels from right ones; nothing if no label is wrong or all weights are
  /// alike.
  std::optional<FoundLabels> found_by_weight(const Dataset& data, std::span<const int64_t> indices) const;
  /// How well large last losses do so; nothing if no label is wrong.
  std::optional<FoundLabels> found_by_loss(const Dataset& data, std::span<const int64_t> indices) const;
  /// Writes samples.safetensors; docs/recipes.md, "The run's directory", says what the file holds.
  void save(const std::filesystem::path& path, const Dataset& data, const std::vector<int64_t>& indices) const;

 private:
  template <class Score>
  std::optional<FoundLabels> found_labels(const Dataset& data, std::span<const int64_t> indices, Score score) const;
  const float* row(int64_t index) const { return host_.data<float>() + index * kSampleColumns; }
  std::vector<int64_t> histogram(std::span<const int64_t> indices, const LogBins& bins, int64_t column) const;
  Tensor host_;
};

class SampleRecords {
 public:
  SampleRecords(int64_t samples, Device device);
  /// Adds a batch: indices i64 [B], weights and losses [B]; detached.
  void add(const Tensor& indices, const Tensor& weights, const Tensor& losses);
  /// f32 [samples, kSampleColumns], live: part of a checkpoint.
  const Tensor& table() const { return table_; }
  /// The records as they are: a copy on the host or, if the table is there already, the live table.
  SampleTable read() const { return SampleTable(table_.to(Device())); }

 private:
  Tensor table_;
};

/// Writes suspects.csv: those of the samples `indices` that training has visited, the smallest mean weight first, of
/// equal ones the largest loss. Columns: index, given_label, predicted, mean_weight, loss, clean_label where the data
/// have one, the names of the given and the predicted class, and the path of an image file. predictions[i] is the class
/// predicted for sample indices[i].
void save_suspects(const std::filesystem::path& path, const Dataset& data, const SampleTable& seen,
                   std::span<const int64_t> indices, std::span<const int64_t> predictions);

}  // namespace fulcrum::apps
