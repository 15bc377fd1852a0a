// Pooling. A thread computes a pack of channels of one pixel, from the pixel's window or, in a gradient, from the
// windows that cover it. So every element is written once, and its sum has a fixed order.
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/pool_rules.h>
#include <fulcrum/core/cuda/columns.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

/// Pixel and first channel of pack `i` of [n, h, w, c].
struct Pixel {
  int64_t image, row, col, channel;

  __device__ Pixel(int64_t i, int64_t h, int64_t w, int64_t c, int width) {
    const auto [pixel, pack] = divide(i, c / width);
    const auto [line, column] = divide(pixel, w);
    const auto [number, height] = divide(line, h);
    image = number, row = height, col = column, channel = pack * width;
  }
};

template <int P, class T>
__global__ void max_pool_kernel(T* y, int32_t* argmax, const T* x, Pool2dGeometry g, int64_t packs) {
  using A = Accumulate<T>;
  for (int64_t i = thread_index(); i < packs; i += thread_count()) {
    const Pixel out(i, g.out_h, g.out_w, g.c, P);
    const Windows windows(g);
    const Windows::Part rows = windows.rows(out.row), cols = windows.cols(out.col);
    const int64_t image = out.image * g.h * g.w * g.c + out.channel;
    const int64_t first = rows.begin * g.w + cols.begin;
    Pack<T, P> best = pack_at<P>(x, image + first * g.c);
    Pack<int32_t, P> winner;
    for (int k = 0; k < P; k++) winner.at[k] = static_cast<int32_t>(first);
    for (int64_t ih = rows.begin; ih < rows.end; ih++)
      for (int64_t iw = cols.begin; iw < cols.end; iw++) {
        const int64_t pixel = ih * g.w + iw;
        const Pack<T, P> in = pack_at<P>(x, image + pixel * g.c);
        for (int k = 0; k < P; k++) {
          const A value = A(in.at[k]);
          if (!(value > A(best.at[k]) || value != value)) continue;  // a NaN wins, as in PyTorch
          best.at[k] = in.at[k];
          winner.at[k] = static_cast<int32_t>(pixel);
        }
      }
    put_pack(y, i * P, best);
    put_pack(argmax, i * P, winner);
  }
}

template <int P, class T>
__global__ void avg_pool_kernel(T* y, const T* x, Pool2dGeometry g, int64_t packs) {
  using A = Accumulate<T>;
  for (int64_t i = thread_index(); i < packs; i += thread_count()) {
    const Pixel out(i, g.out_h, g.out_w, g.c, P);
    const Windows windows(g);
    const Windows::Part rows = windows.rows(out.row), cols = windows.cols(out.col);
    const int64_t image = out.image * g.h * g.w * g.c + out.channel;
    A sum[P] = {};
    for (int64_t ih = rows.begin; ih < rows.end; ih++)
      for (int64_t iw = cols.begin; iw < cols.end; iw++) {
        const Pack<T, P> in = pack_at<P>(x, image + (ih * g.w + iw) * g.c);
        for (int k = 0; k < P; k++) sum[k] += A(in.at[k]);
      }
    const A factor = windows.mean_factor<A>(out.row, out.col);
    Pack<T, P> mean;
    for (int k = 0; k < P; k++) mean.at[k] = T(sum[k] * factor);
    put_pack(y, i * P, mean);
  }
}

/// The part of a window's gradient that a pixel gets: all of it if the pixel gave the maximum, else 0.
template <int P>
struct MaxShare {
  const int32_t* argmax;

  template <class A>
  struct Of {
    Pack<int32_t, P> winner;
    int32_t pixel;
    __device__ A operator()(int k, A dy) const { return winner.at[k] == pixel ? dy : A(0); }
  };
  template <class A>
  __device__ Of<A> of(const Pool2dGeometry& g, const Pixel& in, int64_t, int64_t, int64_t at) const {
    return {pack_at<P>(argmax, at), static_cast<int32_t>(in.row * g.w + in.col)};
  }
};

template <int P>
struct MeanShare {
  template <class A>
  struct Of {
    A factor;
    __device__ A operator()(int, A dy) const { return dy * factor; }
  };
  template <class A>
  __device__ Of<A> of(const Pool2dGeometry& g, const Pixel&, int64_t oh, int64_t ow, int64_t) const {
    return {Windows(g).mean_factor<A>(oh, ow)};
  }
};

template <int P, class T, class Share>
__global__ void pool_gradient_kernel(T* dx, const T* dy, Share share, Pool2dGeometry g, int64_t packs) {
  using A = Accumulate<T>;
  for (int64_t i = thread_index(); i < packs; i += thread_count()) {
    const Pixel in(i, g.h, g.w, g.c, P);
    const Windows windows(g);
    const Windows::Part over_row = windows.over_row(in.row), over_col = windows.over_col(in.col);
    A sum[P] = {};
    for (int64_t oh = over_row.begin; oh < over_row.end; oh++)
      for (int64_t ow = over_col.begin; ow < over_col.end; ow++) {
        const int64_t at = ((in.image * g.out_h + oh) * g.out_w + ow) * g.c + in.channel;
        const Pack<T, P> d = pack_at<P>(dy, at);
        const auto part = share.template of<A>(g, in, oh, ow, at);
        for (int k = 0; k < P; k++) sum[k] += part(k, A(d.at[k]));
      }
    Pack<T, P> out;
    for (int k = 0; k < P; k++) out.at[k] = T(sum[k]);
    put_pack(dx, i * P, out);
  }
}

}  // namespace

void Cuda::max_pool2d(Tensor& y, Tensor& argmax, const Tensor& x, const Pool2dGeometry& g) {
  visit_floating(x.dtype(), "max_pool2d", [&]<class T>() {
    T* py = y.data<T>();
    const T* px = x.data<T>();
    int32_t* winners = argmax.data<int32_t>();
    const auto run = [&]<int P>() {
      const int64_t packs = y.numel() / P;
      launch(max_pool_kernel<P, T>, grid_for(packs), py, winners, px, g, packs);
    };
    visit_width<T>(g.c, run, py, px, winners);
  });
}

void Cuda::max_pool2d_gradient(Tensor& dx, const Tensor& dy, const Tensor& argmax, const Pool2dGeometry& g) {
  visit_floating(dx.dtype(), "max_pool2d_gradient", [&]<class T>() {
    T* pdx = dx.data<T>();
    const T* pdy = dy.data<T>();
    const int32_t* winners = argmax.data<int32_t>();
    const auto run = [&]<int P>() {
      const int64_t packs = dx.numel() / P;
      launch(pool_gradient_kernel<P, T, MaxShare<P>>, grid_for(packs), pdx, pdy, MaxShare<P>{winners}, g, packs);
    };
    visit_width<T>(g.c, run, pdx, pdy, winners);
  });
}

void Cuda::avg_pool2d(Tensor& y, const Tensor& x, const Pool2dGeometry& g) {
  const bool whole_image =
      g.out_h == 1 && g.out_w == 1 && g.padding_h == 0 && g.padding_w == 0 && g.kernel_h == g.h && g.kernel_w == g.w;
  visit_floating(x.dtype(), "avg_pool2d", [&]<class T>() {
    T* py = y.data<T>();
    const T* px = x.data<T>();
    // One thread per mean would leave most of the device idle.
    if (whole_image) return reduce_columns<SumOf>(py, px, g.n, g.h * g.w, g.c, 1 / static_cast<double>(g.h * g.w));
    const auto run = [&]<int P>() {
      const int64_t packs = y.numel() / P;
      launch(avg_pool_kernel<P, T>, grid_for(packs), py, px, g, packs);
    };
    visit_width<T>(g.c, run, py, px);
  });
}

void Cuda::avg_pool2d_gradient(Tensor& dx, const Tensor& dy, const Pool2dGeometry& g) {
  visit_floating(dx.dtype(), "avg_pool2d_gradient", [&]<class T>() {
    T* pdx = dx.data<T>();
    const T* pdy = dy.data<T>();
    const auto run = [&]<int P>() {
      const int64_t packs = dx.numel() / P;
      launch(pool_gradient_kernel<P, T, MeanShare<P>>, grid_for(packs), pdx, pdy, MeanShare<P>{}, g, packs);
    };
    visit_width<T>(g.c, run, pdx, pdy);
  });
}

}  // namespace fulcrum
