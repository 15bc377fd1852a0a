// Element-wise kernels, casts, strided copies, dropout.
#include <cstring>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/loops.h>

namespace fulcrum {

using cpu::kGrain;
using cpu::parallel_for;

void Cpu::fill(Tensor& y, double value) {
  if (value == 0 && !std::signbit(value)) {
    std::memset(y.raw(), 0, y.bytes());
    return;
  }
  visit_any(y.dtype(), [&]<class T>() { std::fill_n(y.data<T>(), y.numel(), convert_to<T>(value)); });
}

void Cpu::cast(Tensor& y, const Tensor& x) {
  visit_any(y.dtype(), [&]<class To>() {
    visit_any(x.dtype(), [&]<class From>() {
      To* out = y.data<To>();
      const From* in = x.data<From>();
      parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) out[i] = convert_to<To>(in[i]);
      });
    });
  });
}

void Cpu::add_into(Tensor& y, const Tensor& x) {
  visit_floating(y.dtype(), "add_into", [&]<class To>() {
    visit_floating(x.dtype(), "add_into", [&]<class From>() {
      To* out = y.data<To>();
      const From* in = x.data<From>();
      parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) out[i] = AddTo<To>{}(out[i], in[i]);
      });
    });
  });
}

void Cpu::add_all(const std::vector<TensorPair>& pairs) {
  for (auto [y, x] : pairs) add_into(y, x);
}

void Cpu::copy_strided(Tensor& y, const Tensor& x, const StridedCopy& c) {
  const int rank = c.extent.dim();
  const int64_t inner = rank ? c.extent[-1] : 1, rows = c.extent.numel() / inner;
  const int64_t step_x = rank ? c.x_strides[rank - 1] : 1, step_y = rank ? c.y_strides[rank - 1] : 1;
  visit_any(y.dtype(), [&]<class T>() {
    T* out = y.data<T>() + c.y_offset;
    const T* in = x.data<T>() + c.x_offset;
    parallel_for(rows, std::max<int64_t>(1, kGrain / inner), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        int64_t at_x = 0, at_y = 0, rest = row;
        for (int d = rank - 2; d >= 0; d--) {
          const int64_t i = rest % c.extent[d];
          rest /= c.extent[d];
          at_x += i * c.x_strides[d];
          at_y += i * c.y_strides[d];
        }
        if (step_x == 1 && step_y == 1) {
          std::memcpy(out + at_y, in + at_x, static_cast<size_t>(inner) * sizeof(T));
        } else {
          for (int64_t i = 0; i < inner; i++) out[at_y + i * step_y] = in[at_x + i * step_x];
        }
      }
    });
  });
}

template <class F>
void Cpu::unary(Tensor& y, const Tensor& x) {
  visit_floating(x.dtype(), F::kName, [&]<class T>() {
    using A = Accumulate<T>;
    T* out = y.data<T>();
    const T* in = x.data<T>();
    parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) out[i] = T(F::forward(A(in[i])));
    });
  });
}

template <class F>
void Cpu::unary_gradient(Tensor& dx, const Tensor& dy, const Tensor& saved) {
  visit_floating(dy.dtype(), F::kName, [&]<class T>() {
    using A = Accumulate<T>;
    T* out = dx.data<T>();
    const T* g = dy.data<T>();
    const T* s = saved.data<T>();
    parallel_for(dx.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) out[i] = T(F::gradient(A(g[i]), A(s[i])));
    });
  });
}

template <class F>
void Cpu::binary(Tensor& y, const Tensor& a, const Tensor& b) {
  const BroadcastLoop loop(y.shape(), a.shape(), b.shape());
  visit_floating(y.dtype(), F::kName, [&]<class T>() {
    using A = Accumulate<T>;
    T* out = y.data<T>();
    const T* pa = a.data<T>();
    const T* pb = b.data<T>();
    parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        int64_t rest = begin / loop.size[0], at_a = 0, at_b = 0;
        for (int d = 1; d < loop.rank; d++) {
          const int64_t i = rest % loop.size[d];
          rest /= loop.size[d];
          at_a += i * loop.a[d];
          at_b += i * loop.b[d];
        }
        const int64_t first = begin % loop.size[0], count = std::min(loop.size[0] - first, end - begin);
        const T* x = pa + at_a + first * loop.a[0];
        const T* z = pb + at_b + first * loop.b[0];
        T* o = out + begin;
        if (loop.a[0] == 1 && loop.b[0] == 1) {
          for (int64_t i = 0; i < count; i++) o[i] = T(F::forward(A(x[i]), A(z[i])));
        } else if (loop.b[0] == 0 && loop.a[0] == 1) {
          for (int64_t i = 0; i < count; i++) o[i] = T(F::forward(A(x[i]), A(z[0])));
        } else {
          for (int64_t i = 0; i < count; i++) o[i] = T(F::forward(A(x[i * loop.a[0]]), A(z[i * loop.b[0]])));
        }
        begin += count;
      }
    });
  });
}

#define FULCRUM_INSTANTIATE(F)                         \
  template void Cpu::unary<F>(Tensor&, const Tensor&); \
  template void Cpu::unary_gradient<F>(Tensor&, const Tensor&, const Tensor&);
FULCRUM_UNARY_FUNCTORS(FULCRUM_INSTANTIATE)
#undef FULCRUM_INSTANTIATE
#define FULCRUM_INSTANTIATE(F) template void Cpu::binary<F>(Tensor&, const Tensor&, const Tensor&);
FULCRUM_BINARY_FUNCTORS(FULCRUM_INSTANTIATE)
#undef FULCRUM_INSTANTIATE

void Cpu::dropout(Tensor& y, Tensor& mask, const Tensor& x, double p, Generator& generator, DropoutBlocks range) {
  const Philox philox(generator.seed, generator.stream);
  int64_t& position = generator.position.data<int64_t>()[0];
  uint8_t* keep = mask.data<uint8_t>();
  const auto threshold = static_cast<float>(p);
  const int64_t n = x.numel(), blocks = (n + 3) / 4;
  parallel_for(blocks, kGrain / 16, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b++) {
      const Words4 words = philox.block(static_cast<uint64_t>(position + range.before + b));
      for (int64_t i = 4 * b; i < std::min(n, 4 * b + 4); i++)
        keep[i] = Philox::to_uniform(words.w[i % 4]) >= threshold;
    }
  });
  position += range.all > 0 ? range.all : blocks;
  dropout_gradient(y, x, mask, p);
}

void Cpu::dropout_gradient(Tensor& dx, const Tensor& dy, const Tensor& mask, double p) {
  visit_floating(dy.dtype(), "dropout", [&]<class T>() {
    using A = Accumulate<T>;
    const A scale = static_cast<A>(1 / (1 - p));
    T* out = dx.data<T>();
    const T* in = dy.data<T>();
    const uint8_t* keep = mask.data<uint8_t>();
    parallel_for(dx.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) out[i] = T(keep[i] ? A(in[i]) * scale : A(0));
    });
  });
}

}  // namespace fulcrum
