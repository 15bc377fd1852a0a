// What the operations should compute, as plainly as it can be written: loops in double over an
// index. Nothing here is shared with the library but the tensors themselves.
#pragma once

#include <array>
#include <limits>

#include "testing.h"

namespace fulcrum::testing {

using Index = std::array<int64_t, Shape::kMaxDims>;

/// The tensor whose element at index i is f(i).
template <class F>
Tensor generate(const Shape& shape, F f) {
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t flat = 0; flat < values.size(); flat++) {
    Index i{};
    int64_t rest = static_cast<int64_t>(flat);
    for (int d = shape.dim() - 1; d >= 0; d--) {
      i[static_cast<size_t>(d)] = rest % shape[d];
      rest /= shape[d];
    }
    values[flat] = f(i);
  }
  return from_vector(shape, values, {DType::kF64, {}});
}

/// Reads a tensor by index: x(n, h, w, c).
class View {
 public:
  explicit View(const Tensor& t) : shape_(t.shape()), values_(t.to_vector()) {}
  const Shape& shape() const { return shape_; }
  int64_t size(int d) const { return shape_[d]; }
  template <class... I>
  double operator()(I... index) const {
    int64_t flat = 0;
    int d = 0;
    ((flat = flat * shape_[d++] + index), ...);
    return values_[static_cast<size_t>(flat)];
  }
  /// The element for the result's index i when shapes are aligned at their last dimensions and
  /// sizes of 1 are repeated, as in NumPy.
  double broadcast(const Index& i, int rank) const {
    int64_t flat = 0;
    for (int d = 0; d < shape_.dim(); d++) {
      const auto at = static_cast<size_t>(rank - shape_.dim() + d);
      flat = flat * shape_[d] + (shape_[d] == 1 ? 0 : i[at]);
    }
    return values_[static_cast<size_t>(flat)];
  }

 private:
  Shape shape_;
  std::vector<double> values_;
};

inline Function map_of(double (*f)(double)) {
  return [f](const Tensors& in) {
    const View x(in[0]);
    return generate(x.shape(), [&](const Index& i) { return f(x.broadcast(i, x.shape().dim())); });
  };
}

inline Function zip_of(double (*f)(double, double), Shape result) {
  return [f, result](const Tensors& in) {
    const View a(in[0]), b(in[1]);
    return generate(result,
                    [&](const Index& i) { return f(a.broadcast(i, result.dim()), b.broadcast(i, result.dim())); });
  };
}

/// Joins the elements over `dims` (which stay with size 1 when `keepdim`), starting from `start`.
inline Tensor reduce_oracle(const Tensor& x, const std::vector<int>& dims, bool keepdim, double start,
                            double (*join)(double, double)) {
  Shape kept = x.shape(), dropped;
  for (int d : dims) kept.set(d, 1);
  for (int d = 0; d < x.dim(); d++)
    if (std::find(dims.begin(), dims.end(), d) == dims.end()) dropped.push_back(x.size(d));
  std::vector<double> values(static_cast<size_t>(kept.numel()), start);
  const auto numbers = x.to_vector();
  for (size_t flat = 0; flat < numbers.size(); flat++) {
    int64_t rest = static_cast<int64_t>(flat), at = 0, stride = 1;
    for (int d = x.dim() - 1; d >= 0; d--) {
      if (kept[d] != 1) at += rest % x.size(d) * stride;
      stride *= kept[d];
      rest /= x.size(d);
    }
    double& value = values[static_cast<size_t>(at)];
    value = join(value, numbers[flat]);
  }
  return from_vector(keepdim ? kept : dropped, values, {DType::kF64, {}});
}

inline Tensor softmax_oracle(const Tensor& logits, bool log) {
  const int64_t columns = logits.size(-1);
  const View x(logits.reshape({-1, columns}));
  const auto log_total = [&](int64_t row) {
    double top = x(row, 0), total = 0;
    for (int64_t c = 1; c < columns; c++) top = std::max(top, x(row, c));
    for (int64_t c = 0; c < columns; c++) total += std::exp(x(row, c) - top);
    return top + std::log(total);
  };
  return generate(x.shape(),
                  [&](const Index& i) {
                    const double v = x(i[0], i[1]) - log_total(i[0]);
                    return log ? v : std::exp(v);
                  })
      .reshape(logits.shape());
}

/// [m, k] × [k, n].
inline Tensor matmul_oracle(const Tensor& left, const Tensor& right) {
  const View a(left), b(right);
  return generate({a.size(0), b.size(1)}, [&](const Index& i) {
    double sum = 0;
    for (int64_t k = 0; k < a.size(1); k++) sum += a(i[0], k) * b(k, i[1]);
    return sum;
  });
}

/// x [..., in], w [out, in], bias [out] or undefined.
inline Tensor linear_oracle(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  const View x(input.reshape({-1, input.size(-1)})), w(weight), b(bias ? bias : zeros({weight.size(0)}));
  Shape shape = input.shape();
  shape.set(-1, weight.size(0));
  return generate({x.size(0), w.size(0)},
                  [&](const Index& i) {
                    double sum = b(i[1]);
                    for (int64_t k = 0; k < x.size(1); k++) sum += x(i[0], k) * w(i[1], k);
                    return sum;
                  })
      .reshape(shape);
}

inline Tensor conv2d_oracle(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions& o) {
  const View x(input), w(weight);
  const auto out = [](int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
    return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1;
  };
  const Shape shape{x.size(0), out(x.size(1), w.size(1), o.stride.h, o.padding.h, o.dilation.h),
                    out(x.size(2), w.size(2), o.stride.w, o.padding.w, o.dilation.w), w.size(0)};
  const int64_t group_in = w.size(3), group_out = w.size(0) / o.groups;
  const View b(bias ? bias : zeros({w.size(0)}));
  return generate(shape, [&](const Index& i) {
    double sum = b(i[3]);
    for (int64_t kh = 0; kh < w.size(1); kh++) {
      for (int64_t kw = 0; kw < w.size(2); kw++) {
        const int64_t h = i[1] * o.stride.h - o.padding.h + kh * o.dilation.h;
        const int64_t v = i[2] * o.stride.w - o.padding.w + kw * o.dilation.w;
        if (h < 0 || h >= x.size(1) || v < 0 || v >= x.size(2)) continue;
        const int64_t first = i[3] / group_out * group_in;
        for (int64_t c = 0; c < group_in; c++) sum += x(i[0], h, v, first + c) * w(i[3], kh, kw, c);
      }
    }
    return sum;
  });
}

inline Tensor pool_oracle(const Tensor& input, const PoolOptions& o, bool average) {
  const View x(input);
  const int64_t out_h = (x.size(1) + 2 * o.padding.h - o.kernel.h) / o.stride.h + 1;
  const int64_t out_w = (x.size(2) + 2 * o.padding.w - o.kernel.w) / o.stride.w + 1;
  return generate({x.size(0), out_h, out_w, x.size(3)}, [&](const Index& i) {
    double sum = 0, top = -std::numeric_limits<double>::infinity();
    int64_t inside = 0;
    for (int64_t kh = 0; kh < o.kernel.h; kh++) {
      for (int64_t kw = 0; kw < o.kernel.w; kw++) {
        const int64_t h = i[1] * o.stride.h - o.padding.h + kh, w = i[2] * o.stride.w - o.padding.w + kw;
        if (h < 0 || h >= x.size(1) || w < 0 || w >= x.size(2)) continue;
        sum += x(i[0], h, w, i[3]);
        top = std::max(top, x(i[0], h, w, i[3]));
        inside++;
      }
    }
    const int64_t count = o.count_include_pad ? o.kernel.h * o.kernel.w : inside;
    return average ? sum / static_cast<double>(count) : top;
  });
}

/// Over rows [n, C] of x; statistics of the batch when `mean` and `var` are undefined.
inline Tensor batch_norm_oracle(const Tensor& input, const Tensor& weight, const Tensor& bias, Tensor mean, Tensor var,
                                double eps) {
  const int64_t channels = input.size(-1);
  const View x(input.reshape({-1, channels}));
  const auto rows = static_cast<double>(x.size(0));
  if (!mean) {
    mean = generate({channels}, [&](const Index& c) {
      double sum = 0;
      for (int64_t r = 0; r < x.size(0); r++) sum += x(r, c[0]);
      return sum / rows;
    });
    const View centre(mean);
    var = generate({channels}, [&](const Index& c) {
      double sum = 0;
      for (int64_t r = 0; r < x.size(0); r++) sum += std::pow(x(r, c[0]) - centre(c[0]), 2);
      return sum / rows;
    });
  }
  const View m(mean), v(var), w(weight ? weight : ones({channels})), b(bias ? bias : zeros({channels}));
  return generate(x.shape(),
                  [&](const Index& i) {
                    const int64_t c = i[1];
                    return (x(i[0], c) - m(c)) / std::sqrt(v(c) + eps) * w(c) + b(c);
                  })
      .reshape(input.shape());
}

/// Class vectors undefined where they play no part.
// Every φ as its paper writes it, of the probability p of the label. JS is the divergence itself, over
// all classes, from the row of probabilities.
inline double phi_oracle(const Phi& phi, const std::vector<double>& row, size_t label) {
  const double p = row[label], a = phi.a, b = phi.b;
  switch (phi.kind) {
    case Phi::kIdentity: return -std::log(p);
    case Phi::kFocal: return std::pow(1 - p, a) * -std::log(p);
    case Phi::kGce: return (1 - std::pow(p, a)) / a;
    case Phi::kTruncatedGce: return (1 - std::pow(std::max(p, b), a)) / a;
    case Phi::kSce: {
      double reverse = 0;  // −Σ q log y, with log 0 = log 1e-4
      for (size_t c = 0; c < row.size(); c++) reverse -= row[c] * (c == label ? 0 : std::log(1e-4));
      return a * -std::log(p) + b * reverse;
    }
    case Phi::kMae: {
      double sum = 0;
      for (size_t c = 0; c < row.size(); c++) sum += std::abs((c == label ? 1 : 0) - row[c]);
      return sum;
    }
    case Phi::kJs: break;
  }
  double divergence = 0;
  for (size_t c = 0; c < row.size(); c++) {
    const double mixed = (c == label ? a : 0) + (1 - a) * row[c];
    if (c == label) divergence += a * std::log(1 / mixed);
    if (row[c] > 0) divergence += (1 - a) * row[c] * std::log(row[c] / mixed);
  }
  return divergence / (-(1 - a) * std::log(1 - a));
}

inline Tensor cross_entropy_oracle(const Tensor& logits, const std::vector<int64_t>& labels,
                                   const CrossEntropyArgs& args) {
  const View x(logits);
  const auto entry = [](const Tensor& t, int64_t c, double otherwise) { return t ? View(t)(c) : otherwise; };
  const Tensor z = generate(x.shape(), [&](const Index& i) {
    const bool is_label = i[1] == labels[static_cast<size_t>(i[0])];
    const double margin = is_label ? entry(args.margin, i[1], 0) : 0;
    return args.scale * (x(i[0], i[1]) / entry(args.temperature, i[1], 1) - margin) + entry(args.adjust, i[1], 0);
  });
  const View log_p(softmax_oracle(z, true));
  const int64_t classes = x.size(1);
  return generate({x.size(0)}, [&](const Index& i) {
    const int64_t y = labels[static_cast<size_t>(i[0])];
    if (args.phi.kind != Phi::kIdentity) {
      std::vector<double> row;
      for (int64_t c = 0; c < classes; c++) row.push_back(std::exp(log_p(i[0], c)));
      const double w = entry(args.class_weight, y, 1);
      if (!args.phi.on_weighted) return w * phi_oracle(args.phi, row, static_cast<size_t>(y));
      // Codes that apply φ to w·l read p from it.
      return phi_oracle(args.phi, {std::pow(row[static_cast<size_t>(y)], w)}, 0);
    }
    double loss = -(1 - args.smoothing) * entry(args.class_weight, y, 1) * log_p(i[0], y);
    for (int64_t c = 0; c < classes; c++)
      loss -= args.smoothing / static_cast<double>(classes) * entry(args.class_weight, c, 1) * log_p(i[0], c);
    return loss;
  });
}

/// softplus(z)/mean softplus(z) of row i.
inline std::vector<double> positive_shares_oracle(const View& x, int64_t i) {
  std::vector<double> h;
  double total = 0;
  for (int64_t c = 0; c < x.size(1); c++) {
    const double z = x(i, c);
    h.push_back(std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))));
    total += h.back();
  }
  for (double& v : h) v *= static_cast<double>(h.size()) / total;
  return h;
}

/// log mean_k exp((c·[k≠y] + h_k − h_y)/λ)
inline double ldr_log_mean(const std::vector<double>& h, size_t y, double margin, double lambda) {
  double sum = 0;
  for (size_t c = 0; c < h.size(); c++)
    sum += std::exp((h[c] - h[y] + (c == y ? 0 : margin)) / lambda) / static_cast<double>(h.size());
  return std::log(sum);
}

inline Tensor aldr_kl_oracle(const Tensor& logits, const std::vector<int64_t>& labels,
                             const std::vector<double>& lambdas, const AldrKlArgs& args) {
  const View x(logits);
  const double log_classes = std::log(static_cast<double>(x.size(1)));
  return generate({x.size(0)}, [&](const Index& i) {
    const auto y = static_cast<size_t>(labels[static_cast<size_t>(i[0])]);
    const double lambda = lambdas[static_cast<size_t>(i[0])], away = lambda - args.lambda0;
    const double l = lambda * ldr_log_mean(positive_shares_oracle(x, i[0]), y, args.margin, lambda) -
                     args.alpha * log_classes / (2 * args.lambda0) * away * away;
    return (args.class_weight ? View(args.class_weight)(static_cast<int64_t>(y)) : 1) * l;
  });
}

inline Tensor ldr_kl_oracle(const Tensor& logits, const std::vector<int64_t>& labels, const LdrKlArgs& args) {
  const View x(logits);
  return generate({x.size(0)}, [&](const Index& i) {
    const int64_t y = labels[static_cast<size_t>(i[0])];
    const double l = ldr_log_mean(positive_shares_oracle(x, i[0]), static_cast<size_t>(y), args.margin, args.lambda);
    return (args.class_weight ? View(args.class_weight)(y) : 1) * args.lambda * l;
  });
}

}  // namespace fulcrum::testing
