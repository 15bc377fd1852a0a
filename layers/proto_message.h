// ProtoMessage: builds a protobuf message, for the formats that Fulcrum writes (ONNX files, TensorBoard's events). A
// message is a sequence of fields; each is a key (number, wire type) and a value: a varint, 4 or 8 bytes, or bytes
// preceded by their length.
//
//   ProtoMessage dim;
//   dim.integer(1, 3);
//   tensor.bytes(2, dim.text());
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fulcrum {

class ProtoMessage {
 public:
  ProtoMessage& integer(int field, int64_t value);
  ProtoMessage& real(int field, float value);
  ProtoMessage& real64(int field, double value);
  ProtoMessage& bytes(int field, std::string_view value);  // also for strings and sub-messages
  const std::string& text() const { return text_; }

 private:
  void key(int field, int wire_type);
  void varint(uint64_t value);
  template <class T>
  ProtoMessage& fixed(int field, int wire_type, T value);
  std::string text_;
};

}  // namespace fulcrum
