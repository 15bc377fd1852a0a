#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

#include <fulcrum/core/hash.h>
#include <fulcrum/core/serialize.h>
#include <fulcrum/core/serialize_json.h>
#include <fulcrum/data/pack.h>
#include <fulcrum/data/pack_names.h>
#include <fulcrum/data/parallel.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;
using header_json::quote;

[[noreturn]] void fail_errno(const fs::path& path, const char* action) {
  fail("[pack] ", path.string(), ": cannot ", action, ": ", std::generic_category().message(errno));
}

std::string class_array(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names)
    check(header_json::is_utf8(name), "[pack] expected names of classes in UTF-8, got ", header_json::shown(name));
  for (const std::string& name : names) text += (text.size() > 1 ? ", " : "") + quote(name);
  return text + "]";
}

/// A temporary file path + ".tmp"; take_place() renames it to `path`, and otherwise the destructor removes it.
class NewFile {
 public:
  explicit NewFile(const fs::path& path) : path_(path), beside_(path.string() + ".tmp") {
    open(O_CREAT | O_TRUNC, "create");
  }
  ~NewFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!renamed_) ::unlink(beside_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// May be called from any number of threads at once.
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
  /// Flushes the file to disk and closes it, so that many shards do not use many descriptors.
  void close() {
    if (::fsync(fd_) != 0) fail_errno(path_, "sync");
    if (::close(std::exchange(fd_, -1)) != 0) fail_errno(path_, "close");
  }
  void reopen() { open(0, "open"); }
  void take_place() {
    if (::rename(beside_.c_str(), path_.c_str()) != 0) fail_errno(path_, "replace");
    renamed_ = true;
    sync_folder(path_);  // makes the rename durable before files of the earlier pack are removed
  }

 private:
  void open(int flags, const char* action) {
    fd_ = ::open(beside_.c_str(), O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd_ < 0) fail_errno(beside_, action);
  }

  fs::path path_, beside_;
  int fd_ = -1;
  bool renamed_ = false;
};

/// A file with the samples [first, first + size) of a data set.
struct Shard {
  int64_t shard = 0, shards = 1;  // shards = 1: the whole data set
  int64_t first = 0, size = 0;
};

/// Returns everything before the images: length, header and labels. `set` always has 16 digits, so that the size
/// does not depend on its value.
std::string head_of(const Dataset& data, const Shard& part, const std::string& set) {
  const Shape& image = data.image_shape();
  const auto labels_bytes = static_cast<uint64_t>(part.size) * sizeof(int64_t);
  const uint64_t end = labels_bytes + static_cast<uint64_t>(part.size * image.numel());
  const std::string shard = part.shards == 1
                                ? ""
                                : concat_text(",", quote(kPackSet), ":", quote(set), ",", quote(kPackShard), ":",
                                              quote(pack_shard_text(part.shard, part.shards)));
  std::string header = concat_text(
      R"({"__metadata__":{"classes":)", quote(class_array(data.class_names())), R"(,"format":)", quote(kPackFormat),
      shard, R"(,"version":)", quote(kPackVersion), R"(},"labels":{"dtype":"I64","shape":[)", part.size,
      R"(],"data_offsets":[0,)", labels_bytes, R"(]},"images":{"dtype":"U8","shape":[)", part.size, ",", image[0], ",",
      image[1], ",", image[2], R"(],"data_offsets":[)", labels_bytes, ",", end, "]}}");
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  std::string head(reinterpret_cast<const char*>(&length), sizeof length);
  head += header;
  head.append(reinterpret_cast<const char*>(data.clean_labels().data() + part.first), labels_bytes);
  return head;
}

std::vector<Shard> shards_of(const Dataset& data, int64_t shard_bytes) {
  const int64_t n = data.size();
  const int64_t each = shard_bytes > 0 ? std::clamp<int64_t>(shard_bytes / data.image_shape().numel(), 1, n) : n;
  const int64_t shards = (n + each - 1) / each;
  check(shards <= kMaxPackShards, "[pack] expected a shard size that makes at most ", kMaxPackShards, " shards, got ",
        shard_bytes, " bytes, which makes ", shards);
  std::vector<Shard> parts;
  for (int64_t k = 0; k < shards; k++) parts.push_back({k, shards, k * each, std::min(each, n - k * each)});
  return parts;
}

std::string hexadecimal(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// Writes the images of a shard from `offset` on; returns a hash of the pixels.
uint64_t write_images(const NewFile& file, uint64_t offset, const Dataset& data, const Shard& part, int threads) {
  const auto image_bytes = static_cast<size_t>(data.image_shape().numel());
  // About 1 MiB of images per piece, so that small images do not need a system call each.
  const int64_t piece = std::max(int64_t{1}, (int64_t{1} << 20) / data.image_shape().numel());
  const int64_t pieces = (part.size + piece - 1) / piece;
  std::vector<uint64_t> hashes(static_cast<size_t>(pieces));
  parallel_for(pieces, threads, [&](int64_t k) {
    const int64_t first = k * piece, end = std::min(part.size, first + piece);
    std::vector<uint8_t> pixels(static_cast<size_t>(end - first) * image_bytes);
    for (int64_t i = first; i < end; i++)
      data.read(part.first + i, pixels.data() + static_cast<size_t>(i - first) * image_bytes);
    file.write_at(offset + static_cast<uint64_t>(first) * image_bytes, pixels.data(), pixels.size());
    Hash hash;
    hash.add(pixels.data(), pixels.size());
    hashes[static_cast<size_t>(k)] = hash.value();
  });
  Hash all;
  all.add(hashes.data(), hashes.size() * sizeof(uint64_t));
  return all.value();
}

/// Removes the files of an earlier pack of this name, except those in `kept`.
void remove_others(const fs::path& path, const std::vector<fs::path>& kept) {
  std::vector<fs::path> old = pack_shards_beside(path);
  old.push_back(path);
  for (const fs::path& file : old)
    if (std::ranges::find(kept, file) == kept.end()) {
      std::error_code error;
      fs::remove(file, error);
      check(!error, "[pack] ", file.string(), ": cannot remove this file of an earlier pack: ", error.message());
    }
}

}  // namespace

struct PendingPack::Files {
  fs::path path;
  std::vector<std::unique_ptr<NewFile>> files;
  std::vector<fs::path> paths;
};

PendingPack::PendingPack(const fs::path& path, const Dataset& dataset, const PackOptions& options)
    : files_(std::make_unique<Files>()) {
  check(options.shard_bytes >= 0, "[pack] expected a shard size of 0 or more bytes, got ", options.shard_bytes);
  const std::vector<Shard> parts = shards_of(dataset, options.shard_bytes);
  files_->path = path;
  auto& files = files_->files;
  Hash set;
  for (const Shard& part : parts) {
    files_->paths.push_back(part.shards == 1 ? path : pack_shard_path(path, part.shard, part.shards));
    files.push_back(std::make_unique<NewFile>(files_->paths.back()));
    const std::string head = head_of(dataset, part, hexadecimal(0));
    set.add_text(head);
    const uint64_t pixels = write_images(*files.back(), head.size(), dataset, part, options.threads);
    set.add(&pixels, sizeof pixels);
    files.back()->close();
  }
  for (size_t k = 0; k < parts.size(); k++) {
    const std::string head = head_of(dataset, parts[k], hexadecimal(set.value()));
    files[k]->reopen();
    files[k]->write_at(0, head.data(), head.size());
    files[k]->close();
  }
}

PendingPack::~PendingPack() = default;
PendingPack::PendingPack(PendingPack&&) noexcept = default;

std::vector<fs::path> PendingPack::take_place() {
  for (const auto& file : files_->files) file->take_place();
  remove_others(files_->path, files_->paths);
  return files_->paths;
}

std::vector<fs::path> save_pack(const fs::path& path, const Dataset& dataset, const PackOptions& options) {
  return PendingPack(path, dataset, options).take_place();
}

}  // namespace fulcrum
