// list_image_lists: reads list files like those of ImageNet-LT and Places-LT, with a path and a label per line.
//
//   train/n01440764/n01440764_190.JPEG 0      auto [train, test] = list_image_lists(
//   train/my cat.png 7                            "imagenet", "ImageNet_LT_train.txt",
//                                                 "ImageNet_LT_test.txt", /*class_names=*/"");
//
// The label follows the last space or tab, so paths may contain spaces. Paths are relative to the root and
// must stay below it. The number of classes is that of the file of class names; without such a file, it is
// the largest label of the training list + 1, and every class must have a sample. A path may occur
// twice if it has the same label.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// Reads one list. `classes` is the number of classes; 0: the largest label + 1. Throws Error if the file cannot be
/// read. Each malformed line is a problem with file and line. Links that lead out of the root are problems unless
/// `follow_links`.
ImageListing list_image_list(const std::filesystem::path& root, const std::filesystem::path& list, int64_t classes = 0,
                             bool follow_links = false);

/// Reads a training and a test list with the same classes. `class_names` is a file with one name per line;
/// empty: the names are "0", "1", ….
std::pair<ImageListing, ImageListing> list_image_lists(const std::filesystem::path& root,
                                                       const std::filesystem::path& train_list,
                                                       const std::filesystem::path& test_list,
                                                       const std::filesystem::path& class_names,
                                                       bool follow_links = false);

/// Returns the lines of a file of class names; empty and repeated lines are problems.
std::vector<std::string> read_class_names(const std::filesystem::path& file, std::vector<std::string>& problems);

}  // namespace fulcrum
