// Tensor files with a checksum, so that damage on the disk is seen before anything is made of it.
//
//   save_sealed("last.safetensors", file);
//   TensorFile file = load_sealed("last.safetensors");
//
// The metadata 'checksum' is a hash (hash.h) in hexadecimal over the name, dtype, shape and numbers of
// every tensor and over the other metadata.
#pragma once

#include <filesystem>

#include <fulcrum/core/serialize.h>

namespace fulcrum::apps {

/// save_tensors with the checksum among the metadata.
void save_sealed(const std::filesystem::path& path, TensorFile file);

/// load_tensors; an Error, too, where the file has a checksum and what was read has another. Files
/// of other programs have none.
TensorFile load_sealed(const std::filesystem::path& path);

}  // namespace fulcrum::apps
