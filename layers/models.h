// make_model: creates any network of the library by name, for programs that read the name from a setting.
//
//   std::unique_ptr<Classifier> net = make_model("resnet50", {.classes = 100, .stem = "cifar"});
//   Tensor logits = (*net)(images), features = net->features(images);
//
// If the network is known at compile time, use its own function or class, which also has the options that are not
// common to all: resnet32(…) of resnet.h, resnet50(…) of imagenet_resnet.h, SceCnn of sce_cnn.h, Mlp of mlp.h.
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
  double dropout = 0;                   // probability, before the head
  Size2 image = 32;                     // height and width of the images; only sce_cnn and mlp depend on them
  bool normed_head = false;             // the head is a NormedLinear (LDAM)
  /// imagenet or cifar; empty: the network's own. The networks of resnet.h accept only cifar; sce_cnn and
  /// mlp accept none.
  std::string stem = {};
  uint64_t seed = 0;       // of the initial weights and the dropout
  bool recompute = false;  // activation checkpointing: residual blocks save only their input and run again in backward
};

/// Creates the network of this name. Throws Error for an unknown name, listing model_names(), and for an option that
/// the network does not have.
std::unique_ptr<Classifier> make_model(std::string_view name, const ModelOptions& options = {});
std::vector<std::string> model_names();
/// The prefix of the names of the head's parameters: "fc."; "fc2." in sce_cnn, "fc3." in mlp. The head is
/// the last child of every network here.
std::string head_prefix(const Module& network);
/// Freezes every child that has parameters, except the head. A dropout before the head stays active.
void freeze_backbone(Module& network);

}  // namespace fulcrum
