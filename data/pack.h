// Fulcrum's pack: a whole data set, decoded, in one file or in shards, read through memory maps.
//
//   save_pack("packed/train.pack", dataset);
//   save_pack("packed/train.pack", dataset, {.shard_bytes = 1 << 30});   // train-00000-of-00012.pack, …
//   PackDataset train("packed/train.pack");      // either; opens in no time, whatever its size
//
// A file is safetensors (serialize.h): `labels` i64 [N] and `images` u8 [N, H, W, C], and in its
// metadata format = "fulcrum-pack", version = "1" and classes, a JSON array of names. NumPy and
// PyTorch read it with the safetensors package. A shard is a pack of some consecutive samples, with two more
// entries: shard = "2 of 12" and set, the same in all shards of a data set.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

inline constexpr const char* kPackVersion = "1";
/// At most so many shards.
inline constexpr int64_t kMaxPackShards = 100'000;

struct PackOptions {
  int threads = 0;          // that read and write images; 0: all cores
  int64_t shard_bytes = 0;  // of the images in a file, at least one; 0: one file
};

/// Writes every sample with its clean label; images are never held in memory together. The files appear, in the
/// place of a pack of that name in one file or shards, when all of them are complete. Returns their paths. The same
/// data make the same files.
std::vector<std::filesystem::path> save_pack(const std::filesystem::path& path, const Dataset& dataset,
                                             const PackOptions& options = {});

/// A pack that is complete beside its place, so that packs which belong together can appear together:
///
///   PendingPack train("packed/train.pack", a), test("packed/test.pack", b);
///   train.take_place();
///   test.take_place();
class PendingPack {
 public:
  PendingPack(const std::filesystem::path& path, const Dataset& dataset, const PackOptions& options = {});
  ~PendingPack();  ///< what has not taken its place goes away
  PendingPack(PendingPack&&) noexcept;
  /// Returns the paths.
  std::vector<std::filesystem::path> take_place();

 private:
  struct Files;
  std::unique_ptr<Files> files_;
};

class PackDataset : public Dataset {
 public:
  /// `path` is the file, or names the shards. An Error for a file that is not a pack, or of another version; for a
  /// shard that is missing, truncated, in the place of another or of another data set; for a pack that is there
  /// in both forms. The files must not shrink while they are open.
  explicit PackDataset(const std::filesystem::path& path);

  void read(int64_t index, uint8_t* out) const override;
  bool decoded() const override { return true; }
  int64_t shards() const { return std::ssize(parts_); }

 private:
  /// Consecutive samples, from `first` on, in a mapping which `pixels` keeps.
  struct Part {
    int64_t first;
    std::shared_ptr<const uint8_t> pixels;
  };
  struct Contents;
  explicit PackDataset(Contents contents);
  std::vector<Part> parts_;
};

}  // namespace fulcrum
