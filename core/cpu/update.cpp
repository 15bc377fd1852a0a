// Optimiser steps over arenas: every parameter of every group in one parallel region.
#include <cmath>
#include <numeric>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/update_rules.h>

namespace fulcrum {

namespace {

// Calls f(begin, end, learning_rate, weight_decay) on this thread's part of every segment.
template <class F>
void for_segments(const Segments& s, F&& f) {
  const int64_t* offset = s.offset.data<int64_t>();
  const int64_t* size = s.size.data<int64_t>();
  const int32_t* group = s.group.data<int32_t>();
  const double* hyper = s.hyper.data<double>();
  const int64_t count = s.offset.numel();
  // Waking the threads does not pay for a few elements.
  [[maybe_unused]] const bool worthwhile = std::accumulate(size, size + count, int64_t{0}) >= cpu::kGrain;
#pragma omp parallel if (worthwhile)
  for (int64_t i = 0; i < count; i++) {
    const cpu::Range r = cpu::share(size[i], omp_get_thread_num(), omp_get_num_threads());
    if (r.begin < r.end) f(offset[i] + r.begin, offset[i] + r.end, hyper[2 * group[i]], hyper[2 * group[i] + 1]);
  }
}

}  // namespace

void Cpu::begin_update(Tensor& control, const Tensor& grad, const Segments& s, double max_norm) {
  double squares = 0;
  const int64_t* offset = s.offset.data<int64_t>();
  const int64_t* size = s.size.data<int64_t>();
  visit_master(grad.dtype(), [&]<class T>() {
    const T* g = grad.data<T>();
    for (int64_t i = 0; i < s.offset.numel(); i++) {
      // One sum per segment, in a fixed order, so that the norm does not depend on the number of threads.
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t j = offset[i]; j < offset[i] + size[i]; j++)
        sum += static_cast<double>(g[j]) * static_cast<double>(g[j]);
      squares += sum;
    }
  });
  begin_step(control.data<double>(), squares, max_norm);
}

void Cpu::check_finite(Tensor& control, const Tensor& losses) {
  visit_master(losses.dtype(), [&]<class T>() {
    const T* l = losses.data<T>();
    for (int64_t i = 0; i < losses.numel(); i++)
      if (!std::isfinite(l[i])) control.data<double>()[kBad] = 1;
  });
}

void Cpu::sgd_update(Tensor& param, Tensor& momentum, Tensor& twin, const Tensor& grad, const Tensor& control,
                     const Segments& s, const SgdRule& rule) {
  const double* c = control.data<double>();
  if (c[kBad] != 0) return;
  visit_master(param.dtype(), [&]<class T>() {
    T* p = param.data<T>();
    T* m = momentum ? momentum.data<T>() : nullptr;
    bf16* t = twin ? twin.data<bf16>() : nullptr;
    const T* g = grad.data<T>();
    for_segments(s, [&](int64_t begin, int64_t end, double lr, double weight_decay) {
      const SgdStep<T> step(rule, lr, weight_decay, c[kClip]);
      if (m) {
        for (int64_t i = begin; i < end; i++) step(p[i], m[i], g[i]);
      } else {
        for (int64_t i = begin; i < end; i++) step(p[i], g[i]);
      }
      for (int64_t i = begin; t && i < end; i++) t[i] = bf16(static_cast<float>(p[i]));
    });
  });
}

void Cpu::adam_update(Tensor& param, Tensor& first, Tensor& second, Tensor& twin, const Tensor& grad,
                      const Tensor& control, const Segments& s, const AdamRule& rule) {
  const double* c = control.data<double>();
  if (c[kBad] != 0) return;
  const AdamCorrections corrections = adam_corrections(rule, c[kStep]);
  visit_master(param.dtype(), [&]<class T>() {
    T *p = param.data<T>(), *m = first.data<T>(), *v = second.data<T>();
    bf16* t = twin ? twin.data<bf16>() : nullptr;
    const T* g = grad.data<T>();
    for_segments(s, [&](int64_t begin, int64_t end, double lr, double weight_decay) {
      const AdamStep<T> step(rule, lr, weight_decay, c[kClip], corrections);
      for (int64_t i = begin; i < end; i++) step(p[i], m[i], v[i], g[i]);
      for (int64_t i = begin; t && i < end; i++) t[i] = bf16(static_cast<float>(p[i]));
    });
  });
}

void Cpu::lerp_all(const std::vector<TensorPair>& pairs, double weight, const Tensor& control) {
  if (control && control.data<double>()[kBad] != 0) return;
  for (auto [y, x] : pairs)
    visit_master(y.dtype(), [&, &y = y, &x = x]<class T>() {
      T* to = y.data<T>();
      const T* from = x.data<T>();
      const T w = static_cast<T>(weight);
      cpu::parallel_for(y.numel(), cpu::kGrain, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) to[i] += w * (from[i] - to[i]);
      });
    });
}

}  // namespace fulcrum
