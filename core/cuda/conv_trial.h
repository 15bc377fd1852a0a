// Numbers to try the kernels of a convolution on: to time them, and to see whether two of them compute the same.
//
//   ConvTrial trial(problem, device);
//   conv3x3(problem, trial.pointers());
//   const Tensor own = trial.result().clone();
//   plan.run(trial.pointers());
//   if (trial.difference(own) > kAgrees) …
#pragma once

#include <fulcrum/core/cuda/cudnn.h>

namespace fulcrum::cuda {

class ConvTrial {
 public:
  /// Fills x, w and y with numbers that depend on each of their indices.
  ConvTrial(const ConvProblem& problem, Device device);
  ConvPointers pointers() const { return {x_.raw(), w_.raw(), y_.raw(), bias_.raw()}; }
  /// The one of x, w and y that the problem's pass writes.
  Tensor& result();
  /// The largest difference between an element of result() and of `other`, over the largest element of result(). NaN
  /// if there is a NaN.
  double difference(const Tensor& other);
  /// Above what rounding to bf16 makes of sums in different orders, below what a wrong element of usual size makes.
  static constexpr double kAgrees = 0.01;

 private:
  ConvPass pass_;
  Tensor x_, w_, y_, bias_;
};

}  // namespace fulcrum::cuda
