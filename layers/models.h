// Every network by name, for programs in which a setting chooses it.
//
//   std::unique_ptr<Classifier> net = make_model("resnet50", {.classes = 100, .stem = "cifar"});
//   Tensor logits = (*net)(images), features = net->features(images);
//
// Who knows the network calls its own function, which has options that are not common to all:
// resnet32(…) of resnet.h, resnet50(…) of imagenet_resnet.h, SceCnn of sce_cnn.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fulcrum/core/ops.h>
#include <fulcrum/layers/classifier.h>

namespace fulcrum {

struct ModelOptions {
  std::optional<int64_t> classes = {};  // default: the network's own, 10 or 1000
  int64_t channels = 3;                 // of the images
  double dropout = 0;                   // before the head
  Size2 image = 32;                     // their height and width; only sce_cnn is made for one size
  bool normed_head = false;             // the head is a NormedLinear (LDAM)
  /// imagenet or cifar; empty: the network's own. Those of resnet.h have no other than cifar, and
  /// sce_cnn has none.
  std::string stem = {};
  uint64_t seed = 0;       // of the initial weights and the dropout
  bool recompute = false;  // residual blocks keep their inputs alone and run again in the backward pass
};

/// The network of this name. An unknown one is an Error that lists model_names().
std::unique_ptr<Classifier> make_model(std::string_view name, const ModelOptions& options = {});
std::vector<std::string> model_names();
/// What comes before the names of the head's parameters: "fc.", or "fc2." in sce_cnn. The head is
/// the last child of every network here.
std::string head_prefix(const Module& network);
/// Freezes every child with parameters except the head, which is the last. A dropout before the head stays active.
void freeze_backbone(Module& network);

}  // namespace fulcrum
