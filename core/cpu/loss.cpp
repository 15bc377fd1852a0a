// Softmax cross entropy with one loss per sample, and the training metrics of a batch.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fulcrum/core/aldr_kl_rules.h>
#include <fulcrum/core/argmax.h>
#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/cross_entropy_row.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

// Returns row i with top and log_total set, unless its label is out of range.
template <class T>
CrossEntropyRow<T> row_of(const CrossEntropyRule<T>& rule, const Tensor& logits, const Tensor& labels, int64_t i) {
  using A = Accumulate<T>;
  CrossEntropyRow<T> row(rule, logits.data<T>() + i * rule.classes, labels.data<int64_t>()[i]);
  if (!row.valid()) return row;
  row.top = row.at(0);
  for (int64_t c = 1; c < rule.classes; c++) row.top = std::max(row.top, row.at(c));
  A total = 0;
  for (int64_t c = 0; c < rule.classes; c++) total += std::exp(row.at(c) - row.top);
  row.log_total = std::log(total);
  return row;
}

int64_t row_grain(int64_t classes) { return std::max<int64_t>(1, cpu::kGrain / 8 / classes); }

}  // namespace

void Cpu::cross_entropy(Tensor& losses, const Tensor& logits, const Tensor& labels, const CrossEntropyTensors& t,
                        const CrossEntropyOptions& o) {
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>() {
    using A = Accumulate<T>;
    A* out = losses.data<A>();
    const CrossEntropyRule<T> rule(logits.size(1), t, o);
    cpu::parallel_for(logits.size(0), row_grain(rule.classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const CrossEntropyRow<T> row = row_of(rule, logits, labels, i);
        if (!row.valid()) {
          out[i] = std::numeric_limits<A>::quiet_NaN();
          continue;
        }
        A spread = 0;
        for (int64_t c = 0; rule.smoothing > 0 && c < rule.classes; c++) spread += row.spread(c);
        out[i] = row.loss(spread);
      }
    });
  });
}

void Cpu::cross_entropy_gradient(Tensor& dlogits, const Tensor& dlosses, const Tensor& logits, const Tensor& labels,
                                 const CrossEntropyTensors& t, const CrossEntropyOptions& o) {
  visit_floating(logits.dtype(), "cross_entropy", [&]<class T>() {
    using A = Accumulate<T>;
    T* out = dlogits.data<T>();
    const A* g = dlosses.data<A>();
    const CrossEntropyRule<T> rule(logits.size(1), t, o);
    const int64_t classes = rule.classes;
    A weight_sum = 0;
    for (int64_t c = 0; c < classes; c++) weight_sum += rule.class_weight(c);
    cpu::parallel_for(logits.size(0), row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const CrossEntropyRow<T> row = row_of(rule, logits, labels, i);
        T* d = out + i * classes;
        if (!row.valid()) {
          std::fill_n(d, classes, T(A(0)));
          continue;
        }
        const A factor = row.label_factor();
        for (int64_t c = 0; c < classes; c++) d[c] = T(g[i] * row.gradient(c, factor, weight_sum));
      }
    });
  });
}

void Cpu::adapt_lambdas(Tensor& lambda, Tensor& table, const Tensor& h, const Tensor& indices, double lambda0,
                        double alpha) {
  const int64_t batch = h.size(0), classes = h.size(1), *index = indices.data<int64_t>();
  float* all = table.data<float>();
  visit_master(h.dtype(), [&]<class T>() {
    T* out = lambda.data<T>();
    const T* rows = h.data<T>();
    cpu::parallel_for(batch, row_grain(classes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++)
        out[i] = static_cast<T>(
            adapted_lambda(rows + i * classes, classes, static_cast<double>(all[index[i]]), lambda0, alpha));
    });
    for (int64_t i = 0; i < batch; i++) all[index[i]] = static_cast<float>(out[i]);
  });
}

void Cpu::add_metrics(Tensor& totals, const Tensor& logits, const Tensor& labels, const Tensor& losses,
                      const Tensor& weights) {
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
        if (wins(A(z[c]), A(z[best]))) best = c;
      correct += best == y[i];
      loss += static_cast<double>(l[i]);
      objective += static_cast<double>(p[i]) * static_cast<double>(l[i]);
    }
  });
  if (!std::isfinite(loss)) return;  // this batch causes no update
  double* t = totals.data<double>();
  t[0] += loss;
  t[1] += objective;
  t[2] += correct;
  t[3] += static_cast<double>(batch);
}

void Cpu::record_samples(Tensor& table, const Tensor& indices, const Tensor& weights, const Tensor& losses) {
  const int64_t batch = indices.numel();
  visit_floating(losses.dtype(), "record_samples", [&]<class T>() {
    const Accumulate<T>*l = losses.data<Accumulate<T>>(), *p = weights.data<Accumulate<T>>();
    // A batch with a loss that is not finite causes no update.
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
