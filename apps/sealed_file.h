// Tensor files with a checksum, so that damage on the disk is detected before the contents are used.
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

/// save_tensors, with the checksum in the metadata.
void save_sealed(const std::filesystem::path& path, TensorFile file);

/// load_tensors, but also throws Error if the file has a checksum that does not match its contents. Files of other
/// programs have no checksum.
TensorFile load_sealed(const std::filesystem::path& path);

}  // namespace fulcrum::apps
