// A table of a model's layers (names, output shapes, parameters, multiply-adds), and the size of what a forward pass
// keeps for the backward pass.
//
//   for (const LayerRow& row : layer_table(model, {1, 32, 32, 3})) …
//   saved_for_backward(model, {1, 32, 32, 3}).bytes(DType::kBf16);
#pragma once

#include <string>
#include <vector>

#include <fulcrum/layers/module.h>

namespace fulcrum::apps {

struct LayerRow {
  std::string name;
  Shape output;
  int64_t parameters = 0;     // of the layer itself, without its children's
  int64_t multiply_adds = 0;  // of a forward pass of one image
};

/// Every layer that has parameters, in the order of computation, from a forward pass in evaluation
/// mode on zeros [N, H, W, C]. The model is on the CPU.
std::vector<LayerRow> layer_table(Module& model, const Shape& images);

/// The peak of what the ops of a training step keep for the backward pass. A recomputed function (core/recompute.h)
/// keeps only its result, except while it runs again; everything before it is still kept then.
struct SavedActivations {
  int64_t elements = 0;  // in the dtype of the batch, images included
  int64_t winners = 0;   // indices that max-pooling keeps, 4 bytes each
  int64_t largest = 0;   // elements of the largest result of an op
  int64_t bytes(DType dtype) const { return elements * static_cast<int64_t>(size_of(dtype)) + 4 * winners; }
};
/// From a forward pass like that of layer_table.
SavedActivations saved_for_backward(Module& model, const Shape& images);

}  // namespace fulcrum::apps
