// The cuDNN graphs that the probe times.
#pragma once

#include <cudnn_frontend.h>

#include <array>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace probe {

namespace fe = cudnn_frontend;
using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

enum class Numbers { kBf16, kTf32, kF32 };
enum class Pass { kForward, kDataGradient, kWeightGradient };
enum class NormKind { kRelu, kAddRelu, kReluGradient, kAddReluGradient };

inline const char* name_of(Numbers n) { return std::array{"bf16", "tf32", "f32"}[static_cast<size_t>(n)]; }
inline const char* name_of(Pass p) {
  return std::array{"forward", "data gradient", "weight gradient"}[static_cast<size_t>(p)];
}
inline const char* name_of(NormKind k) {
  return std::array{"bn+relu", "bn+add+relu", "bn+relu gradient", "bn+add+relu gradient"}[static_cast<size_t>(k)];
}

/// A square convolution, padded by half its kernel.
struct Conv {
  int64_t n, c, side, k, kernel, stride;

  int64_t padding() const { return kernel / 2; }
  int64_t out() const { return (side + 2 * padding() - kernel) / stride + 1; }
  double gflop() const { return 2e-9 * static_cast<double>(n * out() * out() * k * c * kernel * kernel); }
  double megabytes(Numbers numbers) const {  // of x, w and y
    const int64_t values = n * c * side * side + k * c * kernel * kernel + n * k * out() * out();
    return 1e-6 * static_cast<double>(values * (numbers == Numbers::kBf16 ? 2 : 4));
  }
  std::string text() const {
    const auto s = [](int64_t v) { return std::to_string(v); };
    return "n" + s(n) + " " + s(c) + "->" + s(k) + " " + s(kernel) + "x" + s(kernel) + "/" + s(stride) + " at " +
           s(side) + "x" + s(side);
  }
};

struct Norm {
  int64_t n, c, side;
  int64_t rows() const { return n * side * side; }
  double megabytes(NormKind kind) const {  // read and written by one kernel that keeps x
    const bool add = kind == NormKind::kAddRelu || kind == NormKind::kAddReluGradient;
    const bool forward = kind == NormKind::kRelu || kind == NormKind::kAddRelu;
    return 2e-6 * static_cast<double>(rows() * c) * ((forward ? 2 : 3) + (add ? 1 : 0));
  }
  std::string text() const {
    return "n" + std::to_string(n) + " c" + std::to_string(c) + " " + std::to_string(side) + "x" + std::to_string(side);
  }
};

/// A graph with the sizes of its tensors.
class ProbeGraph : public fe::graph::Graph {
 public:
  explicit ProbeGraph(Numbers numbers) : numbers_(numbers) {
    set_io_data_type(numbers == Numbers::kBf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::FLOAT);
    set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
  }

  /// A channels-last tensor of the graph's type, or of `type`: FLOAT, or BOOLEAN with a bit per element.
  Tensor input(std::vector<int64_t> dim, fe::DataType_t type = fe::DataType_t::NOT_SET) {
    auto attributes = fe::graph::Tensor_attributes().set_dim(dim).set_stride(strides(dim)).set_uid(take_uid(dim, type));
    if (type != fe::DataType_t::NOT_SET) attributes.set_data_type(type);
    return tensor(attributes);
  }
  void output(const Tensor& t, std::vector<int64_t> dim, fe::DataType_t type = fe::DataType_t::NOT_SET) {
    t->set_output(true).set_dim(dim).set_stride(strides(dim)).set_uid(take_uid(dim, type));
    if (type != fe::DataType_t::NOT_SET) t->set_data_type(type);
  }

  /// Returns why there are no plans, or an empty text. With a device's properties no handle is needed.
  std::string find_plans(cudnnHandle_t handle, const std::shared_ptr<fe::DeviceProperties>& device) {
    if (device) set_device_properties(device);
    fe::error_t e = validate();
    if (e.is_good()) e = build_operation_graph(handle);
    if (e.is_good()) e = create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
    if (e.is_bad()) return "no plans: " + e.get_message();
    if (numbers_ == Numbers::kF32)
      deselect_numeric_notes({fe::NumericalNote_t::TENSOR_CORE, fe::NumericalNote_t::DOWN_CONVERT_INPUTS});
    deselect_numeric_notes({fe::NumericalNote_t::NONDETERMINISTIC});
    deselect_workspace_greater_than(int64_t{2} << 30);
    return "";
  }
  std::vector<int64_t> usable() {
    std::vector<int64_t> indices;
    std::set<std::string> names;
    for (int64_t i = 0; i < get_execution_plan_count(); i++)
      if (plans.check_support_at_index(i).is_good() && names.insert(name(i)).second) indices.push_back(i);
    return indices;
  }
  std::string name(int64_t i) const {
    std::string name;
    if (get_plan_name_at_index(i, name).is_bad()) throw std::runtime_error("a plan without a name");
    return name;
  }
  bool build(int64_t i) { return build_plan_at_index(i).is_good(); }
  int64_t workspace(int64_t i) const { return get_workspace_size_plan_at_index(i); }
  void execute(cudnnHandle_t handle, std::unordered_map<int64_t, void*> pointers, void* workspace, int64_t i) const {
    fe::error_t e = execute_plan_at_index(handle, pointers, workspace, i);
    if (e.is_bad()) throw std::runtime_error("execute: " + e.get_message());
  }
  /// The bytes of each tensor, by uid.
  const std::map<int64_t, size_t>& bytes() const { return bytes_; }

 private:
  static std::vector<int64_t> strides(const std::vector<int64_t>& d) {
    return {d[1] * d[2] * d[3], 1, d[1] * d[3], d[1]};
  }
  int64_t take_uid(const std::vector<int64_t>& d, fe::DataType_t type) {
    const int64_t values = d[0] * d[1] * d[2] * d[3];
    const bool half = type == fe::DataType_t::NOT_SET && numbers_ == Numbers::kBf16;
    const int64_t uid = static_cast<int64_t>(bytes_.size()) + 1;
    bytes_[uid] = static_cast<size_t>(type == fe::DataType_t::BOOLEAN ? (values + 7) / 8 : values * (half ? 2 : 4));
    return uid;
  }

  Numbers numbers_;
  std::map<int64_t, size_t> bytes_;
};

ProbeGraph conv_graph(const Conv& g, Pass pass, Numbers numbers);
/// The convolution in bf16 with the sums of its output and of its output's squares per channel.
ProbeGraph conv_sums_graph(const Conv& g);
/// cuDNN's batch norm in one kernel. The gradient with addition also writes the residual's.
ProbeGraph norm_graph(const Norm& n, NormKind kind);
/// The properties of an H200 that cuDNN asks for.
std::shared_ptr<fe::DeviceProperties> h200();

}  // namespace probe
