// The rows of op_cases.h for images, normalisation and losses.
#pragma once

#include "op_cases_shape.h"

namespace fulcrum::testing {

inline OpCase conv_case(const char* name, Shape x, Shape w, ConvOptions o, bool bias = false) {
  const auto third = [](const Tensors& in) { return in.size() > 2 ? in[2] : Tensor(); };
  OpCase c{name,
           {{x}, {w}},
           [=](const Tensors& in) { return conv2d(in[0], in[1], third(in), o); },
           [=](const Tensors& in) { return conv2d_oracle(in[0], in[1], third(in), o); }};
  if (bias) c.inputs.push_back(OpInput({w[0]}).as_master());
  return c;
}

inline std::vector<OpCase> conv_cases() {
  return {
      conv_case("conv_3x3", {2, 5, 6, 3}, {4, 3, 3, 3}, {.padding = 1}),
      conv_case("conv_3x3_stride2", {2, 7, 6, 3}, {4, 3, 3, 3}, {.stride = 2, .padding = 1}),
      conv_case("conv_3x3_resnet", {2, 8, 8, 16}, {16, 3, 3, 16}, {.padding = 1}),
      conv_case("conv_3x3_resnet_wider", {3, 7, 9, 16}, {32, 3, 3, 16}, {.stride = 2, .padding = 1}),
      conv_case("conv_3x3_resnet_deep", {1, 4, 5, 64}, {64, 3, 3, 64}, {.padding = 1}),
      conv_case("conv_3x3_first", {2, 9, 8, 1}, {16, 3, 3, 1}, {.padding = 1}),
      conv_case("conv_3x3_first_colour", {2, 9, 8, 3}, {16, 3, 3, 3}, {.padding = 1}),
      conv_case("conv_3x3_odd_channels", {2, 6, 5, 17}, {19, 3, 3, 17}, {.padding = 1}),
      conv_case("conv_wide", {1, 3, 41, 8}, {24, 3, 3, 8}, {.padding = 1}),
      conv_case("conv_one_row", {2, 1, 29, 16}, {40, 3, 3, 16}, {.padding = 1}),
      conv_case("conv_5x5_bias", {2, 7, 9, 8}, {24, 5, 5, 8}, {.padding = 2}, true),
      conv_case("conv_5x5_stride3", {2, 11, 10, 16}, {8, 5, 5, 16}, {.stride = 3, .padding = 2}),
      conv_case("conv_padding_beyond_kernel", {2, 4, 5, 16}, {8, 3, 3, 16}, {.padding = 4}),
      conv_case("conv_1x1_wide", {2, 5, 7, 16}, {24, 1, 1, 16}, {}, true),
      conv_case("conv_even_kernel", {2, 6, 7, 8}, {16, 2, 4, 8}, {.padding = 1}),
      conv_case("conv_1x1", {2, 3, 4, 5}, {3, 1, 1, 5}, {}),
      conv_case("conv_1x1_stride2", {2, 5, 4, 3}, {4, 1, 1, 3}, {.stride = 2}),
      conv_case("conv_7x7", {1, 11, 9, 2}, {3, 7, 7, 2}, {.stride = 2, .padding = 3}),
      conv_case("conv_3x5", {2, 6, 7, 2}, {3, 3, 5, 2}, {.stride = {2, 1}, .padding = {1, 2}}),
      conv_case("conv_dilated", {2, 8, 9, 3}, {4, 3, 3, 3}, {.padding = {2, 1}, .dilation = {2, 3}}),
      conv_case("conv_groups", {2, 5, 4, 4}, {6, 3, 3, 2}, {.padding = 1, .groups = 2}),
      conv_case("conv_depthwise", {2, 5, 5, 4}, {4, 3, 3, 1}, {.padding = 1, .groups = 4}),
      conv_case("conv_depthwise_multiplier", {1, 5, 4, 3}, {6, 3, 3, 1}, {.stride = 2, .padding = 1, .groups = 3}),
      conv_case("conv_bias", {2, 4, 5, 3}, {5, 3, 3, 3}, {.padding = 1}, true),
      conv_case("conv_batch1_odd", {1, 7, 5, 3}, {5, 3, 3, 3}, {}, true),
      conv_case("conv_one_pixel", {1, 1, 1, 3}, {4, 3, 3, 3}, {.padding = 1}),
      conv_case("conv_stride_beyond_kernel", {1, 7, 7, 2}, {3, 1, 2, 2}, {.stride = 3}),
  };
}

inline std::vector<OpCase> pool_cases() {
  const auto row = [](const char* name, Shape x, PoolOptions o, bool average) {
    return OpCase{name,
                  {{x}},
                  [=](const Tensors& in) { return average ? avg_pool2d(in[0], o) : max_pool2d(in[0], o); },
                  [=](const Tensors& in) { return pool_oracle(in[0], o, average); }};
  };
  return {
      row("max_pool_2", {2, 5, 6, 3}, {.kernel = 2, .stride = 2}, false),
      row("max_pool_3_padded", {2, 7, 6, 3}, {.kernel = 3, .stride = 2, .padding = 1}, false),
      row("max_pool_overlapping", {1, 6, 7, 17}, {.kernel = {3, 2}, .stride = 1}, false),
      row("max_pool_unequal_stride", {2, 7, 6, 3}, {.kernel = {3, 2}, .stride = {1, 2}}, false),
      row("max_pool_batch", {16, 17, 16, 5}, {.kernel = 2, .stride = 2}, false),
      row("avg_pool_2", {2, 5, 6, 3}, {.kernel = 2, .stride = 2}, true),
      row("avg_pool_3_padded", {2, 7, 6, 3}, {.kernel = 3, .stride = 2, .padding = 1}, true),
      row("avg_pool_without_padding", {2, 7, 6, 3},
          {.kernel = 3, .stride = 2, .padding = 1, .count_include_pad = false}, true),
      row("avg_pool_unequal_stride", {2, 7, 6, 3}, {.kernel = {2, 3}, .stride = {2, 1}}, true),
      row("avg_pool_batch", {16, 17, 16, 5}, {.kernel = 2, .stride = 2}, true),
      {"global_avg_pool",
       {{{2, 5, 7, 3}}},
       [](const Tensors& in) { return global_avg_pool2d(in[0]); },
       [](const Tensors& in) {
         return reduce_oracle(in[0], {1, 2}, false, 0, [](double a, double b) { return a + b / 35; });
       }},
  };
}

/// Running mean and variance, x, weight, bias (, residual).
inline OpCase norm_case(const char* name, Shape x, bool training, bool affine = true, bool residual = false,
                        bool relu_after = false) {
  const Shape channels{x[-1]};
  const auto statistic = [channels](double low, double high) {
    return OpInput(channels, low, high).constant().as_master();
  };
  OpCase c{name, {statistic(-0.5, 0.5), statistic(0.5, 1.5), {x, -1.5, 2.5}}, {}, {}};
  if (affine) {
    c.inputs.push_back(OpInput(channels, 0.5, 1.5).as_master());
    c.inputs.push_back(OpInput(channels, -0.5, 0.5).as_master());
  }
  if (residual) c.inputs.push_back({x});
  c.op = [=](const Tensors& in) {
    const BatchNormTensors t{affine ? in[3] : Tensor(), affine ? in[4] : Tensor(), in[0], in[1]};
    return batch_norm(in[2], t,
                      {.training = training, .residual = residual ? in.back() : Tensor(), .relu = relu_after});
  };
  c.oracle = [=](const Tensors& in) {
    Tensor y = batch_norm_oracle(in[2], affine ? in[3] : Tensor(), affine ? in[4] : Tensor(),
                                 training ? Tensor() : in[0], training ? Tensor() : in[1], 1e-5);
    if (residual) y = y + in.back();
    return relu_after ? relu(y) : y;
  };
  c.f32 = 2e-5;
  return c;
}

inline std::vector<OpCase> norm_cases() {
  return {
      norm_case("batch_norm", {3, 3, 5, 4}, true),
      norm_case("batch_norm_odd", {2, 3, 1, 17}, true),
      norm_case("batch_norm_rows", {7, 5}, true),
      norm_case("batch_norm_two_values", {2, 3}, true),
      norm_case("batch_norm_plain", {4, 2, 2, 3}, true, false),
      norm_case("batch_norm_two_threads", {8, 16, 16, 16}, true),
      norm_case("batch_norm_relu", {3, 3, 5, 4}, true, true, false, true),
      norm_case("batch_norm_residual", {3, 3, 5, 4}, true, true, true, false),
      norm_case("batch_norm_residual_relu", {3, 3, 5, 16}, true, true, true, true),
      norm_case("batch_norm_residual_relu_two_threads", {8, 16, 16, 16}, true, true, true, true),
      norm_case("batch_norm_one_channel", {5, 3, 3, 1}, true, true, true, true),
      norm_case("batch_norm_residual_relu_odd", {3, 3, 5, 17}, true, true, true, true),
      norm_case("batch_norm_residual_odd_two_threads", {7, 15, 17, 17}, true, true, true),
      norm_case("batch_norm_eval", {3, 3, 5, 4}, false),
      norm_case("batch_norm_eval_one_row", {1, 5}, false),
      norm_case("batch_norm_eval_plain", {4, 2, 2, 3}, false, false),
      norm_case("batch_norm_eval_residual_relu", {3, 3, 5, 17}, false, true, true, true),
  };
}

/// One label a row, of every class in turn.
inline OpInput labels_for(const Shape& logits) {
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < logits[0]; i++) labels.push_back((7 * i + 3) % logits[1]);
  return OpInput({logits[0]}).holding(labels);
}

inline std::vector<int64_t> integers_of(const Tensor& t) {
  const auto numbers = t.to_vector();
  return {numbers.begin(), numbers.end()};
}

/// Logits, then the class vectors named by the letters of `vectors`: a(djust), m(argin), w(eight), t(emperature), then
/// labels.
inline OpCase cross_entropy_case(const char* name, OpInput logits, std::string vectors, double scale = 1,
                                 double smoothing = 0, Phi phi = {}) {
  const auto args_of = [=](const Tensors& in) {
    CrossEntropyArgs args{.scale = scale, .smoothing = smoothing, .phi = phi};
    for (size_t i = 0; i < vectors.size(); i++)
      (vectors[i] == 'a'   ? args.adjust
       : vectors[i] == 'm' ? args.margin
       : vectors[i] == 't' ? args.temperature
                           : args.class_weight) = in[i + 1];
    return args;
  };
  OpCase c{name,
           {logits},
           [=](const Tensors& in) { return cross_entropy(in[0], in.back(), args_of(in)); },
           [=](const Tensors& in) { return cross_entropy_oracle(in[0], integers_of(in.back()), args_of(in)); }};
  for (size_t i = 0; i < vectors.size(); i++)
    c.inputs.push_back(OpInput({logits.shape[1]}, 0.25, 1.5).constant().as_master());
  c.inputs.push_back(labels_for(logits.shape));
  return c;
}

/// φ of the cross entropy, and LDR-KL.
inline std::vector<OpCase> phi_cases() {
  const OpInput logits{{6, 5}, -3, 3}, far{{6, 5}, -40, 40};
  const auto row = [](const char* name, OpInput z, Phi phi, std::string vectors = "", bool on_weighted = false) {
    phi.on_weighted = on_weighted;
    return cross_entropy_case(name, z, std::move(vectors), 1, 0, phi);
  };
  const auto ldr = [](const char* name, OpInput z, LdrKlArgs args) {
    return OpCase{name,
                  {z, labels_for(z.shape)},
                  [=](const Tensors& in) { return ldr_kl_loss(in[0], in[1], args); },
                  [=](const Tensors& in) { return ldr_kl_oracle(in[0], integers_of(in[1]), args); }};
  };
  const auto aldr = [](const char* name, OpInput z, AldrKlArgs args, bool weighted = false) {
    const int64_t n = z.shape[0];
    std::vector<double> lambdas;
    for (int64_t i = 0; i < n; i++) lambdas.push_back(args.lambda0 * (1 - 0.07 * static_cast<double>(i)));
    const auto with = [=](const Tensors& in) {
      AldrKlArgs a = args;
      if (weighted) a.class_weight = in[3];
      return a;
    };
    OpCase c{name,
             {z, labels_for(z.shape), OpInput({n}).holding(lambdas).as_master()},
             [=](const Tensors& in) { return aldr_kl_loss(in[0], in[1], in[2], with(in)); },
             [=](const Tensors& in) { return aldr_kl_oracle(in[0], integers_of(in[1]), in[2].to_vector(), with(in)); }};
    if (weighted) c.inputs.push_back(OpInput({z.shape[1]}, 0.5, 2).constant().as_master());
    return c;
  };
  return {
      row("focal", logits, Phi::focal(2)),
      row("focal_half", logits, Phi::focal(0.5)),
      row("focal_zero", logits, Phi::focal(0)),
      row("focal_far", far, Phi::focal(2)),
      row("focal_weight", logits, Phi::focal(2), "w"),
      row("focal_on_weighted", logits, Phi::focal(1), "w", true),
      row("focal_everything", logits, Phi::focal(1.5), "amwt"),
      row("focal_one_class", {{3, 1}}, Phi::focal(0.5)),
      row("gce", logits, Phi::gce(0.7)),
      row("gce_one", logits, Phi::gce(1), "w"),
      row("gce_far", far, Phi::gce(0.3)),
      row("truncated_gce", logits, Phi::truncated_gce(0.7, 0.3), "w"),
      row("sce", logits, Phi::sce(0.1, 1), "w"),
      row("sce_far", far, Phi::sce(6, 0.1)),
      row("mae", logits, Phi::mae()),
      row("mae_far", far, Phi::mae(), "w"),
      row("js", logits, Phi::js(0.5), "w"),
      row("js_small", logits, Phi::js(0.1)),
      row("js_large", logits, Phi::js(0.9)),
      row("js_far", far, Phi::js(0.3)),
      cross_entropy_case("cross_entropy_temperature", logits, "t"),
      cross_entropy_case("cross_entropy_all_vectors", logits, "amwt", 3, 0.1),
      ldr("ldr_kl", logits, {}),
      ldr("ldr_kl_sharp", logits, {.margin = 0.5, .lambda = 0.2}),
      ldr("ldr_kl_many", {{9, 101}, -3, 3}, {.margin = 1, .lambda = 3}),
      aldr("aldr_kl", logits, {}),
      aldr("aldr_kl_weight", logits, {.margin = 1, .lambda0 = 2, .alpha = 1.5}, /*weighted=*/true),
      aldr("aldr_kl_many", {{9, 101}, -3, 3}, {.margin = 0.1, .lambda0 = 3, .alpha = 4}),
  };
}

inline std::vector<OpCase> loss_cases() {
  using Loss = Tensor (*)(const Tensor&, const Tensor&);
  const auto paired = [](const char* name, Loss loss, OpInput x, OpInput t, double (*f)(double, double)) {
    return OpCase{name,
                  {x, t},
                  [loss](const Tensors& in) { return loss(in[0], in[1]); },
                  [f](const Tensors& in) {
                    const View a(in[0].reshape({in[0].size(0), -1})), b(in[1].reshape({in[1].size(0), -1}));
                    return generate({a.size(0)}, [&](const Index& i) {
                      double total = 0;
                      for (int64_t k = 0; k < a.size(1); k++) total += f(a(i[0], k), b(i[0], k));
                      return total / static_cast<double>(a.size(1));
                    });
                  }};
  };
  const auto squared = [](double a, double b) { return (a - b) * (a - b); };
  const auto logistic = [](double z, double t) {
    return std::max(z, 0.0) - z * t + std::log1p(std::exp(-std::abs(z)));
  };
  const Loss bce = binary_cross_entropy_with_logits;
  const OpInput logits{{6, 5}, -3, 3};
  return {
      cross_entropy_case("cross_entropy", logits, ""),
      cross_entropy_case("cross_entropy_batch1", {{1, 5}}, ""),
      cross_entropy_case("cross_entropy_one_class", {{3, 1}}, ""),
      cross_entropy_case("cross_entropy_far", {{6, 5}, -200, 200}, ""),
      cross_entropy_case("cross_entropy_many", {{130, 101}, -3, 3}, ""),
      cross_entropy_case("cross_entropy_weight", logits, "w"),
      cross_entropy_case("cross_entropy_smoothing", logits, "", 1, 0.1),
      cross_entropy_case("cross_entropy_weight_smoothing", logits, "w", 1, 0.1),
      cross_entropy_case("cross_entropy_margin", logits, "m", 3),
      cross_entropy_case("cross_entropy_adjust", logits, "a"),
      cross_entropy_case("cross_entropy_everything", logits, "amw", 3, 0.1),
      paired("mse", mse_loss, {{4, 3, 2}}, {{4, 3, 2}}, squared),
      paired("mse_vector", mse_loss, {{4}}, {{4}}, squared),
      paired("bce", bce, {{4, 3}, -3, 3}, {{4, 3}, 0, 1}, logistic),
      paired("bce_far", bce, {{9}, -150, 150}, {{9}, 0, 1}, logistic),
  };
}

inline std::vector<OpCase> sample_norm_cases() {
  // Over the elements of x [n, p, c] with the same n and c / width.
  const auto oracle = [](const Tensors& in, int64_t width, bool spatial) {
    const View x(in[0]), w(in[1]), b(in[2]);
    return generate(x.shape(), [&, width, spatial](const Index& i) {
      const int64_t first = i[2] / width * width;
      double sum = 0, squares = 0, n = 0;
      for (int64_t p = spatial ? 0 : i[1]; p < (spatial ? x.size(1) : i[1] + 1); p++)
        for (int64_t c = first; c < first + width; c++)
          sum += x(i[0], p, c), squares += x(i[0], p, c) * x(i[0], p, c), n++;
      const double mean = sum / n;
      return (x(i[0], i[1], i[2]) - mean) / std::sqrt(squares / n - mean * mean + 1e-5) * w(i[2]) + b(i[2]);
    });
  };
  return {
      {"layer_norm",
       {{{3, 4, 6}}, OpInput({6}, 0.5, 1.5).as_master(), OpInput({6}).as_master()},
       [](const Tensors& in) { return layer_norm(in[0], in[1], in[2]); },
       [=](const Tensors& in) { return oracle(in, 6, false); }},
      {"group_norm",
       {{{3, 4, 6}}, OpInput({6}, 0.5, 1.5).as_master(), OpInput({6}).as_master()},
       [](const Tensors& in) { return group_norm(in[0], 2, in[1], in[2]); },
       [=](const Tensors& in) { return oracle(in, 3, true); }},
  };
}

inline std::vector<OpCase> all_op_cases() {
  std::vector<OpCase> rows;
  for (const auto& part : {unary_cases(), binary_cases(), reduction_cases(), shape_cases(), sample_norm_cases(),
                           linear_cases(), conv_cases(), pool_cases(), norm_cases(), loss_cases(), phi_cases()})
    rows.insert(rows.end(), part.begin(), part.end());
  return rows;
}

}  // namespace fulcrum::testing
