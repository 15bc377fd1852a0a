#include <fulcrum/data/image_dataset.h>

#include <algorithm>
#include <optional>
#include <utility>

#include <fulcrum/data/file_cache.h>
#include <fulcrum/data/parallel.h>
#include <fulcrum/data/resize.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

/// The root with links resolved, for DecodeOptions::within; empty if the listing is not confined to it.
std::string within(const ImageListing& listing) {
  std::error_code error;
  return listing.confined ? fs::canonical(listing.root, error).string() : "";
}

DecodeOptions decode_options(const ImageOptions& options, std::string_view within) {
  return {.channels = options.channels, .exif_orientation = options.exif_orientation, .needs = {}, .within = within};
}

int64_t resize_size(const ImageOptions& options) {
  return options.resize_size > 0 ? options.resize_size : options.image_size;
}

Image decode(std::span<const uint8_t> file, const std::string& path, const ImageOptions& options,
             std::vector<uint8_t> memory = {}) {
  DecodeOptions decode = decode_options(options, {});
  if (options.image_size == 0) return decode_image(file, decode, path, std::move(memory));
  const int64_t side = options.squash ? options.image_size : resize_size(options);
  if (options.fast_decode)
    decode.needs = [side](ImageSize s) {
      return DecodeNeeds{.least_scale = static_cast<double>(side) / static_cast<double>(std::min(s.height, s.width))};
    };
  thread_local Image image;  // reused: allocating memory for every photograph takes time
  image = decode_image(file, decode, path, std::move(image.pixels));
  if (options.squash) return resized_crop(image, {0, 0, image.height, image.width}, side, side, std::move(memory));
  return resized_center(image, side, options.image_size, std::move(memory));
}

/// Removes these entries from the listing.
void drop(ImageListing& listing, const std::vector<BadImage>& bad) {
  size_t kept = 0, next = 0;
  for (size_t i = 0; i < listing.paths.size(); i++) {
    if (next < bad.size() && bad[next].index == static_cast<int64_t>(i)) {
      next++;
      continue;
    }
    std::swap(listing.paths[kept], listing.paths[i]);
    std::swap(listing.labels[kept++], listing.labels[i]);
  }
  listing.paths.resize(kept);
  listing.labels.resize(kept);
}

void skip_bad_images(ImageListing& listing, const std::vector<BadImage>& bad) {
  const int64_t classes = std::ssize(listing.class_names);
  const auto before = class_counts(listing.labels, classes);
  std::vector<const BadImage*> first(listing.class_names.size(), nullptr);  // of each class
  for (const BadImage& b : bad)
    if (auto& f = first[static_cast<size_t>(listing.labels[static_cast<size_t>(b.index)])]; !f) f = &b;
  drop(listing, bad);
  const auto after = class_counts(listing.labels, classes);
  for (size_t k = 0; k < before.size(); k++)
    check(after[k] > 0 || before[k] == 0, "[images] ", listing.root.string(), ": class '", listing.class_names[k],
          "': none of its ", before[k], " images can be read; the first: ", first[k] ? first[k]->reason : "");
}

/// Returns the size that all images have; throws Error if they differ.
ImageSize common_size(const ImageListing& listing, const ImageOptions& options) {
  const std::string root = within(listing);
  const DecodeOptions decode = decode_options(options, root);
  const ImageSize first = image_size(listing.root / listing.paths.front(), decode);
  parallel_for(std::ssize(listing.paths), options.threads, [&](int64_t i) {
    const fs::path path = listing.root / listing.paths[static_cast<size_t>(i)];
    const ImageSize size = image_size(path, decode);
    check(size == first, "[images] ", path.string(), ": expected ", first.height, "x", first.width,
          " (height x width) as the first image has, got ", size.height, "x", size.width,
          "; data.image_size brings images of different sizes to one");
  });
  return first;
}

}  // namespace

struct ImageDataset::Prepared {
  ImageListing listing;
  Shape shape;
  std::vector<BadImage> skipped;

  Prepared(ImageListing listed, const ImageOptions& options) : listing(std::move(listed)) {
    check(options.channels == 1 || options.channels == 3, "[images] expected 1 or 3 channels, got ", options.channels);
    check(options.image_size >= 0 && options.image_size <= (1 << 14),
          "[images] expected an image_size of 0 to 16384, got ", options.image_size);
    check(options.cache_mb >= 0 && options.cache_mb <= kMaxCacheMb, "[images] expected a cache_mb of 0 to ",
          kMaxCacheMb, ", got ", options.cache_mb);
    check(options.resize_size == 0 || (options.resize_size >= options.image_size && options.resize_size <= (1 << 14)),
          "[images] expected a resize_size of image_size, ", options.image_size, ", to 16384, got ",
          options.resize_size);
    if (!listing.problems.empty())
      fail(listing.problems[0], listing.problems.size() == 1 ? ""
                                                             : concat_text("\nand ", listing.problems.size() - 1,
                                                                           " more; `fulcrum data check` lists them"));
    check(!listing.paths.empty(), "[images] ", listing.root.string(), ": expected images, got none");
    if (options.skip_bad) {
      skipped = find_bad_images(listing, options);
      if (!skipped.empty()) skip_bad_images(listing, skipped);
    }
    const ImageSize size =
        options.image_size > 0 ? ImageSize{options.image_size, options.image_size} : common_size(listing, options);
    shape = {size.height, size.width, options.channels};
  }
};

ImageDataset::ImageDataset(ImageListing listing, const ImageOptions& options)
    : ImageDataset(Prepared(std::move(listing), options), options) {}

ImageDataset::ImageDataset(Prepared prepared, const ImageOptions& options)
    : Dataset(prepared.shape, std::move(prepared.listing.labels), std::move(prepared.listing.class_names)),
      root_((prepared.listing.root / "").string()),
      within_(within(prepared.listing)),
      paths_(std::move(prepared.listing.paths)),
      skipped_(std::move(prepared.skipped)),
      options_(options),
      files_(std::make_shared<FileCache>(paths_.size(), static_cast<size_t>(options.cache_mb) << 20)) {}

const std::string& ImageDataset::path(int64_t index) const {
  check(index >= 0 && index < size(), "[images] index ", index, " is outside [0, ", size(), ")");
  return paths_[static_cast<size_t>(index)];
}

std::span<const uint8_t> ImageDataset::bytes(int64_t index, const std::string& path) const {
  return files_->get(static_cast<size_t>(index), [&] { return read_image_file(path, within_); });
}

Image ImageDataset::original(int64_t index, const std::function<DecodeNeeds(ImageSize)>& needs,
                             std::vector<uint8_t> memory) const {
  DecodeOptions decode = decode_options(options_, {});
  decode.needs = [&](ImageSize size) {
    DecodeNeeds asked = needs(size);
    if (!options_.fast_decode) asked.least_scale = 1;
    return asked;
  };
  const std::string file = root_ + path(index);
  return decode_image(bytes(index, file), decode, file, std::move(memory));
}

void ImageDataset::read(int64_t index, uint8_t* out) const {
  // Reused by the thread, so that small images cost no allocation.
  thread_local std::string path;
  thread_local Image image;
  path.assign(root_).append(this->path(index));
  image = decode(bytes(index, path), path, options_, std::move(image.pixels));
  // The file may have changed since the constructor read its header.
  check(image.height == image_shape()[0] && image.width == image_shape()[1], "[images] ", path, ": expected ",
        image_shape()[0], "x", image_shape()[1], " (height x width), got ", image.height, "x", image.width);
  std::ranges::copy(image.pixels, out);
}

std::string ImageDataset::identity(int64_t index) const {
  const std::string& path = paths_.at(static_cast<size_t>(index));
  std::error_code error;
  const auto bytes = fs::file_size(root_ + path, error);
  return concat_text(path, ":", error ? 0 : bytes);
}

std::vector<BadImage> find_bad_images(const ImageListing& listing, const ImageOptions& options) {
  std::vector<std::optional<std::string>> reasons(listing.paths.size());
  const std::string root = within(listing);
  parallel_for(std::ssize(listing.paths), options.threads, [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    try {
      const std::string path = listing.root / listing.paths[at];
      decode(read_image_file(path, root), path, options);
    } catch (const Error& error) {
      reasons[at] = error.what();
    }
  });
  std::vector<BadImage> bad;
  for (size_t i = 0; i < reasons.size(); i++)
    if (reasons[i]) bad.push_back({static_cast<int64_t>(i), listing.paths[i], *reasons[i]});
  return bad;
}

}  // namespace fulcrum
