// Recompute: of a function its inputs are kept for the backward pass, not what its ops would keep. There it runs a
// second time, and its ops take its place in the pass (activation checkpointing: Chen et al., "Training Deep Nets with
// Sublinear Memory Cost", 2016; torch.utils.checkpoint).
//
//   Tensor y = recompute([&](const Tensor& x) { return block(x); }, images);
//   sum(y).backward();                       // runs block(images) again, then the gradients of its ops
//
// One more forward pass buys the memory of the activations. Gradients are those of block(images), bit for bit where the
// ops are deterministic: dropout draws its numbers a second time, running statistics move in the first run alone.
#pragma once

#include <functional>
#include <vector>

#include <fulcrum/core/random.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// f(inputs). f may use parameters and other tensors beside its inputs; they get their gradients, too. Whatever it
/// refers to must live, and be as it is now, until the backward pass, in which an Error says that f gave another shape
/// or drew other random numbers. Under NoGrad there is no second run.
Tensor recompute(std::function<Tensor(const std::vector<Tensor>&)> f, std::vector<Tensor> inputs);
Tensor recompute(std::function<Tensor(const Tensor&)> f, const Tensor& input);

/// Whether this thread is in the second run of a function: what changes from step to step has then changed already.
bool recomputing();

/// For ops that draw random numbers: the generator to draw from in place of `generator`. In a second run it stands
/// where that stood at the same draw of the first; its position is on the device, so that a recorded step replays it.
Generator drawn_again(const Generator& generator);

/// The OpDetail of "recompute", the op that an OpObserver sees after the ops of the first run.
struct RecomputeCall {
  int64_t ops;  // how many they were
};

}  // namespace fulcrum
