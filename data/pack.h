// save_pack, PackDataset: a whole data set, decoded, in one file or in shards, and read through memory maps.
//
//   save_pack("packed/train.pack", dataset);
//   save_pack("packed/train.pack", dataset, {.shard_bytes = 1 << 30});   // train-00000-of-00012.pack, …
//   PackDataset train("packed/train.pack");      // either; reads only labels and metadata when it opens
//
// A file is safetensors (serialize.h) with `labels` i64 [N] and `images` u8 [N, H, W, C]. Its metadata are
// format = "fulcrum-pack", version = "1" and classes, a JSON array of names. NumPy and PyTorch can read it with
// the safetensors package. A shard is a pack of consecutive samples with two more metadata entries:
// shard = "2 of 12" (counted from 0), and set, which is the same in all shards of a data set.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include <fulcrum/data/dataset.h>

namespace fulcrum {

inline constexpr const char* kPackVersion = "1";
/// The largest number of shards.
inline constexpr int64_t kMaxPackShards = 100'000;

struct PackOptions {
  int threads = 0;          // threads that read and write images; 0: all cores
  int64_t shard_bytes = 0;  // at most this many bytes of images per file, but at least one image; 0: a single file
};

/// Writes every sample with its clean label, without holding all images in memory. When all files are complete, they
/// replace any pack of that name, in one file or in shards. Returns their paths. The same data always produce the same
/// files.
std::vector<std::filesystem::path> save_pack(const std::filesystem::path& path, const Dataset& dataset,
                                             const PackOptions& options = {});

/// A complete pack in temporary files, which take_place() renames. Packs that belong together can so appear together:
///
///   PendingPack train("packed/train.pack", a), test("packed/test.pack", b);
///   train.take_place();
///   test.take_place();
class PendingPack {
 public:
  PendingPack(const std::filesystem::path& path, const Dataset& dataset, const PackOptions& options = {});
  ~PendingPack();  ///< removes the temporary files that have not been renamed
  PendingPack(PendingPack&&) noexcept;
  /// Renames the files to their final names and removes other files of an earlier pack. Returns the paths.
  std::vector<std::filesystem::path> take_place();

 private:
  struct Files;
  std::unique_ptr<Files> files_;
};

class PackDataset : public Dataset {
 public:
  /// Opens the file `path`, or the shards named after it. Throws Error if a file is not a pack or has another version;
  /// if a shard is missing, truncated, in the place of another shard or from another data set; and if the pack exists
  /// in both forms. The files must not shrink while they are open.
  explicit PackDataset(const std::filesystem::path& path);

  void read(int64_t index, uint8_t* out) const override;
  bool decoded() const override { return true; }
  int64_t shards() const { return std::ssize(parts_); }

 private:
  /// Consecutive samples, from `first` on, in a memory map that `pixels` keeps alive.
  struct Part {
    int64_t first;
    std::shared_ptr<const uint8_t> pixels;
  };
  struct Contents;
  explicit PackDataset(Contents contents);
  std::vector<Part> parts_;
};

}  // namespace fulcrum
