// Softmax cross entropy with one loss per sample, and the training metrics of a batch.
#include <fulcrum/core/aldr_kl_rules.h>
#include <fulcrum/core/cross_entropy_row.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/rows.cuh>
#include <fulcrum/core/cuda/ticket.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

// Sets row.top and row.log_total. The row is read from memory once; the second pass finds it in the cache.
template <class W, class T>
__device__ void find_total(CrossEntropyRow<T>& row) {
  using A = Accumulate<T>;
  A top = MaxOf::start<A>(), total = 0;
  for (int64_t c = W::lane(); c < row.rule.classes; c += W::lanes()) top = MaxOf::join(top, row.at(c));
  row.top = W::template reduce<MaxOf>(top);
  for (int64_t c = W::lane(); c < row.rule.classes; c += W::lanes()) total += std::exp(row.at(c) - row.top);
  row.log_total = std::log(W::template reduce<SumOf>(total));
}

template <class W, class T>
__global__ void loss_kernel(Accumulate<T>* losses, const T* logits, const int64_t* labels, CrossEntropyRule<T> rule,
                            int64_t rows) {
  using A = Accumulate<T>;
  for (int64_t i = W::first(); i < rows; i += W::step()) {
    CrossEntropyRow<T> row(rule, logits + i * rule.classes, labels[i]);
    if (!row.valid()) {
      if (W::lane() == 0) losses[i] = static_cast<A>(NAN);
      continue;
    }
    find_total<W>(row);
    A spread = 0;
    if (rule.smoothing > 0) {
      for (int64_t c = W::lane(); c < rule.classes; c += W::lanes()) spread += row.spread(c);
      spread = W::template reduce<SumOf>(spread);
    }
    if (W::lane() == 0) losses[i] = row.loss(spread);
  }
}

template <class W, class T>
__global__ void gradient_kernel(T* dlogits, const Accumulate<T>* dlosses, const T* logits, const int64_t* labels,
                                CrossEntropyRule<T> rule, int64_t rows) {
  using A = Accumulate<T>;
  for (int64_t i = W::first(); i < rows; i += W::step()) {
    CrossEntropyRow<T> row(rule, logits + i * rule.classes, labels[i]);
    T* d = dlogits + i * rule.classes;
    if (!row.valid()) {
      for (int64_t c = W::lane(); c < rule.classes; c += W::lanes()) d[c] = T(A(0));
      continue;
    }
    find_total<W>(row);
    A weight_sum = 0;
    if (rule.smoothing > 0) {
      for (int64_t c = W::lane(); c < rule.classes; c += W::lanes()) weight_sum += rule.class_weight(c);
      weight_sum = W::template reduce<SumOf>(weight_sum);
    }
    const A factor = row.label_factor(), g = dlosses[i];
    for (int64_t c = W::lane(); c < rule.classes; c += W::lanes()) d[c] = T(g * row.gradient(c, factor, weight_sum));
  }
}

}  // namespace

void Cuda::cross_entropy(Tensor& losses, const Tensor& logits, const Tensor& labels, const CrossEntropyTensors& t,
                         const CrossEntropyOptions& o) {
  const int64_t rows = logits.size(0), classes = logits.size(1);
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>() {
    visit_rows(rows, classes, [&]<class W>(Grid grid) {
      launch(loss_kernel<W, T>, grid, losses.data<Accumulate<T>>(), logits.data<T>(), labels.data<int64_t>(),
             CrossEntropyRule<T>(classes, t, o), rows);
    });
  });
}

void Cuda::cross_entropy_gradient(Tensor& dlogits, const Tensor& dlosses, const Tensor& logits, const Tensor& labels,
                                  const CrossEntropyTensors& t, const CrossEntropyOptions& o) {
  const int64_t rows = logits.size(0), classes = logits.size(1);
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>() {
    visit_rows(rows, classes, [&]<class W>(Grid grid) {
      launch(gradient_kernel<W, T>, grid, dlogits.data<T>(), dlosses.data<Accumulate<T>>(), logits.data<T>(),
             labels.data<int64_t>(), CrossEntropyRule<T>(classes, t, o), rows);
    });
  });
}

namespace {

constexpr int kMetrics = 3;  // Σ loss, Σ p·loss, number correct
__device__ unsigned metrics_arrived;

// Writes the block's sums of what lane 0 of each warp has found.
__device__ void write_partial(double* partial, const double (&found)[kMetrics]) {
  for (int k = 0; k < kMetrics; k++) {
    const double sum = block_reduce<SumOf>(found[k]);
    if (threadIdx.x == 0) partial[static_cast<int64_t>(blockIdx.x) * kMetrics + k] = sum;
  }
}

template <class T>
__global__ void metrics_kernel(double* totals, double* partial, const T* logits, const int64_t* labels,
                               const Accumulate<T>* losses, const Accumulate<T>* weights, int64_t rows,
                               int64_t classes) {
  double found[kMetrics] = {};
  for (int64_t i = WarpRow::first(); i < rows; i += WarpRow::step()) {
    const int64_t best = warp_argmax(logits + i * classes, classes);
    if (WarpRow::lane() != 0) continue;
    const double l = static_cast<double>(losses[i]);
    found[0] += l;
    found[1] += static_cast<double>(weights[i]) * l;
    found[2] += best == labels[i];
  }
  __syncwarp();
  write_partial(partial, found);
  if (!last_block(&metrics_arrived)) return;
  double sum[kMetrics] = {};
  for (int64_t b = threadIdx.x; b < gridDim.x; b += blockDim.x)
    for (int k = 0; k < kMetrics; k++) sum[k] += partial[b * kMetrics + k];
  for (int k = 0; k < kMetrics; k++) sum[k] = block_reduce<SumOf>(sum[k]);
  if (threadIdx.x != 0 || !std::isfinite(sum[0])) return;  // such a batch leads to no update, so does not count
  for (int k = 0; k < kMetrics; k++) totals[k] += sum[k];
  totals[kMetrics] += static_cast<double>(rows);
}

}  // namespace

void Cuda::add_metrics(Tensor& totals, const Tensor& logits, const Tensor& labels, const Tensor& losses,
                       const Tensor& weights) {
  const int64_t rows = logits.size(0), classes = logits.size(1);
  const Grid grid = grid_for(rows * kWarp, kRowThreads);
  Tensor partial = empty({grid.blocks, kMetrics}, {DType::kF64, logits.device()});
  visit_floating(logits.dtype(), "add_metrics", [&]<class T>() {
    launch(metrics_kernel<T>, grid, totals.data<double>(), partial.data<double>(), logits.data<T>(),
           labels.data<int64_t>(), losses.data<Accumulate<T>>(), weights.data<Accumulate<T>>(), rows, classes);
  });
}

namespace {

// A sample may occur more than once: the thread of its first occurrence records all of them, in order.
template <class T>
__global__ void record_kernel(float* table, const int64_t* indices, const T* weights, const T* losses, int64_t batch) {
  bool finite = true;
  for (int64_t i = threadIdx.x; i < batch; i += blockDim.x) finite = finite && std::isfinite(losses[i]);
  if (block_reduce<SumOf>(finite ? 0 : 1) > 0) return;
  for (int64_t i = thread_index(); i < batch; i += thread_count()) {
    const int64_t index = indices[i];
    bool first = true;
    for (int64_t j = 0; j < i; j++) first = first && indices[j] != index;
    float* row = table + index * kSampleColumns;
    for (int64_t j = i; first && j < batch; j++) {
      if (indices[j] != index) continue;
      const float weight = static_cast<float>(weights[j]) * static_cast<float>(batch);
      row[kSampleWeightSum] += weight;
      row[kSampleVisits] += 1;
      row[kSampleWeight] = weight;
      row[kSampleLoss] = static_cast<float>(losses[j]);
    }
  }
}

template <class T>
__global__ void adapt_kernel(T* lambda, const float* table, const T* h, const int64_t* indices, int64_t batch,
                             int64_t classes, int64_t samples, double lambda0, double alpha) {
  for (int64_t i = thread_index(); i < batch; i += thread_count()) {
    const bool known = indices[i] >= 0 && indices[i] < samples;
    const double before = known ? static_cast<double>(table[indices[i]]) : NAN;
    lambda[i] = static_cast<T>(adapted_lambda(h + i * classes, classes, before, lambda0, alpha));
  }
}

// Runs once adapt_kernel has read all of the old values. The last occurrence of a sample writes.
template <class T>
__global__ void remember_kernel(float* table, const int64_t* indices, const T* lambda, int64_t batch, int64_t samples) {
  for (int64_t i = thread_index(); i < batch; i += thread_count()) {
    bool last = indices[i] >= 0 && indices[i] < samples;
    for (int64_t j = i + 1; j < batch; j++) last = last && indices[j] != indices[i];
    if (last) table[indices[i]] = static_cast<float>(lambda[i]);
  }
}

}  // namespace

void Cuda::adapt_lambdas(Tensor& lambda, Tensor& table, const Tensor& h, const Tensor& indices, double lambda0,
                         double alpha) {
  const int64_t batch = h.size(0);
  visit_master(h.dtype(), [&]<class T>() {
    launch(adapt_kernel<T>, grid_for(batch, kRowThreads), lambda.data<T>(), table.data<float>(), h.data<T>(),
           indices.data<int64_t>(), batch, h.size(1), table.numel(), lambda0, alpha);
    launch(remember_kernel<T>, grid_for(batch, kRowThreads), table.data<float>(), indices.data<int64_t>(),
           lambda.data<T>(), batch, table.numel());
  });
}

void Cuda::record_samples(Tensor& table, const Tensor& indices, const Tensor& weights, const Tensor& losses) {
  const int64_t batch = indices.numel();
  visit_master(losses.dtype(), [&]<class T>() {
    launch(record_kernel<T>, grid_for(batch, kRowThreads), table.data<float>(), indices.data<int64_t>(),
           weights.data<T>(), losses.data<T>(), batch);
  });
}

}  // namespace fulcrum
