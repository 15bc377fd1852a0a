#include <fulcrum/layers/imagenet_resnet.h>

#include <vector>

namespace fulcrum {

namespace {

constexpr int64_t kStemWidth = 64, kExpansion = 4;

Conv2dOptions convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t groups = 1) {
  return {.in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride,
          .padding = kernel / 2,
          .groups = groups,
          .bias = false,
          .weight_init = Init::kaiming_normal(std::sqrt(2.0), Init::Fan::kOut)};
}

// The width of layer1 … layer4: the output channels of a basic block, a quarter of those of a bottleneck.
int64_t width_of(int index) { return kStemWidth << index; }

int64_t outputs_of(int index, const ImagenetResnetShape& shape) {
  return width_of(index) * (shape.bottleneck ? kExpansion : 1);
}

struct BlockOptions {
  int64_t in;
  int64_t out;
  int64_t stride;
  int64_t inner = 0;  // channels of the 3×3 convolution of a bottleneck; 0: a basic block
  int64_t groups = 1;
  bool zero_init_residual = false;
};

// relu(residual(x) + shortcut(x)). The residual is conv1, bn1, ReLU, conv2, bn2 and, in a
// bottleneck, ReLU, conv3, bn3; the shortcut is x, or a 1×1 convolution and batch norm where the
// shape changes.
class Block : public Module {
 public:
  explicit Block(const BlockOptions& o) {
    if (o.inner > 0) {
      add_step(convolution(o.in, o.inner, 1));
      add_step(convolution(o.inner, o.inner, 3, o.stride, o.groups));
      add_step(convolution(o.inner, o.out, 1));
    } else {
      add_step(convolution(o.in, o.out, 3, o.stride));
      add_step(convolution(o.out, o.out, 3));
    }
    if (o.zero_init_residual) fill({"weight", steps_.back().norm->weight}, Init::constant(0), seed(), 0);
    if (o.stride == 1 && o.in == o.out) return;
    downsample_ = &add<Sequential>("downsample");
    downsample_->append<Conv2d>(convolution(o.in, o.out, 1, o.stride));
    downsample_->append<BatchNorm>(BatchNormLayerOptions{.channels = o.out});
  }

  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (size_t i = 0; i + 1 < steps_.size(); i++)
      y = steps_[i].norm->fused((*steps_[i].convolution)(y), {.relu = true});
    y = (*steps_.back().convolution)(y);
    const Tensor shortcut = downsample_ ? (*downsample_)(x) : x;
    return steps_.back().norm->fused(y, {.residual = shortcut, .relu = true});
  }

 private:
  struct Step {
    Conv2d* convolution;
    BatchNorm* norm;
  };

  void add_step(const Conv2dOptions& o) {
    const std::string number = std::to_string(steps_.size() + 1);
    auto& conv = add<Conv2d>("conv" + number, o);
    steps_.push_back({&conv, &add<BatchNorm>("bn" + number, BatchNormLayerOptions{.channels = o.out})});
  }

  std::vector<Step> steps_;
  Sequential* downsample_ = nullptr;
};

Conv2dOptions stem(const ImagenetResnetOptions& o) {
  check(o.classes > 0 && o.channels > 0, "[resnet] expected classes and channels of at least 1, got ", o.classes,
        " and ", o.channels);
  check(o.stem == "imagenet" || o.stem == "cifar", "[resnet] expected the stem imagenet or cifar, got '", o.stem, "'");
  return o.stem == "cifar" ? convolution(o.channels, kStemWidth, 3) : convolution(o.channels, kStemWidth, 7, 2);
}

}  // namespace

ImagenetResnet::ImagenetResnet(const ImagenetResnetShape& shape, const ImagenetResnetOptions& o)
    : Classifier(o.seed),
      pools_(o.stem == "imagenet"),
      conv1_(add<Conv2d>("conv1", stem(o))),
      bn1_(add<BatchNorm>("bn1", BatchNormLayerOptions{.channels = kStemWidth})),
      layers_{&add_layer(0, shape, o.zero_init_residual), &add_layer(1, shape, o.zero_init_residual),
              &add_layer(2, shape, o.zero_init_residual), &add_layer(3, shape, o.zero_init_residual)} {
  add_head("fc", {.in = outputs_of(3, shape), .out = o.classes}, {.dropout = o.dropout, .normed = o.normed_head});
  for (const Sequential* layer : layers_)
    for (const auto& block : layer->children()) block->set_recompute(o.recompute);
}

Sequential& ImagenetResnet::add_layer(int index, const ImagenetResnetShape& shape, bool zero_init_residual) {
  auto& layer = add<Sequential>("layer" + std::to_string(index + 1));
  const int64_t out = outputs_of(index, shape);
  const int64_t inner = width_of(index) * shape.width_per_group / kStemWidth * shape.groups;
  for (int64_t i = 0; i < shape.depth[static_cast<size_t>(index)]; i++) {
    const int64_t before = index == 0 ? kStemWidth : outputs_of(index - 1, shape);
    layer.append<Block>(BlockOptions{.in = i == 0 ? before : out,
                                     .out = out,
                                     .stride = i == 0 && index > 0 ? 2 : 1,
                                     .inner = shape.bottleneck ? inner : 0,
                                     .groups = shape.groups,
                                     .zero_init_residual = zero_init_residual});
  }
  return layer;
}

Tensor ImagenetResnet::features(const Tensor& x) {
  Tensor y = bn1_.fused(conv1_(x), {.relu = true});
  if (pools_) y = max_pool2d(y, {.kernel = 3, .stride = 2, .padding = 1});
  for (Sequential* layer : layers_) y = (*layer)(y);
  return global_avg_pool2d(y);
}

ImagenetResnet resnet10(const ImagenetResnetOptions& options) {
  return ImagenetResnet({.bottleneck = false, .depth = {1, 1, 1, 1}}, options);
}
ImagenetResnet resnet18(const ImagenetResnetOptions& options) {
  return ImagenetResnet({.bottleneck = false, .depth = {2, 2, 2, 2}}, options);
}
ImagenetResnet resnet34(const ImagenetResnetOptions& options) {
  return ImagenetResnet({.bottleneck = false, .depth = {3, 4, 6, 3}}, options);
}
ImagenetResnet resnet50(const ImagenetResnetOptions& options) {
  return ImagenetResnet({.bottleneck = true, .depth = {3, 4, 6, 3}}, options);
}
ImagenetResnet resnet101(const ImagenetResnetOptions& options) {
  return ImagenetResnet({.bottleneck = true, .depth = {3, 4, 23, 3}}, options);
}
ImagenetResnet resnet152(const ImagenetResnetOptions& options) {
  return ImagenetResnet({.bottleneck = true, .depth = {3, 8, 36, 3}}, options);
}
ImagenetResnet resnext50_32x4d(const ImagenetResnetOptions& options) {
  return ImagenetResnet({.bottleneck = true, .depth = {3, 4, 6, 3}, .groups = 32, .width_per_group = 4}, options);
}

}  // namespace fulcrum
