// Image files: folders, lists and the published formats, listed and then opened as an ImageDataset.
#include "bindings.h"

#include <fulcrum/data/clothing1m.h>
#include <fulcrum/data/image_dataset.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/image_list.h>
#include <fulcrum/data/tiny_imagenet.h>
#include <fulcrum/data/wilds.h>

namespace fulcrum::python {

namespace {

using Path = std::filesystem::path;

void bind_listing(nb::module_& m) {
  nb::class_<ImageListing>(m, "ImageListing", "Paths and labels, before any image is opened.")
      .def_ro("paths", &ImageListing::paths, "Relative to the root.")
      .def_ro("labels", &ImageListing::labels)
      .def_ro("class_names", &ImageListing::class_names)
      .def_ro("problems", &ImageListing::problems, "All problems found; ImageDataset refuses a listing that has any.")
      .def("__len__", [](const ImageListing& listing) { return listing.paths.size(); });
  m.def("list_image_folder", &list_image_folder, "dir"_a, Unlocked(),
        "Lists a folder with one subfolder per class, as torchvision's ImageFolder does.");
  m.def("list_image_folders", &list_image_folders, "dir"_a, Unlocked(),
        "The listings (train, test) of dir/train and of dir/test or dir/val.");
  m.def("list_image_list", &list_image_list, "root"_a, "list"_a, "classes"_a = 0, "follow_links"_a = false, Unlocked(),
        "Lists a file with one path and label per line; classes = 0: the largest label + 1.");
  m.def("list_image_lists", &list_image_lists, "root"_a, "train_list"_a, "test_list"_a, "class_names"_a = "",
        "follow_links"_a = false, Unlocked(), "The listings (train, test) of two list files with the same classes.");
  m.def("list_tiny_imagenet", &list_tiny_imagenet, "root"_a, "follow_links"_a = false, Unlocked(),
        "The listings (train, val) of Tiny ImageNet.");
  m.def("list_wilds", &list_wilds, "root"_a, "splits"_a, "follow_links"_a = false, Unlocked(),
        "iWildCam2020-WILDS: a listing for each of the splits train, val, test, id_val, id_test.");
  m.def("list_clothing1m", &list_clothing1m, "root"_a, "part"_a, "follow_links"_a = false, Unlocked(),
        "Clothing1M: part is noisy_train, clean_train, clean_val or clean_test.");
}

void bind_image_dataset(nb::module_& m) {
  nb::class_<ImageDataset, Dataset>(m, "ImageDataset", "Image files, decoded on access to the same pixels as PIL's.")
      .def(
          "__init__",
          [](ImageDataset* self, ImageListing listing, int64_t image_size, int64_t resize_size, int64_t channels,
             bool squash, bool exif_orientation, bool fast_decode, bool skip_bad, int threads, int64_t cache_mb) {
            new (self) ImageDataset(std::move(listing), {channels, image_size, resize_size, squash, exif_orientation,
                                                         fast_decode, skip_bad, threads, cache_mb});
          },
          "listing"_a, "image_size"_a = 0, "resize_size"_a = 0, "channels"_a = 3, "squash"_a = false,
          "exif_orientation"_a = false, "fast_decode"_a = false, "skip_bad"_a = false, "threads"_a = 0,
          "cache_mb"_a = 256, Unlocked(),
          "image_size: side of the square in pixels (0: unchanged, all files of one size); resize_size: length of "
          "the shorter side before the centre crop; channels: 1 or 3; squash: resize both sides instead of cropping; "
          "skip_bad: decode every file at the start and leave out those that fail; threads: for skip_bad (0: all "
          "cores); cache_mb: MiB of undecoded files to keep in memory.")
      .def_prop_ro("paths", &ImageDataset::paths)
      .def_prop_ro(
          "skipped",
          [](const ImageDataset& dataset) {
            std::vector<std::pair<std::string, std::string>> all;
            for (const BadImage& bad : dataset.skipped()) all.emplace_back(bad.path, bad.reason);
            return all;
          },
          "(path, reason) of every file that skip_bad left out.");
}

}  // namespace

void bind_listings(nb::module_& m) {
  bind_listing(m);
  bind_image_dataset(m);
}

}  // namespace fulcrum::python
