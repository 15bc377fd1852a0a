// ImageDataset: image files with a label each, decoded by each read().
//
//   ImageDataset train(list_image_folder("imagenet/train"), {.image_size = 224});
//   train.read(17, pixels);          // decodes, resizes, crops; from any number of threads
//   train.skipped();                 // with .skip_bad: the files that were left out
//
// Keeps paths and labels in memory, and up to ImageOptions::cache_mb of undecoded files. Listings are made by
// image_folder.h, image_list.h, clothing1m.h, inaturalist.h, tiny_imagenet.h and wilds.h.
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

/// The contents of a folder or list file, before any image is opened.
struct ImageListing {
  std::filesystem::path root;
  std::vector<std::string> paths;  // relative to root
  std::vector<int64_t> labels;     // of each path
  std::vector<std::string> class_names;
  /// If true, reading a file that is a link to a file outside the root throws Error.
  bool confined = false;
  /// Everything that is wrong with the listing, in the order of its lines or folders. ImageDataset refuses a
  /// listing with problems.
  std::vector<std::string> problems = {};
};

inline constexpr int64_t kMaxCacheMb = int64_t{1} << 20;

struct ImageOptions {
  int64_t channels = 3;  // 1 or 3
  /// Images are resized and cropped to a square of this side. 0: no resizing; all images must have the same
  /// size.
  int64_t image_size = 0;
  /// The length to which the shorter side is resized before the centre crop, at least image_size; 0: image_size.
  int64_t resize_size = 0;
  /// Resizes both sides to image_size, whatever the aspect ratio, and crops nothing.
  bool squash = false;
  bool exif_orientation = false;  // as in DecodeOptions
  /// Reduces large JPEGs while decoding them, to a size not below the size needed. Pixels differ slightly.
  bool fast_decode = false;
  /// Decodes every file in the constructor and leaves out those that fail; otherwise read() throws for them.
  bool skip_bad = false;
  int threads = 0;  // for checking the files in the constructor; 0: all cores
  /// Keeps files in memory after their first reading, up to this many MiB; at most kMaxCacheMb.
  int64_t cache_mb = 256;
};

struct BadImage {
  int64_t index = 0;
  std::string path;  // relative to the root
  std::string reason;
};

class ImageDataset : public Dataset {
 public:
  /// Throws Error if the listing has problems or no images; if image_size is 0 and an image cannot be read or has
  /// another size than the first one (the error names the first such image); with skip_bad, if no image is left of a
  /// class.
  ImageDataset(ImageListing listing, const ImageOptions& options);

  /// Errors name the file.
  void read(int64_t index, uint8_t* out) const override;
  /// The image in the size of the file.
  Image original(int64_t index, const std::function<DecodeNeeds(ImageSize)>& needs,
                 std::vector<uint8_t> memory = {}) const override;
  /// The path relative to the root, and the size of the file in bytes.
  std::string identity(int64_t index) const override;
  const std::vector<std::string>& paths() const { return paths_; }
  /// The files that skip_bad has left out.
  const std::vector<BadImage>& skipped() const { return skipped_; }

 private:
  struct Prepared;
  ImageDataset(Prepared prepared, const ImageOptions& options);

  const std::string& path(int64_t index) const;
  /// The bytes of file `index`, which has this path. They are valid as long as those of read_image_file.
  std::span<const uint8_t> bytes(int64_t index, const std::string& path) const;

  std::string root_;    // ends with a slash
  std::string within_;  // as in DecodeOptions
  std::vector<std::string> paths_;
  std::vector<BadImage> skipped_;
  ImageOptions options_;
  std::shared_ptr<const FileCache> files_;
};

/// Decodes every sample of a listing as ImageDataset would and returns those that fail, in order of
/// index. Does not compare sizes.
std::vector<BadImage> find_bad_images(const ImageListing& listing, const ImageOptions& options);

}  // namespace fulcrum
