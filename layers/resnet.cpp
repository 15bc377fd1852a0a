#include <fulcrum/layers/resnet.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

constexpr int64_t kWidths[] = {16, 32, 64};

Conv2dOptions conv3x3(int64_t in, int64_t out, int64_t stride = 1) {
  return {.in = in,
          .out = out,
          .kernel = 3,
          .stride = stride,
          .padding = 1,
          .bias = false,
          .weight_init = Init::kaiming_normal()};
}

int64_t checked_blocks(int64_t depth, const ResnetOptions& o) {
  check(depth >= 8 && depth % 6 == 2, "[resnet] expected a depth of 6n + 2 from 8 on, got ", depth);
  check(o.classes > 0 && o.channels > 0, "[resnet] expected classes and channels of at least 1, got ", o.classes,
        " and ", o.channels);
  return (depth - 2) / 6;
}

}  // namespace

Tensor pad_shortcut(const Tensor& x, int64_t stride, int64_t out) {
  check(x.dim() == 4 && stride > 0 && out >= x.size(3) && (out - x.size(3)) % 2 == 0,
        "[pad_shortcut] expected x [N, H, W, C], a stride of at least 1 and an even number of new "
        "channels, got x ",
        x.shape(), ", stride ", stride, " and ", out, " channels");
  const int64_t n = x.size(0), h = x.size(1), w = x.size(2), c = x.size(3);
  const int64_t out_h = (h + stride - 1) / stride, out_w = (w + stride - 1) / stride;
  StridedCopy gather;
  gather.extent = {n, out_h, out_w, c};
  gather.y_offset = (out - c) / 2;
  const int64_t from[] = {h * w * c, stride * w * c, stride * c, 1};
  const int64_t to[] = {out_h * out_w * out, out_w * out, out, 1};
  std::copy(std::begin(from), std::end(from), gather.x_strides);
  std::copy(std::begin(to), std::end(to), gather.y_strides);

  Tensor y = zeros({n, out_h, out_w, out}, options_of(x));
  dispatch(x, [&]<class K>() { K::copy_strided(y, x, gather); });
  return record(
      "pad_shortcut", y, {x},
      [from = x.shape(), gather](const Tensor& dy, Needs) -> Grads {
        StridedCopy scatter = gather;
        std::swap(scatter.x_offset, scatter.y_offset);
        std::swap(scatter.x_strides, scatter.y_strides);
        Tensor dx = zeros(from, options_of(dy));
        dispatch(dy, [&]<class K>() { K::copy_strided(dx, dy, scatter); });
        return {dx};
      },
      OpDetail(gather));
}

BasicBlock::BasicBlock(const BasicBlockOptions& o)
    : options_(o),
      conv1_(add<Conv2d>("conv1", conv3x3(o.in, o.out, o.stride))),
      bn1_(add<BatchNorm>("bn1", BatchNormLayerOptions{.channels = o.out})),
      conv2_(add<Conv2d>("conv2", conv3x3(o.out, o.out))),
      bn2_(add<BatchNorm>("bn2", BatchNormLayerOptions{.channels = o.out})) {}

Tensor BasicBlock::forward(const Tensor& x) {
  const bool same = options_.stride == 1 && options_.in == options_.out;
  const Tensor shortcut = same ? x : pad_shortcut(x, options_.stride, options_.out);
  const Tensor y = bn1_.fused(conv1_(x), {.relu = true});
  return bn2_.fused(conv2_(y), {.residual = shortcut, .relu = true});
}

Resnet::Resnet(int64_t depth, const ResnetOptions& o)
    : Classifier(o.seed),
      blocks_(checked_blocks(depth, o)),
      conv1_(add<Conv2d>("conv1", conv3x3(o.channels, kWidths[0]))),
      bn1_(add<BatchNorm>("bn1", BatchNormLayerOptions{.channels = kWidths[0]})),
      layer1_(add_layer("layer1", {.in = kWidths[0], .out = kWidths[0]})),
      layer2_(add_layer("layer2", {.in = kWidths[0], .out = kWidths[1], .stride = 2})),
      layer3_(add_layer("layer3", {.in = kWidths[1], .out = kWidths[2], .stride = 2})) {
  add_head("fc", {.in = kWidths[2], .out = o.classes, .weight_init = Init::kaiming_normal()},
           {.dropout = o.dropout, .normed = o.normed_head});
  for (const Sequential* layer : {&layer1_, &layer2_, &layer3_})
    for (const auto& block : layer->children()) block->set_recompute(o.recompute);
}

Sequential& Resnet::add_layer(const std::string& name, const BasicBlockOptions& first) {
  auto& layer = add<Sequential>(name);
  layer.append<BasicBlock>(first);
  for (int64_t i = 1; i < blocks_; i++) layer.append<BasicBlock>(BasicBlockOptions{.in = first.out, .out = first.out});
  return layer;
}

Tensor Resnet::features(const Tensor& x) {
  Tensor y = bn1_.fused(conv1_(x), {.relu = true});
  y = layer3_(layer2_(layer1_(y)));
  return global_avg_pool2d(y);
}

Resnet resnet8(const ResnetOptions& options) { return Resnet(8, options); }
Resnet resnet20(const ResnetOptions& options) { return Resnet(20, options); }
Resnet resnet32(const ResnetOptions& options) { return Resnet(32, options); }
Resnet resnet44(const ResnetOptions& options) { return Resnet(44, options); }
Resnet resnet56(const ResnetOptions& options) { return Resnet(56, options); }
Resnet resnet110(const ResnetOptions& options) { return Resnet(110, options); }

}  // namespace fulcrum
