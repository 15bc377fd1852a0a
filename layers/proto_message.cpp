#include <fulcrum/layers/proto_message.h>

#include <bit>

namespace fulcrum {

static_assert(std::endian::native == std::endian::little, "fixed fields are little-endian");

void ProtoMessage::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
  text_ += static_cast<char>(value);
}

void ProtoMessage::key(int field, int wire_type) {
  varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}

template <class T>
ProtoMessage& ProtoMessage::fixed(int field, int wire_type, T value) {
  key(field, wire_type);
  text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  return *this;
}

ProtoMessage& ProtoMessage::integer(int field, int64_t value) {
  key(field, 0);
  varint(static_cast<uint64_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::real(int field, float value) { return fixed(field, 5, value); }
ProtoMessage& ProtoMessage::real64(int field, double value) { return fixed(field, 1, value); }

ProtoMessage& ProtoMessage::bytes(int field, std::string_view value) {
  key(field, 2);
  varint(value.size());
  text_ += value;
  return *this;
}

}  // namespace fulcrum
