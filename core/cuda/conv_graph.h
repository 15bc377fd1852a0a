// The cuDNN frontend's graph of one convolution. One translation unit includes this: the frontend takes long to compile.
//
//   ConvGraph graph(problem);
//   const std::string problem_with_it = graph.find_plans(handle);     // empty: there are plans
//   for (int64_t index : graph.usable()) …                            // best first
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <cudnn_frontend.h>

#include <fulcrum/core/cuda/cudnn.h>

namespace fulcrum::cuda {

namespace fe = cudnn_frontend;
using TensorAttributes = std::shared_ptr<fe::graph::Tensor_attributes>;

/// Enough for every convolution of ResNet-50 at batch 256 in f32, whose plans copy x and y.
inline constexpr int64_t kMostWorkspace = int64_t{2} << 30;

enum Uid : int64_t { kX = 1, kW = 2, kY = 3, kBias = 4 };

inline fe::DataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32: return fe::DataType_t::FLOAT;
    case DType::kBf16: return fe::DataType_t::BFLOAT16;
    case DType::kF64: return fe::DataType_t::DOUBLE;
    default: fail("[conv2d] expected f32, bf16 or f64, got ", dtype);
  }
}

/// The frontend's graph of one convolution.
class ConvGraph : public fe::graph::Graph {
 public:
  explicit ConvGraph(const ConvProblem& problem) : problem_(problem) {
    const fe::DataType_t sums = type_of(master_dtype(problem.dtype));
    set_io_data_type(type_of(problem.dtype)).set_intermediate_data_type(sums).set_compute_data_type(sums);
    add_operations(sums);
  }

  /// Queries the heuristics. Returns why there are no plans, or an empty text.
  std::string find_plans(cudnnHandle_t handle) {
    fe::error_t e = validate();
    if (e.is_good()) e = build_operation_graph(handle);
    if (e.is_good()) e = create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
    if (e.is_bad()) return concat_text("cuDNN: ", e.get_message());
    using Note = fe::NumericalNote_t;
    std::vector<Note> refused{Note::NONDETERMINISTIC, Note::REDUCED_PRECISION_REDUCTION};
    if (problem_.dtype == DType::kF32 && !problem_.tf32)
      // The transforms of large tiles lose more digits than f32 has to spare.
      refused.insert(refused.end(), {Note::TENSOR_CORE, Note::DOWN_CONVERT_INPUTS, Note::FFT, Note::WINOGRAD_TILE_6x6,
                                     Note::WINOGRAD_TILE_13x13});
    if (problem_.dtype == DType::kF64) refused.insert(refused.end(), {Note::WINOGRAD, Note::FFT});
    deselect_numeric_notes(refused);
    deselect_workspace_greater_than(kMostWorkspace);
    return "";
  }

  /// Indices of the usable plans, best first; a plan that both heuristics propose appears once.
  std::vector<int64_t> usable() {
    std::vector<int64_t> indices;
    std::set<std::string> names;
    for (int64_t i = 0; i < get_execution_plan_count(); i++)
      if (plans.check_support_at_index(i).is_good() && names.insert(name(i)).second) indices.push_back(i);
    return indices;
  }

  std::string name(int64_t index) const {
    std::string name;
    fe::error_t e = get_plan_name_at_index(index, name);
    if (e.is_bad()) fail("[cuda] cuDNN: ", e.get_message(), " for plan ", index, " of ", describe(problem_));
    return name;
  }

 private:
  TensorAttributes add(Uid uid, int64_t n, int64_t c, int64_t h, int64_t w) {
    return tensor(fe::graph::Tensor_attributes().set_uid(uid).set_dim({n, c, h, w}).set_stride(strides(c, h, w)));
  }

  // Sizes in cuDNN's order, NCHW; memory in ours, NHWC.
  static std::vector<int64_t> strides(int64_t c, int64_t h, int64_t w) { return {c * h * w, 1, c * w, c}; }

  static void set_output(const TensorAttributes& t, Uid uid, int64_t n, int64_t c, int64_t h, int64_t w) {
    t->set_output(true).set_uid(uid).set_dim({n, c, h, w}).set_stride(strides(c, h, w));
  }

  template <class Attributes>
  Attributes window() const {
    const Conv2dGeometry& g = problem_.geometry;
    return Attributes()
        .set_padding({g.padding_h, g.padding_w})
        .set_stride({g.stride_h, g.stride_w})
        .set_dilation({g.dilation_h, g.dilation_w});
  }

  void add_operations(fe::DataType_t sums) {
    const Conv2dGeometry& g = problem_.geometry;
    const auto x = [&] { return add(kX, g.n, g.c, g.h, g.w); };
    const auto w = [&] { return add(kW, g.out_c, g.c / g.groups, g.kernel_h, g.kernel_w); };
    const auto y = [&] { return add(kY, g.n, g.out_c, g.out_h, g.out_w); };
    switch (problem_.pass) {
      case ConvPass::kForward: {
        TensorAttributes out = conv_fprop(x(), w(), window<fe::graph::Conv_fprop_attributes>());
        if (problem_.bias) {
          const TensorAttributes bias = add(kBias, 1, g.out_c, 1, 1);
          bias->set_data_type(sums);
          out = pointwise(out, bias, fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD));
        }
        return set_output(out, kY, g.n, g.out_c, g.out_h, g.out_w);
      }
      case ConvPass::kDataGradient:
        return set_output(conv_dgrad(y(), w(), window<fe::graph::Conv_dgrad_attributes>()), kX, g.n, g.c, g.h, g.w);
      case ConvPass::kWeightGradient:
        return set_output(conv_wgrad(y(), x(), window<fe::graph::Conv_wgrad_attributes>()), kW, g.out_c, g.c / g.groups,
                          g.kernel_h, g.kernel_w);
    }
  }

  const ConvProblem problem_;
};

}  // namespace fulcrum::cuda
