#include "apps/sealed_file.h"

#include <fmt/format.h>

#include <fulcrum/core/check.h>
#include <fulcrum/core/hash.h>

namespace fulcrum::apps {

namespace {

const std::string kChecksum = "checksum";

// For tensors in host memory.
std::string checksum_of(const TensorFile& file) {
  Hash hash;
  for (const auto& [name, tensor] : file.tensors) {
    const auto sizes = tensor.shape().sizes();
    hash.add_text(name);
    hash.add_text(name_of(tensor.dtype()));
    hash.add(sizes.data(), sizes.size() * sizeof(int64_t));
    hash.add(tensor.raw(), tensor.bytes());
  }
  for (const auto& [key, text] : file.metadata) {
    if (key == kChecksum) continue;
    hash.add_text(key);
    hash.add_text(text);
  }
  return fmt::format("{:016x}", hash.value());
}

}  // namespace

void save_sealed(const std::filesystem::path& path, TensorFile file) {
  for (auto& [name, tensor] : file.tensors) tensor = tensor.to(Device());  // once, for the checksum and the file
  file.metadata[kChecksum] = checksum_of(file);
  save_tensors(path, file);
}

TensorFile load_sealed(const std::filesystem::path& path) {
  TensorFile file = load_tensors(path);
  const auto stored = file.metadata.find(kChecksum);
  if (stored == file.metadata.end()) return file;
  const std::string found = checksum_of(file);
  check(stored->second == found, "[load_tensors] ", path.string(), ": damaged: its checksum is ", found, ", expected ",
        stored->second, " (who changes a file drops its metadata 'checksum')");
  return file;
}

}  // namespace fulcrum::apps
