#include "apps/samples.h"

#include <algorithm>
#include <numeric>

#include <fulcrum/core/serialize.h>

namespace fulcrum::apps {

namespace {

constexpr int64_t kImages = 24, kThumbnail = 96;

Tensor to_tensor(const std::vector<int64_t>& values) {
  Tensor t = empty({std::ssize(values)}, {DType::kI64, {}});
  std::ranges::copy(values, t.data<int64_t>());
  return t;
}

// The images at these indices, each pixel one of the image's, at most kThumbnail wide and high.
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
      for (int64_t j = 0; j < w; j++)
        to = std::copy_n(image.data() + (i * s[1] + j) * factor * s[2], s[2], to);
  }
  return all;
}

}  // namespace

SampleRecords::SampleRecords(int64_t samples, Device device)
    : table_(zeros({samples, kSampleColumns}, {DType::kF32, device})) {}

void SampleRecords::add(const Tensor& indices, const Tensor& weights, const Tensor& losses) {
  dispatch(table_.device(), [&]<class K>() { K::record_samples(table_, indices, weights, losses); });
}

std::vector<double> SampleRecords::class_share(std::span<const int64_t> labels,
                                               std::span<const int64_t> indices,
                                               int64_t classes) const {
  const Tensor host = table_.to(Device());
  std::vector<double> share(static_cast<size_t>(classes), 0);
  for (int64_t i : indices)
    share[static_cast<size_t>(labels[static_cast<size_t>(i)])] +=
        static_cast<double>(host.data<float>()[i * kSampleColumns + kSampleWeight]);
  const double total = std::accumulate(share.begin(), share.end(), 0.0);
  for (double& s : share) s = total > 0 ? s / total : 0;
  return share;
}

void SampleRecords::save(const std::filesystem::path& path, const Dataset& data,
                         const std::vector<int64_t>& indices) const {
  const Tensor host = table_.to(Device());
  const auto n = std::ssize(indices);
  Tensor mean = empty({n}), last = empty({n}), loss = empty({n});
  std::vector<int64_t> seen;  // positions in `indices`
  for (int64_t i = 0; i < n; i++) {
    const float* row = host.data<float>() + indices[static_cast<size_t>(i)] * kSampleColumns;
    const float visits = row[kSampleVisits];
    mean.data<float>()[i] = visits > 0 ? row[kSampleWeightSum] / visits : 0;
    last.data<float>()[i] = row[kSampleWeight];
    loss.data<float>()[i] = row[kSampleLoss];
    if (visits > 0) seen.push_back(i);
  }
  std::ranges::stable_sort(seen, std::greater(), [&](int64_t i) { return mean.data<float>()[i]; });
  const size_t k = std::min<size_t>(kImages, seen.size());
  std::vector<int64_t> largest, smallest;
  for (size_t i = 0; i < k; i++) {
    largest.push_back(indices[static_cast<size_t>(seen[i])]);
    smallest.push_back(indices[static_cast<size_t>(seen[seen.size() - 1 - i])]);
  }
  TensorFile file{{{"index", to_tensor(indices)},
                   {"label", to_tensor(gather(data.labels(), indices))},
                   {"clean_label", to_tensor(gather(data.clean_labels(), indices))},
                   {"mean_weight", mean},
                   {"weight", last},
                   {"loss", loss}},
                  {}};
  if (k > 0) {
    file.tensors["largest.index"] = to_tensor(largest);
    file.tensors["largest.images"] = thumbnails(data, largest);
    file.tensors["smallest.index"] = to_tensor(smallest);
    file.tensors["smallest.images"] = thumbnails(data, smallest);
  }
  save_tensors(path, file);
}

}  // namespace fulcrum::apps
