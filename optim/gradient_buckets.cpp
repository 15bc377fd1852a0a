#include <fulcrum/optim/gradient_buckets.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace fulcrum {

namespace {

// At most 25 MiB per bucket, as in PyTorch; smaller models get about four buckets, so that communication still overlaps
// with the backward pass.
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
  std::vector<Slice> runs = arena.runs(parameters);  // between the runs lie gradients of other owners: do not sum them
  int64_t end = runs.back().end;
  Bucket bucket;
  for (const size_t i : last_first) {
    const int64_t begin = arena.offsets[i];
    bucket_of_[parameters[i].node().get()] = buckets_.size();
    bucket.parameters++;
    const bool ends_run = begin == runs.back().begin;
    if (end - begin < size && !ends_run) continue;
    bucket.grads = arena.grads.slice(begin, end);
    bucket.missing = bucket.parameters;
    buckets_.push_back(std::exchange(bucket, {}));
    end = begin;
    if (!ends_run) continue;
    runs.pop_back();
    if (!runs.empty()) end = runs.back().end;
  }
}

bool GradientBuckets::leaf_done(const Node& leaf) {
  const auto found = bucket_of_.find(&leaf);
  if (found == bucket_of_.end()) return false;
  Bucket& bucket = buckets_[found->second];
  check(bucket.missing > 0,
        "[optimizer] expected one backward() before step(), which sums gradients over the processes; earlier "
        "passes are the objective's own backward()");
  return --bucket.missing == 0;
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
