// Sorts rows: tiles by counting the elements that come before each one, then whole rows by merging runs in pairs.
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/sort_rules.h>
#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

constexpr int64_t kTile = 1024;

/// The output for rows of n elements: of the order of each row, the first `kept` indices go to `out`.
struct SortedRows {
  int64_t* out;
  int64_t n, kept;
  __device__ void put(int64_t row, int64_t place, int64_t at) const {
    if (place < kept) out[row * kept + place] = at;
  }
};

/// A block sorts a tile of a row.
template <class T>
__global__ void sort_tiles_kernel(SortedRows rows, const T* x, int64_t tiles, int64_t all_tiles, SortOrder<T> before) {
  __shared__ T values[kTile];
  for (int64_t tile = blockIdx.x; tile < all_tiles; tile += gridDim.x) {
    const auto [row, t] = divide(tile, tiles);
    const int64_t first = t * kTile, left = rows.n - first, count = left < kTile ? left : kTile;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) values[i] = x[row * rows.n + first + i];
    __syncthreads();
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
      int64_t place = 0;
      for (int64_t j = 0; j < count; j++) place += before(values[j], j, values[i], i);
      rows.put(row, first + place, first + i);
    }
    __syncthreads();  // before the next tile is loaded
  }
}

/// Merges pairs of runs of `run` elements. An element's place is its place in its own run plus the number of elements
/// of the other run that come before it.
template <class T>
__global__ void merge_runs_kernel(SortedRows rows, const int64_t* index, const T* x, int64_t run, int64_t all,
                                  SortOrder<T> before) {
  for (int64_t item = thread_index(); item < all; item += thread_count()) {
    const auto [row, p] = divide(item, rows.n);
    const int64_t* order = index + row * rows.n;
    const T* values = x + row * rows.n;
    const int64_t pair = p / (2 * run) * 2 * run, middle = std::min(pair + run, rows.n);
    const bool is_left = p < middle;
    const int64_t at = order[p];
    const T value = values[at];
    const int64_t other = is_left ? middle : pair;
    int64_t low = other, high = is_left ? std::min(middle + run, rows.n) : middle;
    while (low < high) {
      const int64_t half = low + (high - low) / 2, there = order[half];
      if (before(values[there], there, value, at)) low = half + 1;
      else high = half;
    }
    rows.put(row, pair + (p - (is_left ? pair : middle)) + (low - other), at);
  }
}

}  // namespace

void Cuda::argsort(Tensor& y, const Tensor& x, bool descending) {
  const int64_t n = x.size(-1), kept = y.size(-1), tiles = (n + kTile - 1) / kTile;
  const int64_t all_tiles = x.numel() / n * tiles;
  const TensorOptions options{DType::kI64, x.device()};
  Tensor from = tiles > 1 ? empty(x.shape(), options) : Tensor(), to = tiles > 2 ? empty(x.shape(), options) : Tensor();
  const auto rows = [&](bool last, Tensor& scratch) {
    return last ? SortedRows{y.data<int64_t>(), n, kept} : SortedRows{scratch.data<int64_t>(), n, n};
  };
  visit_any(x.dtype(), [&]<class T>() {
    const SortOrder<T> before{descending};
    const auto blocks = static_cast<unsigned>(std::min(all_tiles, kMaxBlocks));
    launch(sort_tiles_kernel<T>, Grid{blocks, kThreads}, rows(tiles == 1, from), x.data<T>(), tiles, all_tiles, before);
    for (int64_t run = kTile; run < n; run *= 2) {
      launch(merge_runs_kernel<T>, grid_for(x.numel()), rows(2 * run >= n, to), from.data<int64_t>(), x.data<T>(), run,
             x.numel(), before);
      std::swap(from, to);
    }
  });
}

}  // namespace fulcrum
