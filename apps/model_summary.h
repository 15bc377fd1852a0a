// A table of a model's layers: names, output shapes, parameters, multiply-adds.
//
//   for (const LayerRow& row : layer_table(model, {1, 32, 32, 3})) …
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
/// mode on zeros [N, H, W, C].
std::vector<LayerRow> layer_table(Module& model, const Shape& images);

}  // namespace fulcrum::apps
