// Layer and group normalisation, composed of other operations.
#include <fulcrum/core/ops.h>
#include <fulcrum/core/ops_checks.h>

namespace fulcrum {

namespace {

// (x − mean)/√(variance + eps) over `dims`. The callers pass x in f32 or f64.
Tensor normalised_over(const Tensor& x, const std::vector<int>& dims, double eps) {
  const Tensor apart = x - mean(x, dims, /*keepdim=*/true);
  return apart / sqrt(mean(square(apart), dims, /*keepdim=*/true) + eps);
}

Tensor scaled(const char* op, Tensor y, const Tensor& weight, const Tensor& bias) {
  for (const Tensor& t : {weight, bias})
    check(!t || (t.shape() == Shape{y.size(-1)} && t.dtype() == y.dtype()), "[", op, "] expected weight and bias ",
          y.dtype(), " [", y.size(-1), "], got ", t ? t.dtype() : y.dtype(), " ", t ? t.shape() : Shape());
  check_one_device(op, {{"x", y}, {"weight", weight}, {"bias", bias}});
  if (weight) y = y * weight;
  return bias ? y + bias : y;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  check(is_floating(x.dtype()) && x.dim() >= 1, "[layer_norm] expected floating x [..., C], got ", x.dtype(), " ",
        x.shape());
  const Tensor y = normalised_over(x.to(master_dtype(x.dtype())), {-1}, eps);
  return scaled("layer_norm", y, weight, bias).to(x.dtype());
}

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps) {
  check(is_floating(x.dtype()) && x.dim() >= 2, "[group_norm] expected floating x [N, ..., C], got ", x.dtype(), " ",
        x.shape());
  const int64_t n = x.size(0), channels = x.size(-1);
  check(groups > 0 && channels % groups == 0, "[group_norm] expected channels divisible by groups, got ", channels,
        " and ", groups);
  const Shape split{n, x.numel() / (n * channels), groups, channels / groups};
  const Tensor y = normalised_over(x.to(master_dtype(x.dtype())).reshape(split), {1, 3}, eps).reshape(x.shape());
  return scaled("group_norm", y, weight, bias).to(x.dtype());
}

}  // namespace fulcrum
