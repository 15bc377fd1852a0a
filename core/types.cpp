#include <fulcrum/core/types.h>

#include <charconv>
#include <ostream>

namespace fulcrum {

namespace {
struct DTypeRow {
  DType dtype;
  const char* name;
  size_t bytes;
};
constexpr DTypeRow kDTypes[] = {{DType::kF32, "f32", 4}, {DType::kBf16, "bf16", 2}, {DType::kF64, "f64", 8},
                                {DType::kU8, "u8", 1},   {DType::kI32, "i32", 4},   {DType::kI64, "i64", 8}};
}  // namespace

size_t size_of(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].bytes; }
const char* name_of(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }

DType parse_dtype(std::string_view name) {
  for (const auto& row : kDTypes)
    if (name == row.name) return row.dtype;
  fail("[dtype] expected f32, bf16, f64, u8, i32 or i64, got '", name, "'");
}

std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }

Device::Device(std::string_view name) {
  if (name == "cpu") return;
  const std::string_view prefix = "cuda";
  bool valid = name.substr(0, prefix.size()) == prefix;
  std::string_view rest = valid ? name.substr(prefix.size()) : name;
  if (valid && !rest.empty()) {
    valid = rest.size() > 1 && rest[0] == ':';
    if (valid) {
      const auto [end, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), index);
      valid = error == std::errc{} && end == rest.data() + rest.size() && index >= 0;
    }
  }
  check(valid, "[device] expected cpu, cuda or cuda:N, got '", name, "'");
  kind = Kind::kCuda;
}

std::string Device::str() const { return is_cpu() ? "cpu" : "cuda:" + std::to_string(index); }
std::ostream& operator<<(std::ostream& out, const Device& device) { return out << device.str(); }

Shape::Shape(std::initializer_list<int64_t> sizes) {
  for (int64_t s : sizes) push_back(s);
}
Shape::Shape(const std::vector<int64_t>& sizes) {
  for (int64_t s : sizes) push_back(s);
}

void Shape::push_back(int64_t size) {
  check(dim_ < kMaxDims, "[shape] expected at most ", kMaxDims, " dimensions, got more after ", *this);
  sizes_[static_cast<size_t>(dim_++)] = size;
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int i = 0; i < dim_; i++) n *= sizes_[static_cast<size_t>(i)];
  return n;
}

int Shape::index(int i) const {
  const int j = i < 0 ? i + dim_ : i;
  check(j >= 0 && j < dim_, "[shape] dimension ", i, " is out of range for ", *this);
  return j;
}

Shape Shape::without(int i) const {
  const int skip = index(i);
  Shape s;
  for (int j = 0; j < dim_; j++)
    if (j != skip) s.push_back((*this)[j]);
  return s;
}

std::string Shape::str() const {
  std::string s = "[";
  for (int i = 0; i < dim_; i++) s += (i ? ", " : "") + std::to_string((*this)[i]);
  return s + "]";
}
std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

}  // namespace fulcrum
