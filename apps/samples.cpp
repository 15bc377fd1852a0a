#include "apps/samples.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include <fmt/format.h>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/serialize.h>
#include <fulcrum/data/image_dataset.h>

#include "apps/csv.h"
#include "apps/i64_tensor.h"

namespace fulcrum::apps {

namespace {

constexpr int64_t kImages = 24, kThumbnail = 96;

// The images at these indices, at most kThumbnail wide and high; each pixel is a pixel of the image (no averaging).
Tensor thumbnails(const Dataset& data, const std::vector<int64_t>& indices) {
  const Shape& s = data.image_shape();
  const int64_t factor = (std::max(s[0], s[1]) + kThumbnail - 1) / kThumbnail;
  const int64_t h = (s[0] + factor - 1) / factor, w = (s[1] + factor - 1) / factor;
  Tensor all = empty({std::ssize(indices), h, w, s[2]}, {DType::kU8, {}});
  std::vector<uint8_t> image(static_cast<size_t>(s.numel()));
  uint8_t* to = all.data<uint8_t>();
  for (int64_t index : indices) {
    data.read(index, image.data());
    for (int64_t i = 0; i < h; i++)
      for (int64_t j = 0; j < w; j++) to = std::copy_n(image.data() + (i * s[1] + j) * factor * s[2], s[2], to);
  }
  return all;
}

}  // namespace

SampleRecords::SampleRecords(int64_t samples, Device device)
    : table_(zeros({samples, kSampleColumns}, {DType::kF32, device})) {}

void SampleRecords::add(const Tensor& indices, const Tensor& weights, const Tensor& losses) {
  dispatch(table_, [&]<class K>() { K::record_samples(table_, indices, weights, losses); });
}

float SampleTable::mean_weight(int64_t index) const {
  const float visits = row(index)[kSampleVisits];
  return visits > 0 ? row(index)[kSampleWeightSum] / visits : 0;
}

bool SampleTable::weights_differ(std::span<const int64_t> indices) const {
  std::vector<double> weights;
  for (int64_t i : indices)
    if (visited(i)) weights.push_back(static_cast<double>(mean_weight(i)));
  return fulcrum::weights_differ(weights);
}

std::vector<double> SampleTable::class_share(std::span<const int64_t> labels, std::span<const int64_t> indices,
                                             int64_t classes) const {
  std::vector<double> share(static_cast<size_t>(classes), 0);
  for (int64_t i : indices)
    share[static_cast<size_t>(labels[static_cast<size_t>(i)])] += static_cast<double>(row(i)[kSampleWeight]);
  const double total = std::accumulate(share.begin(), share.end(), 0.0);
  for (double& s : share) s = total > 0 ? s / total : 0;
  return share;
}

std::vector<int64_t> SampleTable::histogram(std::span<const int64_t> indices, const LogBins& bins,
                                            int64_t column) const {
  std::vector<int64_t> counts(bins.count());
  for (int64_t i : indices)
    if (visited(i)) counts[bins.bin(static_cast<double>(row(i)[column]))]++;
  return counts;
}

std::vector<int64_t> SampleTable::weight_histogram(std::span<const int64_t> indices, const LogBins& bins) const {
  return histogram(indices, bins, kSampleWeight);
}

std::vector<int64_t> SampleTable::loss_histogram(std::span<const int64_t> indices, const LogBins& bins) const {
  return histogram(indices, bins, kSampleLoss);
}

template <class Score>
std::optional<FoundLabels> SampleTable::found_labels(const Dataset& data, std::span<const int64_t> indices,
                                                     Score score) const {
  if (!data.has_noise()) return std::nullopt;
  std::vector<double> scores;
  std::vector<bool> wrong;
  for (int64_t i : indices) {
    if (!visited(i)) continue;
    scores.push_back(static_cast<double>(score(i)));
    wrong.push_back(data.labels()[static_cast<size_t>(i)] != data.clean_labels()[static_cast<size_t>(i)]);
  }
  return fulcrum::found_labels(scores, wrong);
}

std::optional<FoundLabels> SampleTable::found_by_weight(const Dataset& data, std::span<const int64_t> indices) const {
  if (!weights_differ(indices)) return std::nullopt;
  return found_labels(data, indices, [&](int64_t i) { return -mean_weight(i); });
}

std::optional<FoundLabels> SampleTable::found_by_loss(const Dataset& data, std::span<const int64_t> indices) const {
  return found_labels(data, indices, [&](int64_t i) { return loss(i); });
}

void SampleTable::save(const std::filesystem::path& path, const Dataset& data,
                       const std::vector<int64_t>& indices) const {
  const auto n = std::ssize(indices);
  Tensor mean = empty({n}), last = empty({n}), loss = empty({n});
  std::vector<int64_t> seen;  // positions in `indices`
  for (int64_t i = 0; i < n; i++) {
    const int64_t index = indices[static_cast<size_t>(i)];
    mean.data<float>()[i] = visited(index) ? mean_weight(index) : std::numeric_limits<float>::quiet_NaN();
    last.data<float>()[i] = row(index)[kSampleWeight];
    loss.data<float>()[i] = this->loss(index);
    if (visited(index)) seen.push_back(i);
  }
  const bool weights_say = weights_differ(indices);
  std::ranges::stable_sort(seen, std::greater(), [&](int64_t i) {
    return std::pair(weights_say ? mean.data<float>()[i] : 1, loss.data<float>()[i]);
  });
  const size_t k = std::min<size_t>(kImages, seen.size());
  std::vector<int64_t> largest, smallest;
  for (size_t i = 0; i < k; i++) {
    largest.push_back(indices[static_cast<size_t>(seen[i])]);
    smallest.push_back(indices[static_cast<size_t>(seen[seen.size() - 1 - i])]);
  }
  TensorFile file{{{"index", i64_tensor(indices)},
                   {"label", i64_tensor(gather(data.labels(), indices))},
                   {"clean_label", i64_tensor(gather(data.clean_labels(), indices))},
                   {"mean_weight", mean},
                   {"weight", last},
                   {"loss", loss}},
                  {}};
  if (k > 0) {
    file.tensors["largest.index"] = i64_tensor(largest);
    file.tensors["largest.images"] = thumbnails(data, largest);
    file.tensors["smallest.index"] = i64_tensor(smallest);
    file.tensors["smallest.images"] = thumbnails(data, smallest);
  }
  save_tensors(path, file);
}

void save_suspects(const std::filesystem::path& path, const Dataset& data, const SampleTable& seen,
                   std::span<const int64_t> indices, std::span<const int64_t> predictions) {
  check(indices.size() == predictions.size(), "[suspects] expected a prediction for each of ", indices.size(),
        " samples, got ", predictions.size());
  std::vector<size_t> order;
  for (size_t i = 0; i < indices.size(); i++)
    if (seen.visited(indices[i])) order.push_back(i);
  // 1/B times B is not always 1: where weights are alike, their rounding says nothing.
  const bool weights_say = seen.weights_differ(indices);
  std::ranges::stable_sort(order, {}, [&](size_t i) {
    return std::pair(weights_say ? seen.mean_weight(indices[i]) : 1, -seen.loss(indices[i]));
  });
  const auto* files = dynamic_cast<const ImageDataset*>(&data);
  std::string text = "index,given_label,predicted,mean_weight,loss";
  text += data.has_noise() ? ",clean_label" : "";
  text += files ? ",given_name,predicted_name,path\n" : ",given_name,predicted_name\n";
  for (const size_t i : order) {
    const auto at = static_cast<size_t>(indices[i]);
    text += fmt::format("{},{},{},{},{}", indices[i], data.labels()[at], predictions[i], seen.mean_weight(indices[i]),
                        seen.loss(indices[i]));
    if (data.has_noise()) text += fmt::format(",{}", data.clean_labels()[at]);
    for (const int64_t label : {data.labels()[at], predictions[i]})
      text += "," + csv_field(data.class_names()[static_cast<size_t>(label)]);
    text += files ? "," + csv_field(files->paths()[at]) + "\n" : "\n";
  }
  write_file_atomically(path, {text});
}

}  // namespace fulcrum::apps
