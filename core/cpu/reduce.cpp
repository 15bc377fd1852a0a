// Sums, maxima, argmax and softmax. reduce_sum accumulates in double: it is bound by memory, not by arithmetic.
#include <algorithm>
#include <limits>
#include <utility>
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
  template <class T>
  using Value = double;
  template <class V>
  static constexpr V kStart = 0;
  template <class V>
  static V join(V a, V b) {
    return a + b;
  }
};
struct MaxOf {
  template <class T>
  using Value = Accumulate<T>;
  template <class V>
  static constexpr V kStart = -std::numeric_limits<V>::infinity();
  template <class V>
  static V join(V a, V b) {
    return Maximum::forward(a, b);
  }
};
template <class R, class T>
using ValueOf = typename R::template Value<T>;

constexpr int kLanes = 16;

// Joins n contiguous elements in independent lanes, which the compiler vectorises.
template <class R, class T>
ValueOf<R, T> join_run(const T* x, int64_t n) {
  using V = ValueOf<R, T>;
  const auto at = [x](int64_t i) { return static_cast<V>(Accumulate<T>(x[i])); };
  V v = R::template kStart<V>;
  int64_t i = 0;
  if (n >= kLanes) {
    V lanes[kLanes];
    std::fill_n(lanes, kLanes, v);
    for (; i + kLanes <= n; i += kLanes)
      for (int j = 0; j < kLanes; j++) lanes[j] = R::join(lanes[j], at(i + j));
    for (int half = kLanes / 2; half > 0; half /= 2)
      for (int j = 0; j < half; j++) lanes[j] = R::join(lanes[j], lanes[j + half]);
    v = lanes[0];
  }
  for (; i < n; i++) v = R::join(v, at(i));
  return v;
}

// Joins row[c] into acc[c] for every column c.
template <class R, class T>
void join_row(ValueOf<R, T>* acc, const T* row, int64_t columns) {
  for (int64_t c = 0; c < columns; c++) acc[c] = R::join(acc[c], static_cast<ValueOf<R, T>>(Accumulate<T>(row[c])));
}

template <class Y, class V>
void put(Y& y, V v) {
  y = Y(static_cast<Accumulate<Y>>(v));
}

// Joins the rows of [rows, columns] into one row; each thread has its own columns.
template <class R, class T, class Y>
void reduce_wide_rows(Y* y, const T* x, int64_t rows, int64_t columns) {
  using V = ValueOf<R, T>;
  constexpr int64_t kBlock = 1024;  // columns at a time, so that their sums stay in the L1 cache
  parallel_for(columns, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c += kBlock) {
      const int64_t n = std::min(kBlock, end - c);
      V acc[kBlock];
      std::fill_n(acc, n, R::template kStart<V>);
      for (int64_t i = 0; i < rows; i++) join_row<R>(acc, x + i * columns + c, n);
      for (int64_t k = 0; k < n; k++) put(y[c + k], acc[k]);
    }
  });
}

// The same for few columns: joins the rows in fixed parts, one per thread, and then the parts in order. If OpenMP
// supplies fewer threads, a thread does several parts.
template <class R, class T, class Y>
void reduce_rows(Y* y, const T* x, int64_t rows, int64_t columns) {
  if (columns >= cpu::kGrain) return reduce_wide_rows<R>(y, x, rows, columns);
  const int64_t most = std::min<int64_t>(rows, omp_get_max_threads());
  const int parts = static_cast<int>(std::clamp<int64_t>(rows * columns / cpu::kGrain, 1, most));
  const auto width = static_cast<size_t>(columns);
  using V = ValueOf<R, T>;
  std::vector<V> partial(static_cast<size_t>(parts) * width, R::template kStart<V>);
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; part++) {
    V* acc = partial.data() + static_cast<size_t>(part) * width;
    const cpu::Range r = cpu::share(rows, part, parts);
    if (columns == 1) acc[0] = join_run<R>(x + r.begin, r.end - r.begin);
    else
      for (int64_t i = r.begin; i < r.end; i++) join_row<R>(acc, x + i * columns, columns);
  }
  for (int64_t c = 0; c < columns; c++) {
    V v = R::template kStart<V>;
    for (int p = 0; p < parts; p++) v = R::join(v, partial[static_cast<size_t>(p) * width + static_cast<size_t>(c)]);
    put(y[c], v);
  }
}

// Any mixture of kept and reduced dimensions. The innermost dimension is processed as a whole: joined into one element
// if it is reduced, else joined into a row of outputs.
template <class R, class T, class Y>
void reduce_general(Y* y, const T* x, int64_t outputs, const ReductionLoop& plan) {
  using V = ValueOf<R, T>;
  const int outer = plan.rank - 1;
  const int64_t inner = plan.size[outer], width = plan.reduced[outer] ? 1 : inner;
  int64_t stride[Shape::kMaxDims];
  std::vector<int64_t> offsets{0};  // of the pieces that are joined into one row of outputs
  for (int64_t d = outer - 1, step = inner; d >= 0; step *= plan.size[d--]) stride[d] = step;
  for (int d = 0; d < outer; d++) {
    if (!plan.reduced[d]) continue;
    std::vector<int64_t> more;
    for (const int64_t offset : offsets)
      for (int64_t i = 0; i < plan.size[d]; i++) more.push_back(offset + i * stride[d]);
    offsets = std::move(more);
  }
  const int64_t work = inner * std::ssize(offsets);
  parallel_for(outputs / width, std::max<int64_t>(1, cpu::kGrain / work), [&](int64_t begin, int64_t end) {
    std::vector<V> acc(static_cast<size_t>(width));
    for (int64_t row = begin; row < end; row++) {
      int64_t base = 0, rest = row;
      for (int d = outer - 1; d >= 0; d--)
        if (!plan.reduced[d]) base += rest % plan.size[d] * stride[d], rest /= plan.size[d];
      std::fill(acc.begin(), acc.end(), R::template kStart<V>);
      for (const int64_t offset : offsets) {
        const T* piece = x + base + offset;
        if (plan.reduced[outer]) acc[0] = R::join(acc[0], join_run<R>(piece, inner));
        else join_row<R>(acc.data(), piece, inner);
      }
      for (int64_t c = 0; c < width; c++) put(y[row * width + c], acc[static_cast<size_t>(c)]);
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
      if (plan.rank == 0 || (plan.rank == 1 && !plan.reduced[0]))  // only dimensions of size 1 are reduced
        return parallel_for(y.numel(), cpu::kGrain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) put(out[i], Accumulate<T>(in[i]));
        });
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

namespace {
// Σ f(c) over n columns, in lanes as in join_run.
template <class A, class F>
A sum_columns(int64_t n, F f) {
  A lanes[kLanes] = {}, total = 0;
  int64_t c = 0;
  for (; c + kLanes <= n; c += kLanes)
    for (int j = 0; j < kLanes; j++) lanes[j] += f(c + j);
  for (; c < n; c++) total += f(c);
  for (const A lane : lanes) total += lane;
  return total;
}
}  // namespace

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
        const A top = join_run<MaxOf>(z, columns);
        const A total = sum_columns<A>(columns, [=](int64_t c) { return math::exp(A(z[c]) - top); });
        const A log_total = std::log(total);
        if (log)
          for (int64_t c = 0; c < columns; c++) o[c] = T(A(z[c]) - top - log_total);
        else
          for (int64_t c = 0; c < columns; c++) o[c] = T(math::exp(A(z[c]) - top) / total);
      }
    });
  });
}

void Cpu::softmax_gradient(Tensor& dx, const Tensor& dy, const Tensor& y, bool log) {
  const int64_t columns = y.size(-1), rows = y.numel() / columns;
  visit_floating(y.dtype(), "softmax", [&]<class T>() {
    using A = Accumulate<T>;
    parallel_for(rows, std::max<int64_t>(1, cpu::kGrain / 8 / columns), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * columns; i < end * columns; i += columns) {
        const T *g = dy.data<T>() + i, *s = y.data<T>() + i;
        T* out = dx.data<T>() + i;
        const A dot = sum_columns<A>(columns, [=](int64_t c) { return log ? A(g[c]) : A(g[c]) * A(s[c]); });
        if (log)
          for (int64_t c = 0; c < columns; c++) out[c] = T(A(g[c]) - math::exp(A(s[c])) * dot);
        else
          for (int64_t c = 0; c < columns; c++) out[c] = T(A(s[c]) * (A(g[c]) - dot));
      }
    });
  });
}

}  // namespace fulcrum
