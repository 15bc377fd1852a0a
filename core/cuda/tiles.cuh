// Passes over x [outer, rows, channels] that treat each channel in its own way: sums over the rows, and element-wise
// work with coefficients per channel.
//
// A block works on a tile of neighbouring channels (128 bytes of them, if x is that wide) and a slab of rows: thread t
// has the channels of lane t % lanes and every rows_at_once-th row, starting with t / lanes. A Worker defines what a
// thread does (ColumnReducer in columns.cuh is a small one):
//
//   struct Worker {
//     struct Arguments {…};                               // the same for all threads
//     struct Loaded {…};                                  // what it reads of a row
//     static constexpr int kWidth = 4, kAtOnce = 2;       // channels per thread; rows loaded before use
//     static constexpr int kLanes = most_lanes<T, kWidth>;
//     __device__ void begin(const Arguments&, int64_t at, int64_t c);  // first element, its channel
//     __device__ Loaded load(int64_t at) const;
//     __device__ void take(const Loaded&, int64_t at);
//   };
//   apply_tiles<Worker>(outer, rows, channels, arguments);
//
// and for sums, in addition,
//
//     using Op = SumOf;
//     static constexpr int kSums = 2;
//     A sum[kSums * kWidth];                              // starts as Op::start()
//     // The sums of channel c + k, for `rows` rows.
//     __device__ void totals(const Arguments&, int64_t c, int k, int64_t rows, double (&total)[kSums]);
//     static __device__ void finish(const Arguments&, int64_t outer, int64_t c, const double (&total)[kSums]);
//
//   sum_tiles<Worker>(outer, rows, channels, arguments);   // one launch; finish once per channel
#pragma once

#include <fulcrum/core/tensor.h>
#include <fulcrum/core/cuda/packs.cuh>
#include <fulcrum/core/cuda/ticket.cuh>

namespace fulcrum::cuda {

inline constexpr unsigned kSumThreads = 512;
/// About two blocks for each multiprocessor of the largest devices: all run at once, and there are
/// few partial sums to join.
inline constexpr int64_t kMaxSumBlocks = 256;

/// The most threads side by side in a tile: 128 bytes, or 32 single elements.
template <class T, int width>
inline constexpr int most_lanes = width == 1 ? 32 : 128 / (width * static_cast<int>(sizeof(T)));

struct Tiles {
  int64_t outer, rows, channels, tiles, slabs, slab_rows;
  int lanes, rows_at_once;

  Tiles(int64_t outer_, int64_t rows_, int64_t channels_, int width, int most, unsigned threads, int64_t max_blocks,
        int64_t rows_a_thread)
      : outer(outer_), rows(rows_), channels(channels_) {
    const int64_t packs = channels / width;
    tiles = (packs + most - 1) / most;
    lanes = static_cast<int>((packs + tiles - 1) / tiles);
    rows_at_once = static_cast<int>(threads) / lanes;
    slabs = std::clamp<int64_t>(rows / (rows_at_once * rows_a_thread), 1,
                                std::max<int64_t>(1, max_blocks / (outer * tiles)));
    slab_rows = (rows + slabs - 1) / slabs;
  }

  /// Rounds all slabs but the last so that their threads have a multiple of rows_a_thread rows, which over_rows loads
  /// at once.
  void round_slabs(int64_t rows_a_thread) {
    const int64_t multiple = rows_at_once * rows_a_thread;
    slab_rows = (slab_rows + multiple - 1) / multiple * multiple;
    slabs = (rows + slab_rows - 1) / slab_rows;
  }

  int64_t groups() const { return outer * tiles; }
  Grid grid(unsigned threads) const { return {static_cast<unsigned>(groups() * slabs), threads}; }
};

/// A thread's place in its Tiles. Blocks are numbered as x lies in memory: tiles of a slab, then slabs, then outer. So
/// blocks that run together read whole rows, and a pass can begin with what the previous one left in the cache.
struct Place {
  int64_t slab, group, outer, first_channel, channel;
  int lane, row;
  bool active;  // whether it has channels, and rows if there are enough

  __device__ Place(const Tiles& t, unsigned block, int width)
      : lane(static_cast<int>(threadIdx.x) % t.lanes), row(static_cast<int>(threadIdx.x) / t.lanes) {
    // In 32 bits: a division in 64 bits takes hundreds of cycles, and there would be five.
    const auto tiles = static_cast<unsigned>(t.tiles), slabs = static_cast<unsigned>(t.slabs);
    const unsigned tile = block % tiles, behind = block / tiles;
    slab = behind % slabs;
    outer = behind / slabs;
    group = outer * t.tiles + tile;
    first_channel = static_cast<int64_t>(tile) * t.lanes * width;
    channel = first_channel + lane * width;
    active = row < t.rows_at_once && channel < t.channels;
  }
};

/// Processes rows first, first + step, … below end. The loads of kAtOnce rows are in flight before the first is used:
/// with the number of threads that fit, one load per thread would not keep the memory busy.
template <class Worker>
__device__ void over_rows(Worker& worker, int64_t base, int64_t channels, int64_t first, int64_t step, int64_t end) {
  constexpr int kAtOnce = Worker::kAtOnce;
  int64_t row = first;
  for (; row + (kAtOnce - 1) * step < end; row += kAtOnce * step) {
    typename Worker::Loaded in[kAtOnce];
    for (int k = 0; k < kAtOnce; k++) in[k] = worker.load(base + (row + k * step) * channels);
    for (int k = 0; k < kAtOnce; k++) worker.take(in[k], base + (row + k * step) * channels);
  }
  for (; row < end; row += step) worker.take(worker.load(base + row * channels), base + row * channels);
}

/// Joins the values of all threads of a lane in its thread of row 0. All threads must call it.
template <class Op, int N, class A>
__device__ void join_rows(A (&value)[N], int row, int rows, int lane, int lanes) {
  __shared__ A others[N][kSumThreads / 4 * 3];  // [value][row, lane]: free of bank conflicts
  int part = 0;
  for (int n = rows; n > 1; n = part) {
    part = (n + 3) / 4;
    if (row >= part && row < n)
      for (int k = 0; k < N; k++) others[k][(row - part) * lanes + lane] = value[k];
    __syncthreads();
    if (row < part)
      for (int other = row + part; other < n; other += part)
        for (int k = 0; k < N; k++) value[k] = Op::join(value[k], others[k][(other - part) * lanes + lane]);
    __syncthreads();
  }
}

/// For each group, the number of blocks that have written their partial sums. The last block resets it to 0, for the
/// next kernel and for every replay. One array is enough: the kernels of a device run one after another.
static __device__ unsigned tickets[kMaxSumBlocks];

/// Joins the partial sums of a group's slabs, in a fixed order, and finishes its channels.
template <class Worker>
__device__ void finish_tiles(const Tiles& t, const Place& p, const typename Worker::Arguments& arguments,
                             const double* partial) {
  constexpr int kSums = Worker::kSums;
  using Op = typename Worker::Op;
  const int columns = t.lanes * Worker::kWidth, parts = static_cast<int>(blockDim.x) / columns;
  const int column = static_cast<int>(threadIdx.x) % columns, part = static_cast<int>(threadIdx.x) / columns;
  double total[kSums];
  for (int s = 0; s < kSums; s++) total[s] = Op::template start<double>();
  const auto load = [&](int64_t slab, double(&in)[kSums]) {
    for (int s = 0; s < kSums; s++) in[s] = partial[((p.group * t.slabs + slab) * kSums + s) * columns + column];
  };
  const auto join = [&](const double(&in)[kSums]) {
    for (int s = 0; s < kSums; s++) total[s] = Op::join(total[s], in[s]);
  };
  if (part < parts && p.first_channel + column < t.channels) {
    // The loads of a few slabs are in flight together: only this last block still runs, and would wait for each.
    constexpr int kAtOnce = 4;
    int64_t slab = part;
    for (; slab + (kAtOnce - 1) * parts < t.slabs; slab += kAtOnce * parts) {
      double in[kAtOnce][kSums];
      for (int k = 0; k < kAtOnce; k++) load(slab + k * parts, in[k]);
      for (int k = 0; k < kAtOnce; k++) join(in[k]);
    }
    for (double in[kSums]; slab < t.slabs; slab += parts) load(slab, in), join(in);
  }
  join_rows<Op>(total, part, parts, column, columns);
  if (part == 0 && p.first_channel + column < t.channels)
    Worker::finish(arguments, p.outer, p.first_channel + column, total);
}

/// Writes partial [group, slab, sum, channel of the tile]. The rows of the slabs are interleaved, so that all blocks
/// together go through x from its beginning to its end.
template <class Worker>
__global__ void __launch_bounds__(kSumThreads, 2)
    sum_tiles_kernel(Tiles t, typename Worker::Arguments arguments, double* partial) {
  constexpr int kSums = Worker::kSums, kWidth = Worker::kWidth;
  const Place p(t, blockIdx.x, kWidth);
  const int64_t first = p.slab * t.rows_at_once, step = t.slabs * t.rows_at_once;
  const int64_t base = p.outer * t.rows * t.channels + p.channel;
  Worker worker;
  if (p.active) {
    worker.begin(arguments, base + first * t.channels, p.channel);
    over_rows(worker, base, t.channels, first + p.row, step, t.rows);
  }
  join_rows<typename Worker::Op>(worker.sum, p.row, t.rows_at_once, p.lane, t.lanes);
  if (p.row == 0 && p.active) {
    // The slab's rows: those of whole turns through all slabs, and its part of what is left.
    const int64_t turns = t.rows / step, left = t.rows - turns * step - first;
    const int64_t rows = turns * t.rows_at_once + (left < 0 ? 0 : left < t.rows_at_once ? left : t.rows_at_once);
    for (int k = 0; k < kWidth; k++) {
      double total[kSums];
      worker.totals(arguments, p.channel, k, rows, total);
      for (int s = 0; s < kSums; s++)
        partial[(((p.group * t.slabs + p.slab) * kSums + s) * t.lanes + p.lane) * kWidth + k] = total[s];
    }
  }
  const bool last = last_of(&tickets[t.slabs > 1 ? p.group : 0], static_cast<unsigned>(t.slabs));
  if (last) finish_tiles<Worker>(t, p, arguments, partial);
}

template <class Worker>
void sum_tiles(int64_t outer, int64_t rows, int64_t channels, const typename Worker::Arguments& arguments) {
  const Tiles t(outer, rows, channels, Worker::kWidth, Worker::kLanes, kSumThreads, kMaxSumBlocks,
                /*rows_a_thread=*/4);
  const int64_t size = t.groups() * t.slabs * Worker::kSums * t.lanes * Worker::kWidth;
  Tensor partial = empty({size}, {DType::kF64, Device(Device::Kind::kCuda, current_device())});
  launch(sum_tiles_kernel<Worker>, t.grid(kSumThreads), t, arguments, partial.data<double>());
}

/// Goes from the end of x to its beginning: a sum that ran just before has left the end in the cache.
template <class Worker>
__global__ void __launch_bounds__(kThreads) apply_tiles_kernel(Tiles t, typename Worker::Arguments arguments) {
  const Place p(t, gridDim.x - 1 - blockIdx.x, Worker::kWidth);
  if (!p.active) return;
  const int64_t first = p.slab * t.slab_rows, end = first + t.slab_rows;
  const int64_t base = p.outer * t.rows * t.channels + p.channel;
  Worker worker;
  worker.begin(arguments, base + first * t.channels, p.channel);
  over_rows(worker, base, t.channels, first + p.row, t.rows_at_once, end < t.rows ? end : t.rows);
}

template <class Worker>
void apply_tiles(int64_t outer, int64_t rows, int64_t channels, const typename Worker::Arguments& arguments) {
  Tiles t(outer, rows, channels, Worker::kWidth, Worker::kLanes, kThreads, /*max_blocks=*/8192, Worker::kAtOnce);
  t.round_slabs(Worker::kAtOnce);
  launch(apply_tiles_kernel<Worker>, t.grid(kThreads), t, arguments);
}

}  // namespace fulcrum::cuda
