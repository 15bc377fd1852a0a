// OnnxGraph: writes the part of ONNX's protobuf schema (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3)
// that a graph of standard operators needs.
//
//   OnnxGraph graph("resnet32");
//   graph.input("images", {-1, 3, 32, 32});
//   graph.floats("conv1.weight", {16, 3, 3, 3}, numbers);
//   graph.node("Conv", {"images", "conv1.weight"}, "1", {{"pads", {1, 1, 1, 1}}});
//   graph.output("logits", {-1, 10});
//   std::string file = graph.file(17, "fulcrum", {{"classes", "…"}});
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fulcrum/layers/proto_message.h>

namespace fulcrum {

struct OnnxAttribute {
  std::string name;
  std::variant<int64_t, float, std::vector<int64_t>> value;
};

class OnnxGraph {
 public:
  explicit OnnxGraph(std::string_view name) { graph_.bytes(2, name); }
  /// Declare an f32 input or output; a dimension of -1 is the batch.
  void input(std::string_view name, const std::vector<int64_t>& shape) { graph_.bytes(11, value_info(name, shape)); }
  void output(std::string_view name, const std::vector<int64_t>& shape) { graph_.bytes(12, value_info(name, shape)); }
  /// Add a constant (an initializer).
  void floats(std::string_view name, const std::vector<int64_t>& shape, std::span<const float> values);
  void integers(std::string_view name, const std::vector<int64_t>& values);
  void node(std::string_view op, const std::vector<std::string>& inputs, std::string_view output,
            const std::vector<OnnxAttribute>& attributes = {});
  int64_t nodes() const { return nodes_; }
  /// Returns the contents of the ONNX file.
  std::string file(int64_t opset, std::string_view producer, const std::map<std::string, std::string>& metadata) const;

 private:
  static std::string value_info(std::string_view name, const std::vector<int64_t>& shape);
  void initializer(std::string_view name, const std::vector<int64_t>& shape, int64_t type, std::string_view raw);
  ProtoMessage graph_;
  int64_t nodes_ = 0;
};

}  // namespace fulcrum
