// ImageDataset: image files with a label each, decoded when they are asked for.
//
//   ImageDataset train(list_image_folder("imagenet/train"), {.image_size = 224});
//   train.read(17, pixels);          // decodes, resizes, crops; from any number of threads
//   train.skipped();                 // with .skip_bad: the files that were left out
//
// Memory holds paths, labels, and the files as they are up to ImageOptions::cache_mb. What is to be
// listed comes from image_folder.h, image_list.h, clothing1m.h, inaturalist.h or wilds.h.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <fulcrum/data/dataset.h>
#include <fulcrum/data/image_file.h>

namespace fulcrum {

class FileCache;

/// What a folder or a list file says, before any image is opened.
struct ImageListing {
  std::filesystem::path root;
  std::vector<std::string> paths;  // relative to root
  std::vector<int64_t> labels;     // of each path
  std::vector<std::string> class_names;
  /// A file that is a link to one outside of the root is refused when it is read.
  bool confined = false;
  /// Everything that is wrong with it, in the order of its lines or folders. ImageDataset refuses a
  /// listing with problems.
  std::vector<std::string> problems = {};
};

inline constexpr int64_t kMaxCacheMb = int64_t{1} << 20;

struct ImageOptions {
  int64_t channels = 3;  // 1 or 3
  /// The side of the square that images are brought to; 0: they stay as they are and must all be of one
  /// size.
  int64_t image_size = 0;
  /// What the shorter side becomes before the middle is cut out, at least image_size; 0: image_size.
  int64_t resize_size = 0;
  /// Both sides become image_size, whatever the shape was, and nothing is cut off.
  bool squash = false;
  bool exif_orientation = false;  // DecodeOptions
  /// Large JPEGs are reduced while they are decoded, to a size that is at least the one asked for.
  bool fast_decode = false;
  /// Decodes every file at the start and leaves out those that fail; else read() throws for them.
  bool skip_bad = false;
  int threads = 0;  // for looking through the files at the start; 0: all cores
  /// Files stay in memory from their first reading on, up to so many MiB; at most kMaxCacheMb.
  int64_t cache_mb = 256;
};

struct BadImage {
  int64_t index = 0;
  std::string path;  // relative to the root
  std::string reason;
};

class ImageDataset : public Dataset {
 public:
  /// An Error for a listing with problems or without images; for an image_size of 0, one that names
  /// the first image that cannot be read or has another size than the one before; with skip_bad,
  /// one that names a class of which nothing is left.
  ImageDataset(ImageListing listing, const ImageOptions& options);

  /// An Error names the file.
  void read(int64_t index, uint8_t* out) const override;
  /// As large as the file has it.
  Image original(int64_t index, const std::function<DecodeNeeds(ImageSize)>& needs,
                 std::vector<uint8_t> memory = {}) const override;
  /// The path relative to the root, and the size of the file in bytes.
  std::string identity(int64_t index) const override;
  const std::vector<std::string>& paths() const { return paths_; }
  /// What skip_bad has left out.
  const std::vector<BadImage>& skipped() const { return skipped_; }

 private:
  struct Prepared;
  ImageDataset(Prepared prepared, const ImageOptions& options);

  const std::string& path(int64_t index) const;
  /// Of the file with this path, valid as that of read_image_file.
  std::span<const uint8_t> bytes(int64_t index, const std::string& path) const;

  std::string root_;    // ends with a slash
  std::string within_;  // DecodeOptions
  std::vector<std::string> paths_;
  std::vector<BadImage> skipped_;
  ImageOptions options_;
  std::shared_ptr<const FileCache> files_;
};

/// Decodes every sample of a listing as ImageDataset would and returns those that fail, by rising
/// index. Sizes are not compared.
std::vector<BadImage> find_bad_images(const ImageListing& listing, const ImageOptions& options);

}  // namespace fulcrum
