#include <fulcrum/core/cuda/space_to_depth.h>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/packs.cuh>

namespace fulcrum::cuda {

namespace {

struct Blocks {
  int64_t h, w, c;                // of x
  int64_t wide_h, wide_w, depth;  // of y
  int64_t offset;

  Blocks(const Tensor& y, const Tensor& x, int64_t o)
      : h(x.size(1)), w(x.size(2)), c(x.size(3)), wide_h(y.size(1)), wide_w(y.size(2)), depth(y.size(3)), offset(o) {}
};

/// A thread for each pixel of y.
template <int P, class T>
__global__ void space_to_depth_kernel(T* y, const T* x, Blocks s, int64_t pixels) {
  for (int64_t i = thread_index(); i < pixels; i += thread_count()) {
    const auto [line, column] = divide(i, s.wide_w);
    const auto [n, row] = divide(line, s.wide_h);
    const int64_t top = 2 * row - s.offset, left = 2 * column - s.offset;
    const int channels = static_cast<int>(s.c), depth = static_cast<int>(s.depth);
    int a = 0, b = 0, c = 0;  // next: channel c of the pixel (top + a, left + b)
    const auto source = [&]() -> const T* {
      const int64_t xi = top + a, xj = left + b;
      const bool inside = a < 2 && xi >= 0 && xi < s.h && xj >= 0 && xj < s.w;
      return inside ? x + ((n * s.h + xi) * s.w + xj) * channels : nullptr;
    };
    const T* from = source();
    for (int d = 0; d < depth; d += P) {
      Pack<T, P> out;
      for (int k = 0; k < P; k++) {
        out.at[k] = from ? from[c] : T(0);
        if (++c < channels) continue;
        c = 0;
        if (++b == 2) b = 0, a++;
        from = source();
      }
      put_pack(y, i * depth + d, out);
    }
  }
}

/// A thread for each element of x.
template <class T>
__global__ void depth_to_space_kernel(T* x, const T* y, Blocks s, int64_t elements) {
  for (int64_t i = thread_index(); i < elements; i += thread_count()) {
    const auto [pixel, k] = divide(i, s.c);
    const auto [line, column] = divide(pixel, s.w);
    const auto [n, row] = divide(line, s.h);
    const int64_t xi = row + s.offset, xj = column + s.offset;
    x[i] = y[((n * s.wide_h + xi / 2) * s.wide_w + xj / 2) * s.depth + (xi % 2 * 2 + xj % 2) * s.c + k];
  }
}

}  // namespace

void space_to_depth(Tensor& y, const Tensor& x, int64_t offset) {
  const Blocks s(y, x, offset);
  const int64_t pixels = y.numel() / s.depth;
  visit_floating(x.dtype(), "space_to_depth", [&]<class T>() {
    launch(space_to_depth_kernel<kPack<T>, T>, grid_for(pixels), y.data<T>(), x.data<T>(), s, pixels);
  });
}

void depth_to_space(Tensor& x, const Tensor& y, int64_t offset) {
  const Blocks s(y, x, offset);
  visit_floating(x.dtype(), "depth_to_space", [&]<class T>() {
    launch(depth_to_space_kernel<T>, grid_for(x.numel()), x.data<T>(), y.data<T>(), s, x.numel());
  });
}

}  // namespace fulcrum::cuda
