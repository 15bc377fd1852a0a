#include <fulcrum/layers/layers.h>

#include <cmath>
#include <utility>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/recompute.h>
#include <fulcrum/layers/distribute.h>

namespace fulcrum {

namespace {

Init bias_init(int64_t fan_in) {
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  return Init::uniform(-bound, bound);
}

// Passing u8 images is a common mistake; weight.as(u8) would truncate the weights instead of failing.
void check_batch(const char* layer, const Tensor& x) {
  check(is_floating(x.dtype()), "[", layer, "] expected a floating batch, got ", x.dtype(), " ", x.shape());
}

// Divides each row by max(‖row‖₂, 1e-12). The maximum is taken before the square root, whose derivative
// at 0 is infinite, so that the gradient through the norm of a zero row is 0 instead of NaN.
Tensor normalise_rows(const Tensor& x) {
  constexpr double kEps = 1e-12;
  const Tensor squares = sum(square(x), {-1}, /*keepdim=*/true);
  return div(x, sqrt(maximum(squares, full({1}, kEps * kEps, options_of(x)))));
}

}  // namespace

// ---- Conv2d ----

Conv2d::Conv2d(const Conv2dOptions& o) : options_(o) {
  check(o.in > 0 && o.out > 0 && o.groups > 0 && o.in % o.groups == 0 && o.out % o.groups == 0,
        "[Conv2d] expected channels of at least 1, divisible by the groups, got in ", o.in, ", out ", o.out,
        ", groups ", o.groups);
  const int64_t in = o.in / o.groups;
  weight = add_parameter("weight", {o.out, o.kernel.h, o.kernel.w, in}, o.weight_init, Layout::kConvolution);
  if (o.bias) bias = add_parameter("bias", {o.out}, bias_init(in * o.kernel.h * o.kernel.w));
}

Tensor Conv2d::forward(const Tensor& x) {
  check_batch("Conv2d", x);
  return conv2d(x, weight.as(x.dtype()), bias, {options_.stride, options_.padding, options_.dilation, options_.groups});
}

// ---- BatchNorm ----

BatchNorm::BatchNorm(const BatchNormLayerOptions& o) : options_(o) {
  const Shape channels{o.channels};
  if (o.affine) {
    weight = add_parameter("weight", channels, Init::constant(1));
    bias = add_parameter("bias", channels, Init::constant(0));
  }
  running_mean = add_buffer("running_mean", zeros(channels));
  running_var = add_buffer("running_var", ones(channels));
  num_batches_tracked = add_buffer("num_batches_tracked", from_vector({}, std::vector<int64_t>{0}));
}

Tensor BatchNorm::forward(const Tensor& x) { return normalise(x, {}); }

Tensor BatchNorm::normalise(const Tensor& x, const Fusion& fusion) {
  BatchNormPart part;
  if (part_ && part_->communicator && training())
    part = {part_->communicator, x.numel() / x.size(-1) / x.size(0) * part_->total, part_->own.size() > 0};
  Tensor y = batch_norm(x, {weight, bias, running_mean, running_var},
                        {training(), options_.momentum, options_.eps, fusion.residual, fusion.relu, part});
  // Nothing here reads the count; PyTorch's state dicts contain it.
  if (training() && !recomputing()) ++*num_batches_tracked.data<int64_t>();
  return y;
}

void count_training_batch(Module& model) {
  auto* norm = dynamic_cast<BatchNorm*>(&model);
  if (norm && norm->training()) ++*norm->num_batches_tracked.data<int64_t>();
  for (const auto& child : model.children()) count_training_batch(*child);
}

// ---- LayerNorm, GroupNorm ----

LayerNorm::LayerNorm(const LayerNormOptions& o) : eps_(o.eps) {
  if (!o.affine) return;
  weight = add_parameter("weight", {o.channels}, Init::constant(1));
  bias = add_parameter("bias", {o.channels}, Init::constant(0));
}

GroupNorm::GroupNorm(const GroupNormOptions& o) : groups_(o.groups), eps_(o.eps) {
  check(o.groups > 0 && o.channels % o.groups == 0, "[GroupNorm] expected channels divisible by groups, got ",
        o.channels, " and ", o.groups);
  if (!o.affine) return;
  weight = add_parameter("weight", {o.channels}, Init::constant(1));
  bias = add_parameter("bias", {o.channels}, Init::constant(0));
}

// ---- Linear ----

Linear::Linear(const LinearOptions& o) : weight(add_parameter("weight", {o.out, o.in}, o.weight_init)), relu_(o.relu) {
  if (o.bias) bias = add_parameter("bias", {o.out}, bias_init(o.in));
}

Tensor Linear::forward(const Tensor& x) {
  check_batch("Linear", x);
  return linear(x, weight.as(x.dtype()), bias, relu_);
}

// ---- NormedLinear ----

NormedLinear::NormedLinear(const NormedLinearOptions& o)
    : weight(add_parameter("weight", {o.out, o.in}, Init::uniform(-1, 1))) {
  const NoGrad no_grad;
  weight.detach().copy_from(normalise_rows(weight));
}

Tensor NormedLinear::forward(const Tensor& x) {
  check_batch("NormedLinear", x);
  return linear(normalise_rows(x.to(weight.dtype())), normalise_rows(weight));
}

// ---- Embedding ----

Embedding::Embedding(const EmbeddingOptions& o) : weight(add_parameter("weight", {o.num, o.dim}, Init::normal(0, 1))) {}

Tensor Embedding::forward(const Tensor& x) {
  check(x.dtype() == DType::kI64, "[Embedding] expected rows i64, got ", x.dtype(), " ", x.shape());
  const Tensor& twin = weight.node()->twin;
  Shape shape = x.shape();
  shape.push_back(weight.size(1));
  return index_select(twin ? weight.as(twin.dtype()) : weight, 0, x.reshape({x.numel()})).reshape(shape);
}

// ---- Dropout ----

Dropout::Dropout(const DropoutOptions& o) : generator_(add_generator("generator", streams::kDropout, o.seed)) {
  set_p(o.p);
}

void Dropout::set_p(double p) {
  check(p >= 0 && p < 1, "[Dropout] expected a probability in [0, 1), got ", p);
  p_ = p;
}

Tensor Dropout::forward(const Tensor& x) {
  if (!training()) return x;
  if (!part_ || !part_->communicator) return dropout(x, p_, generator_);
  const int64_t features = x.numel() / x.size(0);
  return dropout(x, p_, generator_, {part_->own.begin * features, part_->total * features});
}

// ---- shape and order ----

Tensor Flatten::forward(const Tensor& x) {
  check(x.dim() >= 2, "[Flatten] expected x [N, ...], got ", x.shape());
  const bool image = x.dim() == 4 && x.size(1) * x.size(2) > 1 && x.size(3) > 1;
  if (!image) return x.reshape({x.size(0), -1});
  const Tensor pixels = x.reshape({x.size(0), x.size(1) * x.size(2), x.size(3)});
  return transpose(pixels, 1, 2).reshape({x.size(0), -1});
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (const auto& child : children()) y = (*child)(y);
  return y;
}

}  // namespace fulcrum
