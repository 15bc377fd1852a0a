// ImageDataset: image files with a label each, decoded when they are asked for.
//
//   ImageDataset train(list_image_folder("imagenet/train"), {.image_size = 224});
//   train.read(17, pixels);          // decodes, resizes, crops; from any number of threads
//   train.skipped();                 // with .skip_bad: the files that were left out
//
// Memory holds paths and labels. What is to be listed comes from image_folder.h or image_list.h.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fulcrum/data/dataset.h>
#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// What a folder or a list file says, before any image is opened.
struct ImageListing {
  std::filesystem::path root;
  std::vector<std::string> paths;  // relative to root
  std::vector<int64_t> labels;     // of each path
  std::vector<std::string> class_names;
  /// Everything that is wrong with it, in the order of its lines or folders. ImageDataset refuses a
  /// listing with problems.
  std::vector<std::string> problems;
};

struct ImageOptions {
  int64_t channels = 3;  // 1 or 3
  /// Resizes the shorter side to this and cuts out the middle; 0: images stay as they are and must
  /// all be of one size.
  int64_t image_size = 0;
  /// Decodes every file at the start and leaves out those that fail; else read() throws for them.
  bool skip_bad = false;
  int threads = 0;  // for looking through the files at the start; 0: all cores
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
  /// The path relative to the root, and the size of the file in bytes.
  std::string identity(int64_t index) const override;
  const std::vector<std::string>& paths() const { return paths_; }
  /// What skip_bad has left out.
  const std::vector<BadImage>& skipped() const { return skipped_; }

 private:
  struct Prepared;
  ImageDataset(Prepared prepared, const ImageOptions& options);

  std::string root_;  // ends with a slash
  std::vector<std::string> paths_;
  std::vector<BadImage> skipped_;
  ImageOptions options_;
};

/// Decodes every sample of a listing as ImageDataset would and returns those that fail, by rising
/// index. Sizes are not compared.
std::vector<BadImage> find_bad_images(const ImageListing& listing, const ImageOptions& options);

}  // namespace fulcrum
