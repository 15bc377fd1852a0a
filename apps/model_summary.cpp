#include "apps/model_summary.h"

#include <algorithm>
#include <span>
#include <string_view>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/recompute.h>

namespace fulcrum::apps {

namespace {

// A convolution weight is applied at every output pixel, a linear layer's weight at every output row.
int64_t multiply_adds_of(const NamedTensor& weight, const Shape& y) {
  if (weight.convolution) return weight.tensor.numel() * y[1] * y[2];
  return weight.tensor.dim() == 2 ? weight.tensor.numel() : 0;
}

void run_on_zeros(Module& model, const Shape& images) {
  const NoGrad no_grad;
  const EvalMode eval_mode(model);
  model(zeros(images));
}

// Whether an op's result is kept for the backward pass. The result of batch normalisation with a ReLU is kept by most
// layers that read it (not by a pool, see below); without a ReLU the next op is a sum, which keeps nothing.
bool keeps_result(const OpObserver::Op& op) {
  if (const auto* norm = op.detail.as<BatchNormCall>()) return norm->args.relu;
  constexpr std::string_view kPassing[] = {"reshape", "transpose", "pad_shortcut"};
  return std::ranges::find(kPassing, op.name) == std::end(kPassing);
}

// The ReLU's gradient needs such a result, too, unless the layer's input determines it (no residual). Then a pool that
// reads it, which is taken for its only reader, frees it.
bool freed_by_pool(const OpObserver::Op& op) {
  const auto* norm = op.detail.as<BatchNormCall>();
  return norm && norm->args.relu && !norm->args.residual;
}
bool is_pool(const OpObserver::Op& op) {
  return op.name == std::string_view("max_pool2d") || op.name == std::string_view("avg_pool2d");
}

}  // namespace

std::vector<LayerRow> layer_table(Module& model, const Shape& images) {
  std::vector<LayerRow> rows;
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
  run_on_zeros(model, images);
  return rows;
}

SavedActivations saved_for_backward(Module& model, const Shape& images) {
  struct Kept {
    int64_t elements = 0, winners = 0;
  };
  std::vector<Kept> ops;
  Kept now{images.numel()};
  SavedActivations saved;
  bool trains = false;             // nothing is kept before the first weight that is not frozen
  const void* freeable = nullptr;  // the result of the last op, if a pool would free it
  const OpObserver observer([&](const OpObserver::Op& op) {
    const int64_t elements = op.output.numel();
    if (const auto* call = op.detail.as<RecomputeCall>()) {
      for (Kept& inner : std::span(ops).last(static_cast<size_t>(call->ops))) {
        now.elements -= inner.elements;
        now.winners -= inner.winners;
        inner = {};
      }
    }
    for (const Tensor& x : op.inputs) trains = trains || (x && x.requires_grad());
    if (is_pool(op) && op.inputs[0].raw() == freeable) {
      now.elements -= ops.back().elements;
      ops.back().elements = 0;
    }
    freeable = freed_by_pool(op) ? op.output.raw() : nullptr;
    const bool winners = op.name == std::string_view("max_pool2d");
    ops.push_back({trains && keeps_result(op) ? elements : 0, trains && winners ? elements : 0});
    now.elements += ops.back().elements;
    now.winners += ops.back().winners;
    saved.elements = std::max(saved.elements, now.elements);
    saved.winners = std::max(saved.winners, now.winners);
    saved.largest = std::max(saved.largest, elements);
  });
  run_on_zeros(model, images);
  return saved;
}

}  // namespace fulcrum::apps
