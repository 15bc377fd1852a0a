// Sums, maxima, argmax and softmax. Sums are kept in double: these kernels wait for memory, not for
// arithmetic.
#include <limits>
#include <vector>

#include <fulcrum/core/argmax.h>
#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/loops.h>

namespace fulcrum {

using cpu::parallel_for;

namespace {

struct SumOf {
  using Value = double;
  static constexpr Value kStart = 0;
  static Value join(Value a, Value b) { return a + b; }
};
struct MaxOf {
  using Value = double;
  static constexpr Value kStart = -std::numeric_limits<double>::infinity();
  static Value join(Value a, Value b) { return Maximum::forward(a, b); }
};

// Rows of [rows, columns] joined into one row: in as many parts as there may be threads, then the parts in
// order. OpenMP may grant fewer threads, of which one then does several parts.
template <class R, class T, class Y>
void reduce_rows(Y* y, const T* x, int64_t rows, int64_t columns) {
  const int parts = static_cast<int>(std::clamp<int64_t>(rows * columns / cpu::kGrain, 1, omp_get_max_threads()));
  const auto width = static_cast<size_t>(columns);
  std::vector<double> partial(static_cast<size_t>(parts) * width, R::kStart);
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; part++) {
    double* acc = partial.data() + static_cast<size_t>(part) * width;
    const cpu::Range r = cpu::share(rows, part, parts);
    for (int64_t i = r.begin; i < r.end; i++)
      for (int64_t c = 0; c < columns; c++)
        acc[c] = R::join(acc[c], static_cast<double>(Accumulate<T>(x[i * columns + c])));
  }
  for (int64_t c = 0; c < columns; c++) {
    double v = R::kStart;
    for (int p = 0; p < parts; p++) v = R::join(v, partial[static_cast<size_t>(p) * width + static_cast<size_t>(c)]);
    y[c] = Y(static_cast<Accumulate<Y>>(v));
  }
}

// Any mixture of kept and reduced dimensions: every output walks its own reduced elements.
template <class R, class T, class Y>
void reduce_general(Y* y, const T* x, int64_t outputs, const ReductionLoop& plan) {
  int64_t stride[Shape::kMaxDims], inner = 1, count = 1;
  for (int d = plan.rank - 1; d >= 0; d--) {
    stride[d] = inner;
    inner *= plan.size[d];
    if (plan.reduced[d]) count *= plan.size[d];
  }
  parallel_for(outputs, std::max<int64_t>(1, cpu::kGrain / count), [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) {
      int64_t base = 0, rest = o;
      for (int d = plan.rank - 1; d >= 0; d--)
        if (!plan.reduced[d]) base += rest % plan.size[d] * stride[d], rest /= plan.size[d];
      double v = R::kStart;
      for (int64_t r = 0; r < count; r++) {
        int64_t at = base, left = r;
        for (int d = plan.rank - 1; d >= 0; d--)
          if (plan.reduced[d]) at += left % plan.size[d] * stride[d], left /= plan.size[d];
        v = R::join(v, static_cast<double>(Accumulate<T>(x[at])));
      }
      y[o] = Y(static_cast<Accumulate<Y>>(v));
    }
  });
}

template <class R>
void reduce(const char* op, Tensor& y, const Tensor& x) {
  const ReductionLoop plan(x.shape(), y.shape());
  visit_floating(x.dtype(), op, [&]<class T>() {
    visit_floating(y.dtype(), op, [&]<class Y>() {
      const T* in = x.data<T>();
      Y* out = y.data<Y>();
      if (plan.rank == 1 && plan.reduced[0]) return reduce_rows<R>(out, in, plan.size[0], 1);
      if (plan.rank == 2 && plan.reduced[0]) return reduce_rows<R>(out, in, plan.size[0], plan.size[1]);
      reduce_general<R>(out, in, y.numel(), plan);
    });
  });
}

}  // namespace

void Cpu::reduce_sum(Tensor& y, const Tensor& x) { reduce<SumOf>("reduce_sum", y, x); }
void Cpu::reduce_max(Tensor& y, const Tensor& x) { reduce<MaxOf>("reduce_max", y, x); }

void Cpu::argmax(Tensor& y, const Tensor& x) {
  const int64_t columns = x.size(-1);
  int64_t* out = y.data<int64_t>();
  visit_floating(x.dtype(), "argmax", [&]<class T>() {
    const T* in = x.data<T>();
    parallel_for(y.numel(), std::max<int64_t>(1, cpu::kGrain / columns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const T* row = in + i * columns;
        int64_t best = 0;
        for (int64_t c = 1; c < columns; c++)
          if (wins(Accumulate<T>(row[c]), Accumulate<T>(row[best]))) best = c;
        out[i] = best;
      }
    });
  });
}

void Cpu::softmax(Tensor& y, const Tensor& x, bool log) {
  const int64_t columns = x.size(-1), rows = x.numel() / columns;
  visit_floating(x.dtype(), "softmax", [&]<class T>() {
    using A = Accumulate<T>;
    const T* in = x.data<T>();
    T* out = y.data<T>();
    parallel_for(rows, std::max<int64_t>(1, cpu::kGrain / 8 / columns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const T* z = in + i * columns;
        T* o = out + i * columns;
        A top = A(z[0]), total = 0;
        for (int64_t c = 1; c < columns; c++) top = Maximum::forward(top, A(z[c]));
        for (int64_t c = 0; c < columns; c++) total += std::exp(A(z[c]) - top);
        const A log_total = std::log(total);
        for (int64_t c = 0; c < columns; c++) {
          const A shifted = A(z[c]) - top;
          o[c] = T(log ? shifted - log_total : std::exp(shifted) / total);
        }
      }
    });
  });
}

void Cpu::softmax_gradient(Tensor& dx, const Tensor& dy, const Tensor& y, bool log) {
  const int64_t columns = y.size(-1), rows = y.numel() / columns;
  visit_floating(y.dtype(), "softmax", [&]<class T>() {
    using A = Accumulate<T>;
    const T* g = dy.data<T>();
    const T* s = y.data<T>();
    T* out = dx.data<T>();
    parallel_for(rows, std::max<int64_t>(1, cpu::kGrain / 8 / columns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * columns; i < end * columns; i += columns) {
        A dot = 0;
        for (int64_t c = i; c < i + columns; c++) dot += log ? A(g[c]) : A(g[c]) * A(s[c]);
        for (int64_t c = i; c < i + columns; c++)
          out[c] = T(log ? A(g[c]) - std::exp(A(s[c])) * dot : A(s[c]) * (A(g[c]) - dot));
      }
    });
  });
}

}  // namespace fulcrum
