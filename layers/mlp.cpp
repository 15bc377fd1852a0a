#include <fulcrum/layers/mlp.h>

namespace fulcrum {

namespace {

constexpr int64_t kHidden = 256;

const MlpOptions& checked(const MlpOptions& o) {
  check(o.classes > 0 && o.channels > 0 && o.image.h > 0 && o.image.w > 0,
        "[mlp] expected classes, channels and image sizes of at least 1, got ", o.classes, ", ", o.channels, " and ",
        o.image.h, "x", o.image.w);
  return o;
}

}  // namespace

Mlp::Mlp(const MlpOptions& o)
    : Classifier(o.seed),
      options_(checked(o)),
      fc1_(add<Linear>("fc1", LinearOptions{.in = o.image.h * o.image.w * o.channels, .out = kHidden, .relu = true})),
      fc2_(add<Linear>("fc2", LinearOptions{.in = kHidden, .out = kHidden, .relu = true})) {
  add_head("fc3", {.in = kHidden, .out = o.classes}, {.dropout = o.dropout, .normed = o.normed_head});
}

Tensor Mlp::features(const Tensor& x) {
  check(x.dim() == 4 && x.shape().numel() == x.size(0) * options_.image.h * options_.image.w * options_.channels,
        "[mlp] expected x [N, ", options_.image.h, ", ", options_.image.w, ", ", options_.channels, "], got ",
        x.shape());
  return fc2_(fc1_(Flatten()(x)));
}

}  // namespace fulcrum
