// List files of ImageNet-LT and Places-LT: a path and a label a line.
//
//   train/n01440764/n01440764_190.JPEG 0      auto [train, test] = list_image_lists(
//   train/my cat.png 7                            "imagenet", "ImageNet_LT_train.txt",
//                                                 "ImageNet_LT_test.txt", /*class_names=*/"");
//
// The label stands after the last space or tab, so that paths may contain spaces. Paths are
// relative to the root and stay below it. There are as many classes as a file of names says; without
// one, as the largest label of the training list says, each with a sample. A path may come twice, with
// the same label.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// One list. `classes` is the number of classes, 0: the largest label + 1. A file that cannot be
/// read is an Error; each line that makes no sense is a problem that names the file and the line.
/// Links that lead out of the root are problems unless they are followed.
ImageListing list_image_list(const std::filesystem::path& root, const std::filesystem::path& list, int64_t classes = 0,
                             bool follow_links = false);

/// A training and a test list with the same classes. `class_names` is a file with one name a line;
/// empty: "0", "1", ….
std::pair<ImageListing, ImageListing> list_image_lists(const std::filesystem::path& root,
                                                       const std::filesystem::path& train_list,
                                                       const std::filesystem::path& test_list,
                                                       const std::filesystem::path& class_names,
                                                       bool follow_links = false);

/// The lines of a file of class names; those that are empty or stand above are problems.
std::vector<std::string> read_class_names(const std::filesystem::path& file, std::vector<std::string>& problems);

}  // namespace fulcrum
