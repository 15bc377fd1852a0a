// Pooling. Gradients are gathered: each input pixel collects from the windows that cover it, so that
// every element is written once, by one thread, and summed in a fixed order.
#include <algorithm>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/cpu/words.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/pool_rules.h>

namespace fulcrum {

namespace {

constexpr int64_t kBlock = 64;  // channels at a time, so that their sums stay in the L1 cache

template <class T>
void max_window(T* y, int32_t* winner, const T* image, const Pool2dGeometry& g, Windows::Part rows,
                Windows::Part cols) {
  const int64_t first = rows.begin * g.w + cols.begin;
  std::copy_n(image + first * g.c, g.c, y);
  std::fill_n(winner, g.c, static_cast<int32_t>(first));
  for (int64_t ih = rows.begin; ih < rows.end; ih++) {
    for (int64_t iw = cols.begin; iw < cols.end; iw++) {
      const auto index = static_cast<int32_t>(ih * g.w + iw);
      const T* x = image + index * g.c;
#pragma omp simd
      for (int64_t c = 0; c < g.c; c++) {
        const Accumulate<T> value = x[c], best = y[c];
        const bool wins = value > best || value != value;  // a NaN wins, as in PyTorch
        cpu::store(y[c], wins ? value : best);
        winner[c] = wins ? index : winner[c];
      }
    }
  }
}

/// For all pixels of row `row` = image·h + ih: dx[ih, iw, :] = Σ over the windows (oh, ow) that cover the
/// pixel. term(sum, image, oh, ow, ih·w + iw, first, count) adds the contribution of one window to `sum`,
/// for channels [first, first + count).
template <class T, class Term>
void gather_row(T* dx, const Pool2dGeometry& g, int64_t row, Term term) {
  const Windows windows(g);
  const int64_t image = row / g.h, ih = row % g.h;
  const Windows::Part over_row = windows.over_row(ih);
  for (int64_t iw = 0; iw < g.w; iw++, dx += g.c) {
    const Windows::Part over_col = windows.over_col(iw);
    for (int64_t first = 0; first < g.c; first += kBlock) {
      const int64_t count = std::min(kBlock, g.c - first);
      Accumulate<T> sum[kBlock] = {};
      for (int64_t oh = over_row.begin; oh < over_row.end; oh++)
        for (int64_t ow = over_col.begin; ow < over_col.end; ow++)
          term(sum, image, oh, ow, static_cast<int32_t>(ih * g.w + iw), first, count);
      for (int64_t c = 0; c < count; c++) cpu::store(dx[first + c], sum[c]);
    }
  }
}

}  // namespace

void Cpu::max_pool2d(Tensor& y, Tensor& argmax, const Tensor& x, const Pool2dGeometry& g) {
  visit_floating(x.dtype(), "max_pool2d", [&]<class T>() {
    const Windows windows(g);
    T* py = y.data<T>();
    int32_t* winners = argmax.data<int32_t>();
    const T* px = x.data<T>();
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < g.n * g.out_h; row++) {
      const T* image = px + row / g.out_h * g.h * g.w * g.c;
      for (int64_t ow = 0; ow < g.out_w; ow++) {
        const int64_t at = (row * g.out_w + ow) * g.c;
        max_window(py + at, winners + at, image, g, windows.rows(row % g.out_h), windows.cols(ow));
      }
    }
  });
}

void Cpu::max_pool2d_gradient(Tensor& dx, const Tensor& dy, const Tensor& argmax, const Pool2dGeometry& g) {
  visit_floating(dx.dtype(), "max_pool2d_gradient", [&]<class T>() {
    T* pdx = dx.data<T>();
    const T* pdy = dy.data<T>();
    const int32_t* winners = argmax.data<int32_t>();
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < g.n * g.h; row++) {
      gather_row(
          pdx + row * g.w * g.c, g, row,
          [&](Accumulate<T>* sum, int64_t image, int64_t oh, int64_t ow, int32_t pixel, int64_t first, int64_t count) {
            const int64_t at = ((image * g.out_h + oh) * g.out_w + ow) * g.c + first;
#pragma omp simd
            for (int64_t c = 0; c < count; c++) {
              const Accumulate<T> d = pdy[at + c];
              sum[c] += winners[at + c] == pixel ? d : Accumulate<T>(0);
            }
          });
    }
  });
}

void Cpu::avg_pool2d(Tensor& y, const Tensor& x, const Pool2dGeometry& g) {
  visit_floating(x.dtype(), "avg_pool2d", [&]<class T>() {
    using A = Accumulate<T>;
    const Windows windows(g);
    T* py = y.data<T>();
    const T* px = x.data<T>();
#pragma omp parallel for schedule(static)
    for (int64_t out = 0; out < g.n * g.out_h * g.out_w; out++) {
      const int64_t ow = out % g.out_w, oh = out / g.out_w % g.out_h;
      const T* image = px + out / (g.out_h * g.out_w) * g.h * g.w * g.c;
      const Windows::Part rows = windows.rows(oh), cols = windows.cols(ow);
      const A factor = windows.mean_factor<A>(oh, ow);
      for (int64_t first = 0; first < g.c; first += kBlock) {
        const int64_t count = std::min(kBlock, g.c - first);
        A sum[kBlock] = {};
        for (int64_t ih = rows.begin; ih < rows.end; ih++)
          for (int64_t iw = cols.begin; iw < cols.end; iw++) {
            const T* from = image + (ih * g.w + iw) * g.c + first;
#pragma omp simd
            for (int64_t c = 0; c < count; c++) sum[c] += static_cast<A>(from[c]);
          }
        for (int64_t c = 0; c < count; c++) cpu::store(py[out * g.c + first + c], sum[c] * factor);
      }
    }
  });
}

void Cpu::avg_pool2d_gradient(Tensor& dx, const Tensor& dy, const Pool2dGeometry& g) {
  visit_floating(dx.dtype(), "avg_pool2d_gradient", [&]<class T>() {
    using A = Accumulate<T>;
    const Windows windows(g);
    T* pdx = dx.data<T>();
    const T* pdy = dy.data<T>();
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < g.n * g.h; row++) {
      gather_row(pdx + row * g.w * g.c, g, row,
                 [&](A* sum, int64_t image, int64_t oh, int64_t ow, int32_t, int64_t first, int64_t count) {
                   const T* from = pdy + ((image * g.out_h + oh) * g.out_w + ow) * g.c + first;
                   const A factor = windows.mean_factor<A>(oh, ow);
#pragma omp simd
                   for (int64_t c = 0; c < count; c++) sum[c] += static_cast<A>(from[c]) * factor;
                 });
    }
  });
}

}  // namespace fulcrum
