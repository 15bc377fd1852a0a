// Tensors on disk: safetensors files, fully validated when read, and written atomically.
//
//   save_tensors("model.safetensors", {net.state_dict(), {{"model", "resnet32"}}});
//   TensorFile file = load_tensors("model.safetensors");
//   file.tensors.at("fc.weight");  file.metadata.at("model");
//
// The format (https://github.com/huggingface/safetensors): a little-endian u64 with the length of
// the header, the header in JSON
//   {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__": {"key": "text"}}
// then the data, row-major, without gaps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

using TensorMap = std::map<std::string, Tensor>;

struct TensorFile {
  TensorMap tensors;
  std::map<std::string, std::string> metadata = {};
};

/// Where a tensor lies in a file: bytes [begin, end) from the start of the file.
struct TensorEntry {
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

struct TensorIndex {
  std::map<std::string, TensorEntry> entries;
  std::map<std::string, std::string> metadata = {};
};

/// Reads and checks only the header, for callers that map the data into memory or only list the tensors. Throws Error
/// like load_tensors.
TensorIndex read_tensor_index(const std::filesystem::path& path);

/// Reads every tensor into host memory. Checks the header against the size of the file before allocating memory. Throws
/// Error, naming the file and the tensor, if the file cannot be read, is truncated or too long, or has a malformed
/// header, or if a tensor has an unknown dtype, a size of 0, or offsets that overlap, leave gaps or do not match its
/// shape.
TensorFile load_tensors(const std::filesystem::path& path);

/// Writes the file with write_file_atomically. Tensors on other devices are copied to the host. Throws Error for an
/// undefined tensor, and for a name that is not UTF-8 or is reserved ("__metadata__").
void save_tensors(const std::filesystem::path& path, const TensorFile& file);

/// Replaces the file `path` by the concatenated pieces, entirely or not at all: writes "<path>.tmp", syncs it, renames
/// it, and syncs the folder. On failure (a full disk, say) leaves the old file as it was, removes the temporary file,
/// and throws Error with the system's reason. Also throws Error if `path` is a device or a pipe (/dev/null). Only one
/// writer per path at a time.
void write_file_atomically(const std::filesystem::path& path, const std::vector<std::string_view>& pieces);

/// Makes a rename to `file` durable: without this, a power cut could undo it.
void sync_folder(const std::filesystem::path& file);

/// Returns the whole contents of a file. Throws Error with the system's reason if it cannot be read to its end.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace fulcrum
