// ImagenetResnet: residual networks for photographs, torchvision's ResNet family and the ResNet-10 of the ImageNet-LT
// papers.
//
//   ImagenetResnet net = resnet50({.classes = 1000});
//   Tensor logits = net(images);                         // [N, H, W, 3] → [N, 1000]
//   ImagenetResnet small = resnet18({.classes = 100, .stem = "cifar"});  // for images of 32×32
//
// conv1 7×7 to 64 channels at half the resolution, bn1, ReLU, a 3×3 max-pool that halves the resolution again;
// layer1 … layer4 of residual blocks, each but the first at half the resolution of the previous one;
// global average pool; dropout; fc. The stem "cifar" is a 3×3 convolution without pooling.
//
// Parameter names, structure (the bottleneck has its stride on the 3×3, "v1.5") and initial values
// are those of https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py, so that
// its and timm's weights can be loaded. He et al., "Deep Residual Learning", CVPR 2016; ResNeXt:
// Xie et al., CVPR 2017; ResNet-10: Liu et al., "Large-Scale Long-Tailed Recognition", CVPR 2019.
#pragma once

#include <array>
#include <string>

#include <fulcrum/layers/classifier.h>

namespace fulcrum {

struct ImagenetResnetOptions {
  int64_t classes = 1000;
  int64_t channels = 3;             // of the images
  double dropout = 0;               // probability, before fc
  bool normed_head = false;         // fc is a NormedLinear (LDAM)
  std::string stem = "imagenet";    // or "cifar"
  bool zero_init_residual = false;  // the last batch norm of every block starts with weight 0
  uint64_t seed = 0;                // of the initial weights and the dropout
  bool recompute = false;           // activation checkpointing: blocks save only their input and run again in backward
};

/// The architecture of one member of the family.
struct ImagenetResnetShape {
  bool bottleneck;               // blocks are 1×1, 3×3, 1×1 (to four times the width); false: two 3×3
  std::array<int64_t, 4> depth;  // blocks in layer1 … layer4
  int64_t groups = 1;            // of the 3×3 convolution of a bottleneck
  int64_t width_per_group = 64;  // channels per group of that convolution in layer1
};

class ImagenetResnet : public Classifier {
 public:
  ImagenetResnet(const ImagenetResnetShape& shape, const ImagenetResnetOptions& options);
  /// x [N, H, W, channels] → [N, 512], or [N, 2048] with bottlenecks.
  Tensor features(const Tensor& x) override;

 private:
  Sequential& add_layer(int index, const ImagenetResnetShape& shape, bool zero_init_residual);

  bool pools_;
  Conv2d& conv1_;
  BatchNorm& bn1_;
  std::array<Sequential*, 4> layers_;
};

ImagenetResnet resnet10(const ImagenetResnetOptions& options = {});
ImagenetResnet resnet18(const ImagenetResnetOptions& options = {});
ImagenetResnet resnet34(const ImagenetResnetOptions& options = {});
ImagenetResnet resnet50(const ImagenetResnetOptions& options = {});
ImagenetResnet resnet101(const ImagenetResnetOptions& options = {});
ImagenetResnet resnet152(const ImagenetResnetOptions& options = {});
ImagenetResnet resnext50_32x4d(const ImagenetResnetOptions& options = {});

}  // namespace fulcrum
