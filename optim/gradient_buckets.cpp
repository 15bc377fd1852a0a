#include <fulcrum/optim/gradient_buckets.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace fulcrum {

namespace {

// PyTorch's 25 MiB for large models; smaller ones in about four, lest nothing overlaps.
constexpr int64_t kLeastBytes = int64_t{64} << 10, kMostBytes = int64_t{25} << 20;

}  // namespace

GradientBuckets::GradientBuckets(const std::vector<Tensor>& parameters, const Arena& arena, Communicator& communicator)
    : communicator_(communicator) {
  std::vector<size_t> last_first(parameters.size());
  std::iota(last_first.begin(), last_first.end(), size_t{0});
  std::ranges::sort(last_first, std::greater(), [&](size_t i) { return arena.offsets[i]; });
  const auto all = static_cast<int64_t>(arena.grads.bytes());
  const int64_t size =
      std::clamp(all / 4, kLeastBytes, kMostBytes) / static_cast<int64_t>(size_of(arena.grads.dtype()));
  int64_t end = arena.grads.numel();
  Bucket bucket;
  for (size_t k = 0; k < last_first.size(); k++) {
    const int64_t begin = arena.offsets[last_first[k]];
    bucket_of_[parameters[last_first[k]].node().get()] = buckets_.size();
    bucket.parameters++;
    if (end - begin < size && k + 1 < last_first.size()) continue;
    bucket.grads = arena.grads.slice(begin, end);
    bucket.missing = bucket.parameters;
    buckets_.push_back(std::exchange(bucket, {}));
    end = begin;
  }
}

bool GradientBuckets::leaf_done(const Node& leaf) {
  const auto found = bucket_of_.find(&leaf);
  if (found == bucket_of_.end()) return false;
  return --buckets_[found->second].missing == 0;
}

void GradientBuckets::summed() {
  for (; next_ < buckets_.size() && buckets_[next_].missing == 0; next_++)
    communicator_.start_all_reduce(buckets_[next_].grads);
}

void GradientBuckets::finish() {
  for (; next_ < buckets_.size(); next_++) communicator_.start_all_reduce(buckets_[next_].grads);
  communicator_.finish();
  next_ = 0;
  for (Bucket& b : buckets_) b.missing = b.parameters;
}

}  // namespace fulcrum
