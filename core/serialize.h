// Tensors on disk: safetensors files, read with distrust and written atomically.
//
//   save_tensors("model.safetensors", {net.state_dict(), {{"model", "resnet32"}}});
//   TensorFile file = load_tensors("model.safetensors");
//   file.tensors.at("fc.weight");  file.metadata.at("model");
//
// The format (https://github.com/huggingface/safetensors): a little-endian u64 with the length of
// the header, the header in JSON
//   {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__": {"key": "text"}}
// then the numbers, row-major, without holes.
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

/// Reads and checks the header alone, for those who map the numbers or only list them. Errors as
/// load_tensors.
TensorIndex read_tensor_index(const std::filesystem::path& path);

/// Reads every tensor into host memory. Whatever the file claims is checked against its size before
/// memory is asked for: a file that cannot be read, is truncated or longer than it says, has a
/// malformed header, or a tensor with an unknown dtype, a size of 0, or offsets that overlap, leave
/// holes or do not match its shape is an Error that names the file and the tensor.
TensorFile load_tensors(const std::filesystem::path& path);

/// Writes the file with write_file_atomically. Tensors on other devices are copied to the host.
/// Undefined tensors and names that are not UTF-8 or reserved ("__metadata__") are Errors.
void save_tensors(const std::filesystem::path& path, const TensorFile& file);

/// Replaces `path` by the concatenated pieces, entirely or not at all: written to "<path>.tmp",
/// synced, renamed, and the folder synced. On any failure (a full disk, say) the old file is as it
/// was, the temporary one is gone, and the Error carries the system's reason. What is there and is no
/// file (/dev/null, a pipe) is an Error, too. One writer per path at a time.
void write_file_atomically(const std::filesystem::path& path, const std::vector<std::string_view>& pieces);

/// Makes a rename to `file` durable, which a power cut could undo otherwise.
void sync_folder(const std::filesystem::path& file);

/// The whole of a file. One that cannot be read to its end is an Error with the system's reason, never a shorter text.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace fulcrum
