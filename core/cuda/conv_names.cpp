// Describes convolutions in words, for errors and stored plans.
#include <fulcrum/core/cuda/cudnn.h>

namespace fulcrum::cuda {

const char* name_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::kForward: return "conv2d";
    case ConvPass::kDataGradient: return "conv2d_data_gradient";
    case ConvPass::kWeightGradient: return "conv2d_weight_gradient";
  }
  return "conv2d";
}

std::string describe(const ConvProblem& problem) {
  const Conv2dGeometry& g = problem.geometry;
  return concat_text(name_of(problem.pass), " ", problem.dtype, problem.tf32 ? " as tf32" : "", ", x ",
                     Shape{g.n, g.h, g.w, g.c}, ", weight ", Shape{g.out_c, g.kernel_h, g.kernel_w, g.c / g.groups},
                     ", stride ", Shape{g.stride_h, g.stride_w}, ", padding ", Shape{g.padding_h, g.padding_w},
                     ", dilation ", Shape{g.dilation_h, g.dilation_w}, ", groups ", g.groups,
                     problem.bias ? ", bias" : "");
}

}  // namespace fulcrum::cuda
