// The arithmetic of the cross entropy on one row of logits, shared by the CPU and CUDA kernels.
//
//   const CrossEntropyRule<float> rule(logits.size(1), t, o);       // once for a batch
//   CrossEntropyRow<float> row(rule, z + i * classes, labels[i]);
//   row.top = …; row.log_total = …;                                 // from row.at(c)
//   losses[i] = row.loss(spread);
#pragma once

#include <cmath>

#include <fulcrum/core/kernel_types.h>

namespace fulcrum {

/// What all rows of a batch share.
template <class T>
struct CrossEntropyRule {
  using A = Accumulate<T>;
  int64_t classes;
  const A *adjust, *margin, *weight, *temperature;  // [C] or null
  A scale, smoothing;
  PhiStep<A> phi;
  bool on_weighted;

  CrossEntropyRule(int64_t number, const CrossEntropyTensors& t, const CrossEntropyOptions& o)
      : classes(number),
        adjust(optional(t.adjust)),
        margin(optional(t.margin)),
        weight(optional(t.class_weight)),
        temperature(optional(t.temperature)),
        scale(static_cast<A>(o.scale)),
        smoothing(static_cast<A>(o.smoothing)),
        phi(o.phi),
        on_weighted(o.phi.on_weighted) {}

  FULCRUM_HD A class_weight(int64_t c) const { return weight ? weight[c] : A(1); }

 private:
  static const A* optional(const Tensor& t) { return t ? t.data<A>() : nullptr; }
};

/// One row of logits, read as z' = scale·(z/temperature − margin_y·e_y) + adjust. The kernel sets `top`, the
/// largest z', and then `log_total`, log Σ exp(z' − top).
template <class T>
struct CrossEntropyRow {
  using A = Accumulate<T>;
  CrossEntropyRule<T> rule;
  const T* z;
  int64_t label;
  A top = 0, log_total = 0;

  FULCRUM_HD CrossEntropyRow(const CrossEntropyRule<T>& r, const T* logits, int64_t y) : rule(r), z(logits), label(y) {}

  FULCRUM_HD bool valid() const { return label >= 0 && label < rule.classes; }
  FULCRUM_HD A at(int64_t c) const {
    const A cooled = rule.temperature ? A(z[c]) / rule.temperature[c] : A(z[c]);
    const A shifted = cooled - (rule.margin && c == label ? rule.margin[c] : A(0));
    return rule.scale * shifted + (rule.adjust ? rule.adjust[c] : A(0));
  }
  FULCRUM_HD A log_probability(int64_t c) const { return (at(c) - top) - log_total; }
  /// −log p of the label, clamped at 0, below which φ is not defined: at() may round differently in two places, because
  /// a compiler may fuse its multiply-add in only one of them. Passes NaN.
  FULCRUM_HD A surprise() const {
    const A l = -log_probability(label);
    return l < 0 ? A(0) : l;
  }

  /// Class c's term of the sum over all classes that label smoothing adds.
  FULCRUM_HD A spread(int64_t c) const { return -rule.class_weight(c) * log_probability(c); }
  /// The loss. spread_sum = Σ spread(c) over all classes; used only with smoothing.
  FULCRUM_HD A loss(A spread_sum) const {
    const A w = rule.class_weight(label), l = surprise();
    const A hard = (1 - rule.smoothing) * (rule.on_weighted ? rule.phi.value(w * l) : w * rule.phi.value(l));
    return rule.smoothing > 0 ? hard + rule.smoothing / static_cast<A>(rule.classes) * spread_sum : hard;
  }

  /// The factor of p − e_y in the gradient with respect to z'.
  FULCRUM_HD A label_factor() const {
    const A w = rule.class_weight(label), l = surprise();
    return (1 - rule.smoothing) * w * rule.phi.gradient(rule.on_weighted ? w * l : l);
  }
  /// The derivative of the loss with respect to z_c. factor: label_factor(). weight_sum = Σ class_weight(c) over all
  /// classes; used only with smoothing.
  FULCRUM_HD A gradient(int64_t c, A factor, A weight_sum) const {
    const A p = std::exp(log_probability(c));
    A dz = factor * (p - (c == label ? A(1) : A(0)));
    if (rule.smoothing > 0)
      dz += rule.smoothing / static_cast<A>(rule.classes) * (weight_sum * p - rule.class_weight(c));
    return (rule.temperature ? rule.scale / rule.temperature[c] : rule.scale) * dz;
  }
};

}  // namespace fulcrum
