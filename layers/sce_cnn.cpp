#include <fulcrum/layers/sce_cnn.h>

namespace fulcrum {

namespace {

constexpr int64_t kWidths[] = {64, 128, 196};
constexpr int64_t kHidden = 256;
constexpr int64_t kShrink = 8;  // three max-pools halve each side

const SceCnnOptions& checked(const SceCnnOptions& o) {
  check(o.classes > 0 && o.channels > 0, "[sce_cnn] expected classes and channels of at least 1, got ", o.classes,
        " and ", o.channels);
  check(o.image.h >= kShrink && o.image.w >= kShrink, "[sce_cnn] expected images of at least ", kShrink, "x", kShrink,
        ", got ", o.image.h, "x", o.image.w);
  return o;
}

// relu(batch norm(layer(x))), the layer and its norm named "0" and "1".
template <class Layer, class Options>
class Normed : public Module {
 public:
  Normed(const Options& o, int64_t channels)
      : layer_(add<Layer>("0", o)), norm_(add<BatchNorm>("1", BatchNormLayerOptions{.channels = channels})) {}
  Tensor forward(const Tensor& x) override { return norm_.fused(layer_(x), {.relu = true}); }

 private:
  Layer& layer_;
  BatchNorm& norm_;
};

using NormedConv = Normed<Conv2d, Conv2dOptions>;
using NormedHidden = Normed<Linear, LinearOptions>;

class Branch : public Module {
 public:
  Branch(int64_t in, int64_t out)
      : out_conv_(add<NormedConv>(
            "out_conv",
            Conv2dOptions{.in = in, .out = out, .kernel = 3, .padding = 1, .weight_init = Init::kaiming_uniform()},
            out)) {}
  Tensor forward(const Tensor& x) override { return out_conv_(x); }

 private:
  NormedConv& out_conv_;
};

LinearOptions hidden(const SceCnnOptions& o) {
  return {.in = kWidths[2] * (o.image.h / kShrink) * (o.image.w / kShrink),
          .out = kHidden,
          .weight_init = Init::xavier_uniform()};
}

}  // namespace

SceCnn::SceCnn(const SceCnnOptions& o)
    : Classifier(o.seed),
      options_(checked(o)),
      block1_(add_block("block1", o.channels, kWidths[0])),
      block2_(add_block("block2", kWidths[0], kWidths[1])),
      block3_(add_block("block3", kWidths[1], kWidths[2])),
      fc1_(add<NormedHidden>("fc1", hidden(o), kHidden)) {
  add_head("fc2", {.in = kHidden, .out = o.classes, .weight_init = Init::xavier_uniform()},
           {.dropout = o.dropout, .normed = o.normed_head});
}

Sequential& SceCnn::add_block(const std::string& name, int64_t in, int64_t out) {
  auto& block = add<Sequential>(name);
  block.append<Branch>(in, out);
  block.append<Branch>(out, out);
  block.append<MaxPool2d>(PoolOptions{.kernel = 2, .stride = 2});
  return block;
}

Tensor SceCnn::features(const Tensor& x) {
  check(x.dim() == 4 && x.size(1) == options_.image.h && x.size(2) == options_.image.w, "[sce_cnn] expected x [N, ",
        options_.image.h, ", ", options_.image.w, ", ", options_.channels, "], got ", x.shape());
  return fc1_(Flatten()(block3_(block2_(block1_(x)))));
}

}  // namespace fulcrum
