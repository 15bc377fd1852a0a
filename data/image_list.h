// List files of ImageNet-LT, Places-LT and iNaturalist: a path and a label a line.
//
//   train/n01440764/n01440764_190.JPEG 0      auto [train, test] = list_image_lists(
//   train/my cat.png 7                            "imagenet", "ImageNet_LT_train.txt",
//                                                 "ImageNet_LT_test.txt", /*class_names=*/"");
//
// The label stands after the last space or tab, so that paths may contain spaces. Paths are
// relative to the root and stay below it (links are not looked at). There are as many classes as
// the largest label of the training list says; a class may be without samples. A path may come
// twice, with the same label.
#pragma once

#include <filesystem>
#include <utility>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// One list. `classes` is the number of classes, 0: the largest label + 1. A file that cannot be
/// read is an Error; each line that makes no sense is a problem that names the file and the line.
ImageListing list_image_list(const std::filesystem::path& root, const std::filesystem::path& list,
                             int64_t classes = 0);

/// A training and a test list with the classes of the first. `class_names` is a file with one name
/// a line, as many as there are classes; empty: "0", "1", ….
std::pair<ImageListing, ImageListing> list_image_lists(const std::filesystem::path& root,
                                                       const std::filesystem::path& train_list,
                                                       const std::filesystem::path& test_list,
                                                       const std::filesystem::path& class_names);

}  // namespace fulcrum
