// Fulcrum's pack: a whole data set in one file, decoded, read through a memory map.
//
//   save_pack("packed/train.pack", dataset);
//   PackDataset train("packed/train.pack");      // opens in no time, whatever its size
//
// The file is safetensors (serialize.h): `labels` i64 [N] and `images` u8 [N, H, W, C], and in its
// metadata format = "fulcrum-pack", version = "1" and classes, a JSON array of names. NumPy and
// PyTorch read it with the safetensors package.
#pragma once

#include <filesystem>
#include <memory>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

inline constexpr const char* kPackVersion = "1";

/// Writes every sample with its clean label. Images are read and written by `threads` threads (0:
/// all cores) and never held in memory together. The file appears complete or not at all.
void save_pack(const std::filesystem::path& path, const Dataset& dataset, int threads = 0);

class PackDataset : public Dataset {
 public:
  /// An Error for a file that is not a pack, or of another version. The file must not shrink while
  /// it is open.
  explicit PackDataset(const std::filesystem::path& path);

  void read(int64_t index, uint8_t* out) const override;

 private:
  struct Contents;
  explicit PackDataset(Contents contents);
  std::shared_ptr<const uint8_t> pixels_;  // in the mapping, which it keeps
};

}  // namespace fulcrum
