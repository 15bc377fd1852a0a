// Reading and writing at indices.
#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

using cpu::parallel_for;

namespace {

// Calls f(position in x, position in y) for every element of y. Each thread has its own columns [o, ·, i] and visits k
// in order, so that equal indices never meet in two threads.
template <class F>
void visit_pairs(const int64_t* index, const IndexLoop& loop, F&& f) {
  parallel_for(loop.outer * loop.inner, std::max<int64_t>(1, cpu::kGrain / loop.count),
               [&](int64_t begin, int64_t end) {
                 for (int64_t o = begin / loop.inner; o * loop.inner < end; o++) {
                   const int64_t first = std::max<int64_t>(0, begin - o * loop.inner);
                   const int64_t last = std::min(loop.inner, end - o * loop.inner);
                   for (int64_t k = 0; k < loop.count; k++)
                     for (int64_t i = first; i < last; i++)
                       f((o * loop.size + index[loop.index_at(o, k, i)]) * loop.inner + i,
                         (o * loop.count + k) * loop.inner + i);
                 }
               });
}

}  // namespace

void Cpu::gather(Tensor& y, const Tensor& x, const Tensor& index, const IndexLoop& loop) {
  visit_any(y.dtype(), [&]<class T>() {
    T* out = y.data<T>();
    const T* in = x.data<T>();
    visit_pairs(index.data<int64_t>(), loop, [=](int64_t at_x, int64_t at_y) { out[at_y] = in[at_x]; });
  });
}

void Cpu::scatter(Tensor& x, const Tensor& y, const Tensor& index, const IndexLoop& loop) {
  visit_any(x.dtype(), [&]<class T>() {
    T* out = x.data<T>();
    const T* in = y.data<T>();
    visit_pairs(index.data<int64_t>(), loop, [=](int64_t at_x, int64_t at_y) { out[at_x] = in[at_y]; });
  });
}

void Cpu::scatter_add(Tensor& x, const Tensor& y, const Tensor& index, const IndexLoop& loop) {
  visit_floating(x.dtype(), "scatter_add", [&]<class T>() {
    using A = Accumulate<T>;
    T* out = x.data<T>();
    const T* in = y.data<T>();
    visit_pairs(index.data<int64_t>(), loop,
                [=](int64_t at_x, int64_t at_y) { out[at_x] = T(A(out[at_x]) + A(in[at_y])); });
  });
}

}  // namespace fulcrum
