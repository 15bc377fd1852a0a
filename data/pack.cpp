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
#include <fulcrum/data/pack_names.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_errno(const fs::path& path, const char* action) {
  fail("[pack] ", path.string(), ": cannot ", action, ": ", std::generic_category().message(errno));
}

/// Maps the whole file read-only.
std::shared_ptr<const uint8_t> map_file(const fs::path& path, size_t bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_errno(path, "open");
  void* data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  const int reason = errno;
  ::close(fd);
  errno = reason;
  if (data == MAP_FAILED) fail_errno(path, "map");
  return {static_cast<const uint8_t*>(data), [bytes](const uint8_t* p) { ::munmap(const_cast<uint8_t*>(p), bytes); }};
}

std::string metadata_of(const TensorIndex& index, const fs::path& path, const std::string& key) {
  const auto it = index.metadata.find(key);
  check(it != index.metadata.end(), "[pack] ", path.string(), ": expected metadata '", key,
        "'; `fulcrum data pack` writes packs");
  return it->second;
}

const TensorEntry& entry_of(const TensorIndex& index, const fs::path& path, const char* name, DType dtype, int dim) {
  const auto it = index.entries.find(name);
  check(it != index.entries.end(), "[pack] ", path.string(), ": expected a tensor ", name);
  const TensorEntry& entry = it->second;
  check(entry.dtype == dtype && entry.shape.dim() == dim, "[pack] ", path.string(), ": tensor ", name, ": expected ",
        dtype, " of ", dim, " dimensions, got ", entry.dtype, " ", entry.shape);
  return entry;
}

/// One file: the whole pack, or a shard of it.
struct PackFile {
  Shape image_shape;
  std::vector<int64_t> labels;
  std::vector<std::string> class_names;
  std::string shard, set;  // empty if the file is not a shard
  std::shared_ptr<const uint8_t> pixels;

  explicit PackFile(const fs::path& path) {
    const TensorIndex index = read_tensor_index(path);
    const std::string format = metadata_of(index, path, "format");
    check(format == kPackFormat, "[pack] ", path.string(), ": expected format '", kPackFormat, "', got '", format, "'");
    const std::string version = metadata_of(index, path, "version");
    check(version == kPackVersion, "[pack] ", path.string(), ": expected version ", kPackVersion,
          " of the format, which this program reads, got ", version, "; pack the data again with this program");
    const TensorEntry& labels_entry = entry_of(index, path, "labels", DType::kI64, 1);
    const TensorEntry& images = entry_of(index, path, "images", DType::kU8, 4);
    check(images.shape[0] == labels_entry.shape[0], "[pack] ", path.string(), ": expected a label ", "for each of ",
          images.shape[0], " images, got ", labels_entry.shape[0]);
    image_shape = images.shape.without(0);
    read_class_names("{\"classes\":" + metadata_of(index, path, "classes") + "}", path);
    if (index.metadata.contains(kPackShard)) {
      shard = index.metadata.at(kPackShard);
      set = metadata_of(index, path, kPackSet);
    }
    const auto file = map_file(path, std::max(images.end, labels_entry.end));
    labels.resize(static_cast<size_t>(labels_entry.shape[0]));
    std::memcpy(labels.data(), file.get() + labels_entry.begin, labels.size() * sizeof(int64_t));
    check_labels(labels, std::ssize(class_names), concat_text("[pack] ", path.string(), ": "));
    pixels = {file, file.get() + images.begin};
  }

 private:
  void read_class_names(const std::string& json, const fs::path& path) {
    header_json::Reader reader(json, concat_text("[pack] ", path.string(), ": metadata 'classes'"));
    reader.object([&](const std::string&) { class_names = reader.strings(); });
    reader.finish();
  }
};

/// Returns the paths of all shards of a pack. Throws Error if one is not among `found`, or if `found` has shards of
/// packs with different numbers of shards.
std::vector<fs::path> complete_shards(const fs::path& path, const std::vector<fs::path>& found) {
  const int64_t shards = parse_shard_name(path, found[0].filename().string())->shards;
  std::vector<fs::path> all;
  for (const fs::path& file : found) {
    const PackShardName name = *parse_shard_name(path, file.filename().string());
    check(name.shards == shards, "[pack] ", file.string(), ": expected shards of one pack, got this one of ",
          name.shards, " beside ", found[0].filename().string());
    check(name.shard < shards, "[pack] ", file.string(), ": expected the shards 0 to ", shards - 1, ", got number ",
          name.shard);
  }
  for (int64_t k = 0; k < shards; k++) {
    all.push_back(pack_shard_path(path, k, shards));
    check(std::ranges::find(found, all.back()) != found.end(), "[pack] ", all.back().string(),
          ": expected the shards 0 to ", shards - 1, ", this one is not there");
  }
  return all;
}

}  // namespace

std::vector<fs::path> pack_shards_beside(const fs::path& path) {
  std::vector<fs::path> found;
  std::error_code ignored;
  const fs::path dir = path.has_parent_path() ? path.parent_path() : ".";
  for (const auto& entry : fs::directory_iterator(dir, ignored))
    if (parse_shard_name(path, entry.path().filename().string()))
      found.push_back(path.parent_path() / entry.path().filename());
  std::ranges::sort(found);
  return found;
}

struct PackDataset::Contents {
  Shape image_shape;
  std::vector<int64_t> labels;
  std::vector<std::string> class_names;
  std::vector<Part> parts;

  explicit Contents(const fs::path& path) {
    const std::vector<fs::path> found = pack_shards_beside(path);
    std::error_code ignored;
    const bool whole = fs::exists(path, ignored);
    check(!whole || found.empty(), "[pack] ", path.string(),
          ": expected one file or shards, got both: remove this file or ",
          found.empty() ? "" : found[0].filename().string(), " and its like");
    if (found.empty()) add(PackFile(path));
    else add_shards(complete_shards(path, found));
  }

 private:
  void add_shards(const std::vector<fs::path>& shards) {
    std::string set;
    for (size_t k = 0; k < shards.size(); k++) {
      PackFile file(shards[k]);
      const std::string place = pack_shard_text(static_cast<int64_t>(k), std::ssize(shards));
      const auto refuse = [&](const auto&... why) { fail("[pack] ", shards[k].string(), ": ", why...); };
      if (file.shard != place)
        refuse("expected shard ", place, " of a pack, got ", file.shard.empty() ? "a pack in one file" : file.shard);
      if (k == 0) set = file.set;
      if (file.set != set) refuse("expected a shard of the data set ", set, ", as the first, got one of ", file.set);
      if (k > 0 && (file.image_shape != image_shape || file.class_names != class_names))
        refuse("expected the first shard's image shape and classes, got others");
      add(std::move(file));
    }
  }

  void add(PackFile file) {
    parts.push_back({std::ssize(labels), std::move(file.pixels)});
    labels.insert(labels.end(), file.labels.begin(), file.labels.end());
    image_shape = file.image_shape;
    class_names = std::move(file.class_names);
  }
};

PackDataset::PackDataset(const fs::path& path) : PackDataset(Contents(path)) {}

PackDataset::PackDataset(Contents contents)
    : Dataset(contents.image_shape, std::move(contents.labels), std::move(contents.class_names)),
      parts_(std::move(contents.parts)) {}

void PackDataset::read(int64_t index, uint8_t* out) const {
  check(index >= 0 && index < size(), "[pack] index ", index, " is outside [0, ", size(), ")");
  const auto after = std::ranges::upper_bound(parts_, index, {}, &Part::first);
  const Part& part = *std::prev(after);
  const auto bytes = static_cast<size_t>(image_shape().numel());
  std::memcpy(out, part.pixels.get() + static_cast<size_t>(index - part.first) * bytes, bytes);
}

}  // namespace fulcrum
