#include <fulcrum/core/cuda/conv_trial.h>

#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/random.h>

namespace fulcrum::cuda {

namespace {

// Random numbers for one image (or filter) times one for each image: drawn on the host, where all of them would take
// seconds.
Tensor numbers(const Shape& s, const TensorOptions& options, uint64_t stream) {
  const TensorOptions drawn{DType::kF32, options.device};
  Tensor one = empty({1, s[1], s[2], s[3]}, drawn), factor = empty({s[0], 1, 1, 1}, drawn);
  fill_uniform(one, -1, 1, /*seed=*/0, stream);
  fill_uniform(factor, 0.5, 1.5, /*seed=*/1, stream);
  Tensor all = empty(s, options);
  Cuda::binary<Mul>(all, one.to(options.dtype), factor.to(options.dtype));
  return all;
}

double largest(const Tensor& t) {
  Tensor magnitude = empty({t.numel()}, options_of(t)), most = empty({1}, options_of(t));
  Cuda::unary<Abs>(magnitude, t.reshape({t.numel()}));
  Cuda::reduce_max(most, magnitude);
  return most.item();
}

}  // namespace

ConvTrial::ConvTrial(const ConvProblem& problem, Device device) : pass_(problem.pass) {
  const Conv2dGeometry& g = problem.geometry;
  const TensorOptions options{problem.dtype, device};
  x_ = numbers({g.n, g.h, g.w, g.c}, options, 0);
  w_ = numbers({g.out_c, g.kernel_h, g.kernel_w, g.c / g.groups}, options, 1);
  y_ = numbers({g.n, g.out_h, g.out_w, g.out_c}, options, 2);
  bias_ = ones({g.out_c}, {master_dtype(problem.dtype), device});
}

Tensor& ConvTrial::result() {
  switch (pass_) {
    case ConvPass::kForward: return y_;
    case ConvPass::kDataGradient: return x_;
    case ConvPass::kWeightGradient: return w_;
  }
  return y_;
}

double ConvTrial::difference(const Tensor& other) {
  const Tensor own = result().to(master_dtype(result().dtype()));
  Tensor difference = empty_like(own);
  Cuda::binary<Sub>(difference, own, other.to(own.dtype()));
  return largest(difference) / largest(own);
}

}  // namespace fulcrum::cuda
