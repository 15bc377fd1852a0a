#include "apps/model_summary.h"

#include <fulcrum/core/autograd.h>

namespace fulcrum::apps {

namespace {

// A convolution weight meets every output pixel, that of a linear layer every output row.
int64_t multiply_adds_of(const NamedTensor& weight, const Shape& y) {
  if (weight.convolution) return weight.tensor.numel() * y[1] * y[2];
  return weight.tensor.dim() == 2 ? weight.tensor.numel() : 0;
}

}  // namespace

std::vector<LayerRow> layer_table(Module& model, const Shape& images) {
  const NoGrad no_grad;
  const bool was_training = model.training();
  model.eval();
  std::vector<LayerRow> rows;
  {
    const auto parameters = model.named_parameters();
    const ForwardObserver observer([&](const std::string& name, const Tensor& y) {
      LayerRow row{name, y.shape()};
      for (const NamedTensor& p : parameters) {
        const size_t dot = p.name.rfind('.');
        const std::string owner = dot == std::string::npos ? "" : p.name.substr(0, dot);
        if (owner != name) continue;
        row.parameters += p.tensor.numel();
        row.multiply_adds += multiply_adds_of(p, y.shape());
      }
      if (row.parameters > 0) rows.push_back(row);
    });
    model(zeros(images));
  }
  model.train(was_training);
  return rows;
}

}  // namespace fulcrum::apps
