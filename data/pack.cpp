#include <fulcrum/data/pack.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fulcrum/core/serialize.h>
#include <fulcrum/core/serialize_json.h>
#include <fulcrum/data/parallel.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;
using header_json::quote;

constexpr const char* kFormat = "fulcrum-pack";

[[noreturn]] void fail_errno(const fs::path& path, const char* action) {
  fail("[pack] ", path.string(), ": cannot ", action, ": ", std::generic_category().message(errno));
}

std::string class_array(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names) text += (text.size() > 1 ? ", " : "") + quote(name);
  return text + "]";
}

/// Length, header and labels: everything before the images.
std::string head_of(const Dataset& data) {
  const Shape& image = data.image_shape();
  const auto labels_bytes = static_cast<uint64_t>(data.size()) * sizeof(int64_t);
  const uint64_t end = labels_bytes + static_cast<uint64_t>(data.size() * image.numel());
  std::string header = concat_text(
      R"({"__metadata__":{"classes":)", quote(class_array(data.class_names())), R"(,"format":)",
      quote(kFormat), R"(,"version":)", quote(kPackVersion),
      R"(},"labels":{"dtype":"I64","shape":[)", data.size(), R"(],"data_offsets":[0,)",
      labels_bytes, R"(]},"images":{"dtype":"U8","shape":[)", data.size(), ",", image[0], ",",
      image[1], ",", image[2], R"(],"data_offsets":[)", labels_bytes, ",", end, "]}}");
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  std::string head(reinterpret_cast<const char*>(&length), sizeof length);
  head += header;
  head.append(reinterpret_cast<const char*>(data.clean_labels().data()), labels_bytes);
  return head;
}

/// A new file beside `path` that takes its place at the end, or goes away.
class NewFile {
 public:
  explicit NewFile(const fs::path& path) : path_(path), beside_(path.string() + ".tmp") {
    fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd_ < 0) fail_errno(beside_, "create");
  }
  ~NewFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(beside_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// From any number of threads.
  void write_at(uint64_t offset, const void* data, size_t bytes) const {
    const auto* from = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t n = ::pwrite(fd_, from, bytes, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail_errno(path_, "write");
      from += n;
      offset += static_cast<uint64_t>(n);
      bytes -= static_cast<size_t>(n);
    }
  }

  void finish() {
    if (::fsync(fd_) != 0) fail_errno(path_, "sync");
    if (::rename(beside_.c_str(), path_.c_str()) != 0) fail_errno(path_, "replace");
    if (::close(std::exchange(fd_, -1)) != 0) fail_errno(path_, "close");
  }

 private:
  fs::path path_, beside_;
  int fd_ = -1;
};

/// The whole file, read-only.
std::shared_ptr<const uint8_t> map_file(const fs::path& path, size_t bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno(path, "open");
  void* data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  const int reason = errno;
  ::close(fd);
  errno = reason;
  if (data == MAP_FAILED) fail_errno(path, "map");
  return {static_cast<const uint8_t*>(data),
          [bytes](const uint8_t* p) { ::munmap(const_cast<uint8_t*>(p), bytes); }};
}

std::string metadata_of(const TensorIndex& index, const fs::path& path, const std::string& key) {
  const auto it = index.metadata.find(key);
  check(it != index.metadata.end(), "[pack] ", path.string(), ": expected metadata '", key,
        "'; `fulcrum data pack` writes packs");
  return it->second;
}

const TensorEntry& entry_of(const TensorIndex& index, const fs::path& path, const char* name,
                            DType dtype, int dim) {
  const auto it = index.entries.find(name);
  check(it != index.entries.end(), "[pack] ", path.string(), ": expected a tensor ", name);
  const TensorEntry& entry = it->second;
  check(entry.dtype == dtype && entry.shape.dim() == dim, "[pack] ", path.string(), ": tensor ",
        name, ": expected ", dtype, " of ", dim, " dimensions, got ", entry.dtype, " ",
        entry.shape);
  return entry;
}

}  // namespace

struct PackDataset::Contents {
  Shape image_shape;
  std::vector<int64_t> labels;
  std::vector<std::string> class_names;
  std::shared_ptr<const uint8_t> pixels;

  explicit Contents(const fs::path& path) {
    const TensorIndex index = read_tensor_index(path);
    const std::string format = metadata_of(index, path, "format");
    check(format == kFormat, "[pack] ", path.string(), ": expected format '", kFormat, "', got '",
          format, "'");
    const std::string version = metadata_of(index, path, "version");
    check(version == kPackVersion, "[pack] ", path.string(), ": expected version ", kPackVersion,
          " of the format, which this program reads, got ", version,
          "; pack the data again with this program");
    const TensorEntry& labels_entry = entry_of(index, path, "labels", DType::kI64, 1);
    const TensorEntry& images = entry_of(index, path, "images", DType::kU8, 4);
    check(images.shape[0] == labels_entry.shape[0], "[pack] ", path.string(), ": expected a label ",
          "for each of ", images.shape[0], " images, got ", labels_entry.shape[0]);
    image_shape = images.shape.without(0);
    read_class_names("{\"classes\":" + metadata_of(index, path, "classes") + "}", path);
    const auto file = map_file(path, std::max(images.end, labels_entry.end));
    labels.resize(static_cast<size_t>(labels_entry.shape[0]));
    std::memcpy(labels.data(), file.get() + labels_entry.begin, labels.size() * sizeof(int64_t));
    check_labels(labels, std::ssize(class_names), concat_text("[pack] ", path.string(), ": "));
    pixels = {file, file.get() + images.begin};
  }

  void read_class_names(const std::string& json, const fs::path& path) {
    header_json::Reader reader(json, concat_text("[pack] ", path.string(), ": metadata 'classes'"));
    reader.object([&](const std::string&) { class_names = reader.strings(); });
    reader.finish();
  }
};

void save_pack(const fs::path& path, const Dataset& dataset, int threads) {
  NewFile file(path);
  const std::string head = head_of(dataset);
  file.write_at(0, head.data(), head.size());
  const auto image_bytes = static_cast<size_t>(dataset.image_shape().numel());
  // Some images a piece, so that small ones do not cost a system call each.
  const int64_t piece = std::max(int64_t{1}, (int64_t{1} << 20) / dataset.image_shape().numel());
  const int64_t pieces = (dataset.size() + piece - 1) / piece;
  parallel_for(pieces, threads, [&](int64_t k) {
    const int64_t first = k * piece, end = std::min(dataset.size(), first + piece);
    std::vector<uint8_t> pixels(static_cast<size_t>(end - first) * image_bytes);
    for (int64_t i = first; i < end; i++)
      dataset.read(i, pixels.data() + static_cast<size_t>(i - first) * image_bytes);
    file.write_at(head.size() + static_cast<uint64_t>(first) * image_bytes, pixels.data(),
                  pixels.size());
  });
  file.finish();
}

PackDataset::PackDataset(const fs::path& path) : PackDataset(Contents(path)) {}

PackDataset::PackDataset(Contents contents)
    : Dataset(contents.image_shape, std::move(contents.labels), std::move(contents.class_names)),
      pixels_(std::move(contents.pixels)) {}

void PackDataset::read(int64_t index, uint8_t* out) const {
  check(index >= 0 && index < size(), "[pack] index ", index, " is outside [0, ", size(), ")");
  const auto bytes = static_cast<size_t>(image_shape().numel());
  std::memcpy(out, pixels_.get() + static_cast<size_t>(index) * bytes, bytes);
}

}  // namespace fulcrum
