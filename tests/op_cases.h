// The operations as a table: inputs, function, oracle, tolerances. ops_test.cpp runs every row
// against its oracle, against central differences, and in f32 and bf16 against f64; a new operation
// is tested by a new row (docs/adding-an-op.md).
#pragma once

#include <numbers>

#include "oracles.h"

namespace fulcrum::testing {

struct OpInput {
  OpInput(Shape shape_of, double from = -1, double to = 1) : shape(shape_of), low(from), high(to) {}
  Shape shape;
  double low, high;
  bool gradient = true;
  bool master = false;              // f32 also where the activations are bf16
  double gap = 0;                   // no element closer to 0 than this: keeps central differences off a kink
  bool integer = false;             // i64 where the activations are of any dtype
  std::vector<double> values = {};  // instead of random numbers

  OpInput constant() const { return with(&OpInput::gradient, false); }
  OpInput as_master() const { return with(&OpInput::master, true); }
  OpInput off_zero(double distance) const { return with(&OpInput::gap, distance); }
  /// These numbers, in turn, without a gradient. Draw d of the row begins with number d.
  OpInput holding(const std::vector<double>& numbers) const { return constant().with(&OpInput::values, numbers); }
  /// The same as i64: labels, indices, positions. A row has them as inputs, so that they can be on the device, and
  /// others, where a recorded step is replayed.
  OpInput holding(const std::vector<int64_t>& numbers) const {
    return holding(std::vector<double>(numbers.begin(), numbers.end())).with(&OpInput::integer, true);
  }

 private:
  template <class V>
  OpInput with(V OpInput::*member, V value) const {
    OpInput copy = *this;
    copy.*member = value;
    return copy;
  }
};

struct OpCase {
  std::string name;
  std::vector<OpInput> inputs;
  Function op;
  Function oracle;       // in f64
  double f32 = 1e-5;     // largest error against f64, relative to the largest element
  double bf16 = 1.2e-2;  // distance from f64, relative to the norm
};

/// A row whose bf16 result is mostly rounding: gradients that are computed from a saturated output.
inline OpCase loosened(OpCase row, double bf16) {
  row.bf16 = bf16;
  return row;
}

inline void PrintTo(const OpCase& row, std::ostream* out) { *out << row.name; }

/// The numbers of a row's inputs, in f64 or i64; other ones in every draw.
inline Tensors numbers_of(const OpCase& row, uint64_t draw = 0) {
  Tensors inputs;
  for (const OpInput& spec : row.inputs) {
    Tensor t = random_tensor(spec.shape, 100 + inputs.size() + 1000 * draw, spec.low, spec.high);
    for (int64_t i = 0; i < t.numel(); i++) {
      double& v = t.data<double>()[i];
      if (std::abs(v) < spec.gap) v = v < 0 ? v - spec.gap : v + spec.gap;
      if (!spec.values.empty()) v = spec.values[(static_cast<uint64_t>(i) + draw) % spec.values.size()];
    }
    inputs.push_back(spec.integer ? t.to(DType::kI64) : t);
  }
  return inputs;
}

/// The inputs of a row as leaves, in f64 or narrower.
inline Tensors leaves_of(const OpCase& row, const Tensors& numbers, DType dtype) {
  std::vector<bool> wanted;
  std::vector<DType> dtypes;
  for (const OpInput& spec : row.inputs) {
    wanted.push_back(spec.gradient);
    dtypes.push_back(spec.master ? master_dtype(dtype) : dtype);
  }
  return leaves(numbers, wanted, dtypes);
}

inline std::vector<OpCase> unary_cases() {
  const auto row = [](const char* name, Tensor (*op)(const Tensor&), double (*f)(double), OpInput input) {
    return OpCase{name, {input}, [op](const Tensors& in) { return op(in[0]); }, map_of(f)};
  };
  const auto half_added = [](const Tensor& x) { return x + 0.5; };
  const auto quartered = [](const Tensor& x) { return x / 4; };
  const auto cube = [](const Tensor& x) { return pow(x, 3); };
  const auto root = [](const Tensor& x) { return pow(x, 0.5); };
  const auto exact_gelu = [](const Tensor& x) { return gelu(x); };
  const auto tanh_gelu = [](const Tensor& x) { return gelu(x, GeluApproximation::kTanh); };
  return {
      row("exp", exp, [](double x) { return std::exp(x); }, {{3, 5}, -2, 2}),
      row("exp_two_threads", exp, [](double x) { return std::exp(x); }, {{3, 20011}, -2, 2}),
      row("log", log, [](double x) { return std::log(x); }, {{3, 5}, 0.5, 3.5}),
      row("sqrt", sqrt, [](double x) { return std::sqrt(x); }, {{3, 5}, 0.5, 3.5}),
      row("tanh", tanh, [](double x) { return std::tanh(x); }, {{1}, -2, 2}),
      row("sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, {{7, 3}, -4, 4}),
      loosened(row("sigmoid_far", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, {{9}, -60, 60}), 0.05),
      row("softplus", softplus, [](double x) { return std::log1p(std::exp(x)); }, {{7, 3}, -4, 4}),
      row("softplus_far", softplus, [](double x) { return x > 30 ? x : std::log1p(std::exp(x)); }, {{9}, -700, 700}),
      row("gelu", exact_gelu, [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); }, {{7, 3}, -4, 4}),
      row("gelu_two_threads", exact_gelu, [](double x) { return x / 2 * (1 + std::erf(x / std::sqrt(2.0))); },
          {{3, 20011}, -4, 4}),
      row(
          "gelu_far", exact_gelu, [](double x) { return x > 0 ? x : 0; }, OpInput{{9}, -700, 700}.off_zero(10)),
      row("gelu_tanh", tanh_gelu,
          [](double x) {
            return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
          },
          {{7, 3}, -4, 4}),
      row(
          "gelu_tanh_far", tanh_gelu, [](double x) { return x > 0 ? x : 0; }, OpInput{{9}, -700, 700}.off_zero(10)),
      row(
          "relu", relu, [](double x) { return x > 0 ? x : 0; }, OpInput{{5, 5}}.off_zero(0.01)),
      row("neg", neg, [](double x) { return -x; }, {{}}),
      row(
          "abs", abs, [](double x) { return std::abs(x); }, OpInput{{2, 3, 4}}.off_zero(0.01)),
      row("pow_cube", cube, [](double x) { return x * x * x; }, {{2, 3, 4}}),
      row("pow_root", root, [](double x) { return std::sqrt(x); }, {{3, 5}, 0.5, 3.5}),
      row("square", square, [](double x) { return x * x; }, {{2, 1, 4, 1, 3}}),
      row("add_number", half_added, [](double x) { return x + 0.5; }, {{3, 5}}),
      row("divide_by_number", quartered, [](double x) { return x / 4; }, {{3, 5}}),
      {"dropout",
       {{{7, 11}}, OpInput({1}).holding(std::vector<int64_t>{0, 20, 8})},
       [](const Tensors& in) {
         Generator generator(kSeed, streams::kDropout, in[0].device());
         generator.position = in[1].clone();  // central differences begin at the same one again and again
         return dropout(in[0], 0.3, generator);
       },
       [](const Tensors& in) {
         const Philox philox(kSeed, streams::kDropout);
         const View x(in[0]);
         return generate(x.shape(), [&](const Index& i) {
           const auto flat = static_cast<uint64_t>(i[0] * x.size(1) + i[1]);
           return philox.uniform(flat) >= 0.3f ? x(i[0], i[1]) / 0.7 : 0;
         });
       }},
  };
}

inline std::vector<OpCase> binary_cases() {
  using Op = Tensor (*)(const Tensor&, const Tensor&);
  const auto row = [](const char* name, Op op, double (*f)(double, double), OpInput a, OpInput b, Shape y) {
    return OpCase{name, {a, b}, [op](const Tensors& in) { return op(in[0], in[1]); }, zip_of(f, y)};
  };
  const auto plus = [](double a, double b) { return a + b; };
  const auto times = [](double a, double b) { return a * b; };
  return {
      row("add", add, plus, {{3, 5}}, {{3, 5}}, {3, 5}),
      row("add_row", add, plus, {{3, 4, 5}}, {{5}}, {3, 4, 5}),
      row("add_scalar_left", add, plus, {{}}, {{3, 4}}, {3, 4}),
      row("add_outer", add, plus, {{4, 1}}, {{1, 5}}, {4, 5}),
      row("add_two_threads", add, plus, {{40, 1, 31}}, {{29, 1}}, {40, 29, 31}),
      row("sub", sub, [](double a, double b) { return a - b; }, {{2, 3, 1, 5}}, {{4, 1}}, {2, 3, 4, 5}),
      row("mul", mul, times, {{2, 3, 4}}, {{3, 1}}, {2, 3, 4}),
      row("mul_one", mul, times, {{1}}, {{2, 3}}, {2, 3}),
      row("mul_five_dims", mul, times, {{2, 1, 3, 1, 2}}, {{1, 2, 3, 2, 1}}, {2, 2, 3, 2, 2}),
      row("div", div, [](double a, double b) { return a / b; }, {{2, 3, 4}}, {{2, 1, 4}, 1, 2}, {2, 3, 4}),
      row("maximum", maximum, [](double a, double b) { return std::max(a, b); }, {{5, 7}}, {{7}}, {5, 7}),
      row("minimum", minimum, [](double a, double b) { return std::min(a, b); }, {{5, 7}}, {{5, 1}}, {5, 7}),
      row("pow", pow, [](double a, double b) { return std::pow(a, b); }, {{4, 5}, 0.3, 2}, {{5}, -2, 2}, {4, 5}),
      {"where",
       {OpInput({5, 1}).constant(), {{5, 7}}, {{7}}},
       [](const Tensors& in) { return where(gt(in[0], 0), in[1], in[2]); },
       [](const Tensors& in) {
         return generate({5, 7}, [c = View(in[0]), a = View(in[1]), b = View(in[2])](const Index& i) {
           return c(i[0], 0) > 0 ? a(i[0], i[1]) : b(i[1]);
         });
       }},
  };
}

inline std::vector<OpCase> reduction_cases() {
  const auto sums = [](std::string name, OpInput input, std::vector<int> dims, bool keepdim) {
    return OpCase{"sum_" + name,
                  {input},
                  [=](const Tensors& in) { return sum(in[0], dims, keepdim); },
                  [=](const Tensors& in) {
                    return reduce_oracle(in[0], dims, keepdim, 0, [](double a, double b) { return a + b; });
                  }};
  };
  const auto maxima = [](std::string name, Shape shape, std::vector<int> dims) {
    return OpCase{"amax_" + name,
                  {{shape}},
                  [=](const Tensors& in) { return amax(in[0], dims); },
                  [=](const Tensors& in) {
                    return reduce_oracle(in[0], dims, false, -9, [](double a, double b) { return std::max(a, b); });
                  }};
  };
  const auto soft = [](const char* name, OpInput input, bool log) {
    return OpCase{name,
                  {input},
                  [log](const Tensors& in) { return log ? log_softmax(in[0]) : softmax(in[0]); },
                  [log](const Tensors& in) { return softmax_oracle(in[0], log); }};
  };
  const auto log_sum = [](const char* name, OpInput input) {
    return OpCase{name,
                  {input},
                  [](const Tensors& in) { return logsumexp(in[0], {1}); },
                  [](const Tensors& in) {
                    return reduce_oracle(in[0], {1}, false, -1e9, [](double a, double b) {
                      return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
                    });
                  }};
  };
  return {
      sums("rows", {{5, 7}}, {0}, false),
      sums("columns", {{5, 7}}, {1}, true),
      sums("middle", {{2, 3, 4, 5}}, {1, 2}, false),
      sums("outer_and_inner", {{2, 3, 4, 5}}, {0, 3}, true),
      sums("many_rows", {{20011, 3}}, {0}, false),
      sums("everything", {{3, 13007}}, {0, 1}, false),
      {"sum_to_scalar",
       {{{3, 4}}},
       [](const Tensors& in) { return sum(in[0]); },
       [](const Tensors& in) {
         return reduce_oracle(in[0], {0, 1}, false, 0, [](double a, double b) { return a + b; });
       }},
      {"mean_columns",
       {{{4, 6}}},
       [](const Tensors& in) { return mean(in[0], {1}); },
       [](const Tensors& in) {
         return reduce_oracle(in[0], {1}, false, 0, [](double a, double b) { return a + b / 6; });
       }},
      {"mean_to_scalar",
       {{{4, 6}}},
       [](const Tensors& in) { return mean(in[0]); },
       [](const Tensors& in) {
         return reduce_oracle(in[0], {0, 1}, false, 0, [](double a, double b) { return a + b / 24; });
       }},
      maxima("rows", {5, 7}, {0}),
      maxima("inner", {3, 4, 5}, {1, 2}),
      {"amin_middle",
       {{{3, 4, 5}}},
       [](const Tensors& in) { return amin(in[0], {1}, true); },
       [](const Tensors& in) {
         return reduce_oracle(in[0], {1}, true, 9, [](double a, double b) { return std::min(a, b); });
       }},
      {"var",
       {{{6, 7}}},
       [](const Tensors& in) { return var(in[0], {1}); },
       [](const Tensors& in) {
         return generate({6}, [x = View(in[0])](const Index& i) {
           double mean = 0, squares = 0;
           for (int64_t c = 0; c < 7; c++) mean += x(i[0], c) / 7;
           for (int64_t c = 0; c < 7; c++) squares += (x(i[0], c) - mean) * (x(i[0], c) - mean);
           return squares / 6;
         });
       }},
      log_sum("logsumexp", {{4, 7}, -4, 4}),
      log_sum("logsumexp_far", {{3, 5}, -700, 700}),
      soft("softmax", {{4, 7}, -4, 4}, false),
      loosened(soft("softmax_far", {{3, 5}, -200, 200}, false), 1),
      soft("softmax_one_class", {{3, 1}}, false),
      soft("log_softmax", {{2, 3, 7}, -4, 4}, true),
      soft("log_softmax_far", {{3, 5}, -200, 200}, true),
  };
}

inline std::vector<OpCase> linear_cases() {
  const auto products = [](const char* name, Shape a, Shape b) {
    return OpCase{name,
                  {{a}, {b}},
                  [](const Tensors& in) { return matmul(in[0], in[1]); },
                  [a, b](const Tensors& in) {
                    Shape y = a;
                    y.set(-1, b[1]);
                    return matmul_oracle(in[0].reshape({-1, a[-1]}), in[1]).reshape(y);
                  }};
  };
  const auto row = [](const char* name, Shape x, Shape w, bool bias, bool with_relu = false) {
    OpCase c{
        name,
        {{x}, {w}},
        [with_relu](const Tensors& in) { return linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor(), with_relu); },
        [with_relu](const Tensors& in) {
          const Tensor y = linear_oracle(in[0], in[1], in.size() > 2 ? in[2] : Tensor());
          return with_relu ? relu(y) : y;
        }};
    if (bias) c.inputs.push_back(OpInput({w[0]}).as_master());
    return c;
  };
  return {
      products("matmul", {4, 6}, {6, 5}),
      products("matmul_one", {1, 1}, {1, 1}),
      products("matmul_batched", {2, 3, 7}, {7, 5}),
      products("matmul_odd", {67, 33}, {33, 129}),
      {"matmul_of_matrices",
       {{{2, 3, 4, 5}}, {{2, 3, 5, 7}}},
       [](const Tensors& in) { return matmul(in[0], in[1]); },
       [](const Tensors& in) {
         return generate({2, 3, 4, 7}, [a = View(in[0]), b = View(in[1])](const Index& i) {
           double total = 0;
           for (int64_t k = 0; k < 5; k++) total += a(i[0], i[1], i[2], k) * b(i[0], i[1], k, i[3]);
           return total;
         });
       }},
      row("linear", {4, 7}, {5, 7}, true),
      row("linear_batch1_no_bias", {1, 9}, {3, 9}, false),
      row("linear_three_dims", {2, 3, 5}, {4, 5}, true),
      row("linear_vector", {5}, {4, 5}, true),
      row("linear_relu", {4, 7}, {5, 7}, true, true),
      row("linear_relu_no_bias", {2, 3, 5}, {4, 5}, false, true),
  };
}

}  // namespace fulcrum::testing
