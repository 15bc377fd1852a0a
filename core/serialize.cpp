#include <fulcrum/core/serialize.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include <fulcrum/core/serialize_json.h>

namespace fulcrum {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

namespace {

namespace fs = std::filesystem;
using header_json::is_utf8;
using header_json::quote;
using header_json::shown;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit
constexpr size_t kAlignment = 8;                   // of the tensor data in the file
constexpr std::string_view kMetadataKey = "__metadata__";

struct DTypeName {
  DType dtype;
  std::string_view name;
};
constexpr DTypeName kDTypeNames[] = {{DType::kF32, "F32"}, {DType::kBf16, "BF16"}, {DType::kF64, "F64"},
                                     {DType::kU8, "U8"},   {DType::kI32, "I32"},   {DType::kI64, "I64"}};

// ---- the header ----

// Reads the header and checks each tensor by itself; check_layout() checks them together.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& file, uint64_t data_begin)
      : json_(text, "[load_tensors] " + file), file_(file), data_begin_(data_begin) {}

  TensorIndex read() {
    bool has_metadata = false;
    json_.object([&](const std::string& key) {
      if (key == kMetadataKey) {
        check(!std::exchange(has_metadata, true), "[load_tensors] ", file_, ": expected one ", kMetadataKey,
              ", got a second");
        json_.object([&](const std::string& k) {
          check(index_.metadata.emplace(k, json_.string()).second, "[load_tensors] ", file_, ": metadata ", shown(k),
                ": expected one, got a second");
        });
      } else {
        check(index_.entries.emplace(key, entry(key)).second, "[load_tensors] ", file_, ": tensor ", shown(key),
              ": expected one of that name, got a second");
      }
    });
    json_.finish();
    return std::move(index_);
  }

 private:
  template <class... Parts>
  void check_tensor(bool condition, const std::string& name, const Parts&... parts) const {
    if (!condition) fail("[load_tensors] ", file_, ": tensor ", shown(name), ": ", parts...);
  }

  TensorEntry entry(const std::string& name) {
    std::optional<std::string> dtype;
    std::optional<std::vector<uint64_t>> shape, offsets;
    json_.object([&](const std::string& key) {
      const bool known =
          (key == "dtype" && !dtype) || (key == "shape" && !shape) || (key == "data_offsets" && !offsets);
      check_tensor(known, name, "expected dtype, shape and data_offsets, each once, got ", shown(key));
      if (key == "dtype") dtype = json_.string();
      if (key == "shape") shape = json_.numbers(Shape::kMaxDims);
      if (key == "data_offsets") offsets = json_.numbers(2);
    });
    check_tensor(dtype && shape && offsets, name, "expected dtype, shape and data_offsets, got no ",
                 !dtype   ? "dtype"
                 : !shape ? "shape"
                          : "data_offsets");
    check_tensor(offsets->size() == 2, name, "expected two data_offsets, got ", offsets->size());
    return checked_entry(name, *dtype, *shape, (*offsets)[0], (*offsets)[1]);
  }

  TensorEntry checked_entry(const std::string& name, const std::string& dtype, const std::vector<uint64_t>& shape,
                            uint64_t begin, uint64_t end) {
    const auto* row = std::find_if(std::begin(kDTypeNames), std::end(kDTypeNames),
                                   [&](const DTypeName& d) { return d.name == dtype; });
    check_tensor(row != std::end(kDTypeNames), name, "expected dtype F32, BF16, F64, U8, I32 or I64, got ",
                 shown(dtype));
    TensorEntry e{row->dtype, {}, 0, 0};
    uint64_t bytes = size_of(row->dtype);
    for (const uint64_t size : shape) {
      check_tensor(size > 0, name, "expected sizes of at least 1, got a size of 0");
      check_tensor(!__builtin_mul_overflow(bytes, size, &bytes) && bytes <= INT64_MAX, name,
                   "expected fewer than 2^63 bytes, got a larger shape");
      e.shape.push_back(static_cast<int64_t>(size));
    }
    check_tensor(begin <= end && end - begin == bytes, name, "expected ", bytes, " bytes for ", dtype, " ", e.shape,
                 ", got data_offsets [", begin, ", ", end, "]");
    check_tensor(
        !__builtin_add_overflow(begin, data_begin_, &e.begin) && !__builtin_add_overflow(end, data_begin_, &e.end),
        name, "expected data_offsets inside the file, got [", begin, ", ", end, "]");
    return e;
  }

  header_json::Reader json_;
  const std::string& file_;
  uint64_t data_begin_;
  TensorIndex index_;
};

// Checks that the tensors fill [data_begin, size) in some order, without overlaps, gaps or a remainder.
void check_layout(const TensorIndex& index, const std::string& file, uint64_t data_begin, uint64_t size) {
  std::vector<std::pair<const std::string*, const TensorEntry*>> order;
  for (const auto& [name, entry] : index.entries) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second->begin < b.second->begin; });
  uint64_t expected = data_begin;
  for (const auto& [name, entry] : order) {
    check(entry->begin == expected, "[load_tensors] ", file, ": tensor ", shown(*name),
          ": expected its data_offsets to start at ", expected - data_begin, ", where the tensor before it ends, got ",
          entry->begin - data_begin);
    check(entry->end <= size, "[load_tensors] ", file, ": tensor ", shown(*name), ": expected a file of at least ",
          entry->end, " bytes, got ", size, " (truncated?)");
    expected = entry->end;
  }
  check(expected == size, "[load_tensors] ", file, ": expected a file of ", expected, " bytes as its header says, got ",
        size);
}

std::string header_text(const TensorFile& file, const std::vector<TensorMap::const_iterator>& order) {
  std::string header = "{";
  if (!file.metadata.empty()) {
    header += quote(kMetadataKey) + ":{";
    for (const auto& [key, text] : file.metadata) header += quote(key) + ":" + quote(text) + ",";
    header.back() = '}';
    header += ',';
  }
  uint64_t begin = 0;
  for (const auto& it : order) {
    const Tensor& t = it->second;
    std::string shape = "[";
    for (int i = 0; i < t.dim(); i++) shape += (i ? "," : "") + std::to_string(t.size(i));
    header += quote(it->first) + ":{\"dtype\":\"" + std::string(kDTypeNames[static_cast<size_t>(t.dtype())].name) +
              "\",\"shape\":" + shape + "],\"data_offsets\":[" + std::to_string(begin) + "," +
              std::to_string(begin + t.bytes()) + "]},";
    begin += t.bytes();
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.resize((header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return header;
}

// ---- files ----

[[noreturn]] void fail_errno(const char* op, const fs::path& path, const char* action) {
  const int code = errno;
  fail("[", op, "] ", path.string(), ": cannot ", action, ": ", std::generic_category().message(code));
}

// An open file, closed on destruction.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  /// Returns whether close() succeeded: the system may report a failed write only here.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

// Removes a temporary file on destruction, unless keep() was called because it has been renamed.
class Temporary {
 public:
  explicit Temporary(fs::path path) : path_(std::move(path)) {}
  ~Temporary() {
    if (!kept_) ::unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void keep() { kept_ = true; }

 private:
  fs::path path_;
  bool kept_ = false;
};

Descriptor open_for_reading(const fs::path& path, uint64_t& size) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not block
  if (fd < 0) fail_errno("load_tensors", path, "open");
  struct stat status {};
  const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  if (!regular) {
    ::close(fd);
    fail("[load_tensors] ", path.string(), ": expected a regular file");
  }
  size = static_cast<uint64_t>(status.st_size);
  return Descriptor(fd);
}

void read_at(const Descriptor& file, const fs::path& path, uint64_t offset, void* data, uint64_t bytes) {
  auto* out = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::pread(file.get(), out, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("load_tensors", path, "read");
    check(n > 0, "[load_tensors] ", path.string(), ": expected ", bytes, " more bytes at ", offset,
          ", got the end of the file");
    out += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<uint64_t>(n);
  }
}

TensorIndex read_index(const Descriptor& file, const fs::path& path, uint64_t size) {
  const std::string name = path.string();
  uint64_t length = 0;
  check(size >= sizeof length, "[load_tensors] ", name, ": expected a safetensors file of at least 8 bytes, got ",
        size);
  read_at(file, path, 0, &length, sizeof length);
  check(length <= size - sizeof length && length <= kMaxHeaderBytes, "[load_tensors] ", name,
        ": expected a safetensors header of at most ", std::min(size - sizeof length, kMaxHeaderBytes),
        " bytes, got a length of ", length);
  std::string text(length, '\0');
  read_at(file, path, sizeof length, text.data(), length);
  const uint64_t data_begin = sizeof length + length;
  TensorIndex index = HeaderReader(text, name, data_begin).read();
  check_layout(index, name, data_begin, size);
  return index;
}

void write_all(const Descriptor& file, const fs::path& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("write", path, "write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

TensorIndex read_tensor_index(const fs::path& path) {
  uint64_t size = 0;
  const Descriptor file = open_for_reading(path, size);
  return read_index(file, path, size);
}

TensorFile load_tensors(const fs::path& path) {
  uint64_t size = 0;
  const Descriptor file = open_for_reading(path, size);
  TensorIndex index = read_index(file, path, size);
  TensorFile result;
  result.metadata = std::move(index.metadata);
  for (const auto& [name, entry] : index.entries) {
    Tensor t = empty(entry.shape, {entry.dtype, Device()});
    read_at(file, path, entry.begin, t.raw(), entry.end - entry.begin);
    result.tensors.emplace(name, std::move(t));
  }
  return result;
}

void save_tensors(const fs::path& path, const TensorFile& file) {
  std::vector<TensorMap::const_iterator> order;
  for (auto it = file.tensors.begin(); it != file.tensors.end(); ++it) {
    check(it->second.defined(), "[save_tensors] expected tensors, got an undefined one named ", shown(it->first));
    check(it->first != kMetadataKey && is_utf8(it->first), "[save_tensors] expected a name in UTF-8 other than ",
          kMetadataKey, ", got ", is_utf8(it->first) ? it->first : "invalid bytes");
    order.push_back(it);
  }
  for (const auto& [key, text] : file.metadata)
    check(is_utf8(key) && is_utf8(text), "[save_tensors] expected metadata in UTF-8");
  // Sort by decreasing dtype size, so that every tensor is aligned without padding.
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  const std::string header = header_text(file, order);
  check(header.size() <= kMaxHeaderBytes, "[save_tensors] ", path.string(), ": expected a header of at most ",
        kMaxHeaderBytes, " bytes, got ", header.size());
  const uint64_t length = header.size();
  std::vector<std::string_view> pieces{{reinterpret_cast<const char*>(&length), sizeof length}, header};
  std::vector<Tensor> host;  // keeps copies of tensors from other devices alive
  for (const auto& it : order) {
    host.push_back(it->second.to(Device()));
    pieces.emplace_back(static_cast<const char*>(std::as_const(host.back()).raw()), host.back().bytes());
  }
  write_file_atomically(path, pieces);
}

void write_file_atomically(const fs::path& path, const std::vector<std::string_view>& pieces) {
  std::error_code ignored;
  const fs::file_status there = fs::status(path, ignored);
  check(!fs::exists(there) || fs::is_regular_file(there) || fs::is_directory(there), "[write] ", path.string(),
        ": expected a file that can be replaced, got a device, pipe or socket");
  fs::path beside = path;
  beside += ".tmp";
  Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) fail_errno("write", beside, "create");
  Temporary temporary(beside);
  for (const std::string_view piece : pieces) write_all(file, path, piece);
  if (::fsync(file.get()) != 0) fail_errno("write", path, "sync");
  if (!file.close()) fail_errno("write", path, "close");
  if (::rename(beside.c_str(), path.c_str()) != 0) fail_errno("write", path, "replace");
  temporary.keep();
  sync_folder(path);
}

// EINVAL and ENOTSUP are not errors: some file systems cannot sync a folder, and their renames are durable anyway.
void sync_folder(const fs::path& file) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || (::fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP))
    fail_errno("write", folder, "sync the folder");
}

std::string read_text_file(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail_errno("read", path, "open");
  std::string text;
  char piece[1 << 16];
  for (;;) {
    const ssize_t n = ::read(file.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read", path, "read");
    if (n == 0) return text;
    text.append(piece, static_cast<size_t>(n));
  }
}

}  // namespace fulcrum
