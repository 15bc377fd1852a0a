// Softmax cross entropy with one loss per sample, and the training metrics of a batch.
#include <algorithm>
#include <cmath>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

template <class A>
const A* optional(const Tensor& t) {
  return t ? t.data<A>() : nullptr;
}

// One row of logits, seen as z' = scale·(z/temperature − margin_y·e_y) + adjust.
template <class T>
struct Row {
  using A = Accumulate<T>;
  const T* z;
  int64_t classes, label;
  A scale;
  const A *adjust, *margin, *temperature;
  A top, log_total;

  Row(const Tensor& logits, const Tensor& labels, const CrossEntropyTensors& t,
      const CrossEntropyOptions& o, int64_t row)
      : z(logits.data<T>() + row * logits.size(1)),
        classes(logits.size(1)),
        label(labels.data<int64_t>()[row]),
        scale(static_cast<A>(o.scale)),
        adjust(optional<A>(t.adjust)),
        margin(optional<A>(t.margin)),
        temperature(optional<A>(t.temperature)) {
    if (!valid()) return;
    top = at(0);
    for (int64_t c = 1; c < classes; c++) top = std::max(top, at(c));
    A total = 0;
    for (int64_t c = 0; c < classes; c++) total += std::exp(at(c) - top);
    log_total = std::log(total);
  }

  bool valid() const { return label >= 0 && label < classes; }
  A at(int64_t c) const {
    const A cooled = temperature ? A(z[c]) / temperature[c] : A(z[c]);
    const A shifted = cooled - (margin && c == label ? margin[c] : A(0));
    return scale * shifted + (adjust ? adjust[c] : A(0));
  }
  A log_probability(int64_t c) const { return (at(c) - top) - log_total; }
  /// z' changes by so much with z.
  A slope(int64_t c) const { return temperature ? scale / temperature[c] : scale; }
};

int64_t row_grain(int64_t classes) { return std::max<int64_t>(1, cpu::kGrain / 8 / classes); }

}  // namespace

void Cpu::cross_entropy(Tensor& losses, Tensor& invalid, const Tensor& logits, const Tensor& labels,
                        const CrossEntropyTensors& t, const CrossEntropyOptions& o) {
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>() {
    using A = Accumulate<T>;
    A* out = losses.data<A>();
    const A* weight = optional<A>(t.class_weight);
    const A smoothing = static_cast<A>(o.smoothing);
    const PhiStep<A> phi(o.phi);
    cpu::parallel_for(logits.size(0), row_grain(logits.size(1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const Row<T> row(logits, labels, t, o, i);
        if (!row.valid()) {
#pragma omp atomic write
          invalid.data<int32_t>()[0] = 1;
          out[i] = 0;
          continue;
        }
        const A w = weight ? weight[row.label] : A(1);
        const A l = -row.log_probability(row.label);
        A loss = (1 - smoothing) * (o.phi.on_weighted ? phi.value(w * l) : w * phi.value(l));
        if (smoothing > 0) {
          A spread = 0;
          for (int64_t c = 0; c < row.classes; c++)
            spread -= (weight ? weight[c] : A(1)) * row.log_probability(c);
          loss += smoothing / static_cast<A>(row.classes) * spread;
        }
        out[i] = loss;
      }
    });
  });
}

void Cpu::cross_entropy_gradient(Tensor& dlogits, const Tensor& dlosses, const Tensor& logits,
                                 const Tensor& labels, const CrossEntropyTensors& t,
                                 const CrossEntropyOptions& o) {
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>() {
    using A = Accumulate<T>;
    T* out = dlogits.data<T>();
    const A* g = dlosses.data<A>();
    const A* weight = optional<A>(t.class_weight);
    const int64_t classes = logits.size(1);
    const PhiStep<A> phi(o.phi);
    const A hard = static_cast<A>(1 - o.smoothing), soft = static_cast<A>(o.smoothing) / static_cast<A>(classes);
    A weight_total = static_cast<A>(classes);
    if (weight) weight_total = 0;
    for (int64_t c = 0; weight && c < classes; c++) weight_total += weight[c];
    cpu::parallel_for(logits.size(0), row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const Row<T> row(logits, labels, t, o, i);
        T* d = out + i * classes;
        if (!row.valid()) {
          std::fill_n(d, classes, T(A(0)));
          continue;
        }
        const A w = weight ? weight[row.label] : A(1), l = -row.log_probability(row.label);
        const A label_weight = hard * w * phi.gradient(o.phi.on_weighted ? w * l : l);
        for (int64_t c = 0; c < classes; c++) {
          const A p = std::exp(row.log_probability(c));
          A dz = label_weight * (p - (c == row.label ? A(1) : A(0)));
          if (soft > 0) dz += soft * (weight_total * p - (weight ? weight[c] : A(1)));
          d[c] = T(g[i] * row.slope(c) * dz);
        }
      }
    });
  });
}

void Cpu::add_metrics(Tensor& totals, const Tensor& logits, const Tensor& labels,
                      const Tensor& losses, const Tensor& weights) {
  const int64_t batch = logits.size(0), classes = logits.size(1);
  double loss = 0, objective = 0, correct = 0;
  visit_floating(logits.dtype(), "add_metrics", [&]<class T>() {
    using A = Accumulate<T>;
    const T* z = logits.data<T>();
    const A* l = losses.data<A>();
    const A* p = weights.data<A>();
    const int64_t* y = labels.data<int64_t>();
    for (int64_t i = 0; i < batch; i++, z += classes) {
      int64_t best = 0;
      for (int64_t c = 1; c < classes; c++)
        if (A(z[c]) > A(z[best])) best = c;
      correct += best == y[i];
      loss += static_cast<double>(l[i]);
      objective += static_cast<double>(p[i]) * static_cast<double>(l[i]);
    }
  });
  if (!std::isfinite(loss)) return;  // no update came of this batch
  double* t = totals.data<double>();
  t[0] += loss;
  t[1] += objective;
  t[2] += correct;
  t[3] += static_cast<double>(batch);
}

void Cpu::record_samples(Tensor& table, const Tensor& indices, const Tensor& weights,
                         const Tensor& losses) {
  const int64_t batch = indices.numel();
  visit_floating(losses.dtype(), "record_samples", [&]<class T>() {
    const Accumulate<T>*l = losses.data<Accumulate<T>>(), *p = weights.data<Accumulate<T>>();
    // No update comes of a batch with a loss that is not finite.
    if (!std::all_of(l, l + batch, [](auto v) { return std::isfinite(v); })) return;
    for (int64_t i = 0; i < batch; i++) {
      float* row = table.data<float>() + indices.data<int64_t>()[i] * kSampleColumns;
      const float weight = static_cast<float>(p[i]) * static_cast<float>(batch);
      row[kSampleWeightSum] += weight;
      row[kSampleVisits] += 1;
      row[kSampleWeight] = weight;
      row[kSampleLoss] = static_cast<float>(l[i]);
    }
  });
}

}  // namespace fulcrum
