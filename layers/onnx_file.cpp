#include <fulcrum/layers/onnx_file.h>

#include <bit>

namespace fulcrum {

namespace {

// Values of TensorProto.DataType and AttributeProto.AttributeType.
constexpr int64_t kFloatTensor = 1, kIntTensor = 7;
constexpr int64_t kFloatAttribute = 1, kIntAttribute = 2, kIntsAttribute = 7;
constexpr int64_t kIrVersion = 8;  // of ONNX 1.12

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

template <class T>
std::string_view bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

}  // namespace

std::string OnnxGraph::value_info(std::string_view name, const std::vector<int64_t>& shape) {
  ProtoMessage dims, tensor, type, info;
  for (const int64_t size : shape) {
    ProtoMessage dim;
    dims.bytes(1, size < 0 ? dim.bytes(2, "batch").text() : dim.integer(1, size).text());
  }
  tensor.integer(1, kFloatTensor).bytes(2, dims.text());
  type.bytes(1, tensor.text());
  return info.bytes(1, name).bytes(2, type.text()).text();
}

void OnnxGraph::initializer(std::string_view name, const std::vector<int64_t>& shape, int64_t type,
                            std::string_view raw) {
  ProtoMessage tensor;
  for (const int64_t size : shape) tensor.integer(1, size);
  graph_.bytes(5, tensor.integer(2, type).bytes(8, name).bytes(9, raw).text());
}

void OnnxGraph::floats(std::string_view name, const std::vector<int64_t>& shape, std::span<const float> values) {
  initializer(name, shape, kFloatTensor, bytes_of(values));
}

void OnnxGraph::integers(std::string_view name, const std::vector<int64_t>& values) {
  initializer(name, {std::ssize(values)}, kIntTensor, bytes_of(std::span<const int64_t>(values)));
}

void OnnxGraph::node(std::string_view op, const std::vector<std::string>& inputs, std::string_view output,
                     const std::vector<OnnxAttribute>& attributes) {
  ProtoMessage node;
  for (const std::string& input : inputs) node.bytes(1, input);
  node.bytes(2, output).bytes(3, output).bytes(4, op);
  for (const OnnxAttribute& a : attributes) {
    ProtoMessage attribute;
    attribute.bytes(1, a.name);
    if (const auto* i = std::get_if<int64_t>(&a.value)) attribute.integer(3, *i).integer(20, kIntAttribute);
    if (const auto* f = std::get_if<float>(&a.value)) attribute.real(2, *f).integer(20, kFloatAttribute);
    if (const auto* list = std::get_if<std::vector<int64_t>>(&a.value)) {
      for (const int64_t i : *list) attribute.integer(8, i);
      attribute.integer(20, kIntsAttribute);
    }
    node.bytes(5, attribute.text());
  }
  graph_.bytes(1, node.text());
  nodes_++;
}

std::string OnnxGraph::file(int64_t opset, std::string_view producer,
                            const std::map<std::string, std::string>& metadata) const {
  ProtoMessage model, opset_id;
  model.integer(1, kIrVersion).bytes(2, producer).bytes(7, graph_.text());
  model.bytes(8, opset_id.bytes(1, "").integer(2, opset).text());
  for (const auto& [key, value] : metadata) {
    ProtoMessage entry;
    model.bytes(14, entry.bytes(1, key).bytes(2, value).text());
  }
  return model.text();
}

}  // namespace fulcrum
