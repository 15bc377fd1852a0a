// Recompute: activation checkpointing, which trades a second forward pass for the memory of the activations.
// Saves only a function's inputs for the backward pass, not what its ops would save. The backward pass runs the
// function a second time, and then backward through the ops of this run (Chen et al., "Training Deep Nets with
// Sublinear Memory Cost", 2016; torch.utils.checkpoint).
//
//   Tensor y = recompute([&](const Tensor& x) { return block(x); }, images);
//   sum(y).backward();                       // runs block(images) again, then the gradients of its ops
//
// Gradients equal those of block(images), bit for bit if the ops are deterministic: dropout draws the same numbers in
// both runs, and only the first run updates running statistics.
#pragma once

#include <functional>
#include <vector>

#include <fulcrum/core/random.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// Returns f(inputs). f may also use parameters and other tensors, which get their gradients as well. Everything that f
/// refers to must stay alive and unchanged until the backward pass, which throws Error if f then returns another shape
/// or dtype, or draws random numbers more or fewer times. Under NoGrad there is no second run.
Tensor recompute(std::function<Tensor(const std::vector<Tensor>&)> f, std::vector<Tensor> inputs);
Tensor recompute(std::function<Tensor(const Tensor&)> f, const Tensor& input);

/// Whether this thread is in the second run of a function. State that changes once per step must not change in it.
bool recomputing();

/// Returns the generator that an op must draw from instead of `generator`. In a second run, it has the position that
/// `generator` had at the same draw of the first run. The position is on the device, so a recorded step replays it.
Generator drawn_again(const Generator& generator);

/// The OpDetail of "recompute", the op that an OpObserver sees after the ops of the first run.
struct RecomputeCall {
  int64_t ops;  // number of ops in the first run
};

}  // namespace fulcrum
