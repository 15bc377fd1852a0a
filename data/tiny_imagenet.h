// Tiny ImageNet (Stanford CS231n), as tiny-imagenet-200.zip has it.
//
//   DIR/train/n01443537/images/n01443537_0.JPEG       a folder for each class; other files are passed over
//   DIR/val/images/val_0.JPEG
//   DIR/val/val_annotations.txt                       val_0.JPEG<tab>n03444034<tab>0<tab>32<tab>44<tab>62
//
//   auto [train, test] = list_tiny_imagenet("DIR");
//
// The labels of DIR/test are not public: val is the test set. Classes are numbered in the order of their names.
#pragma once

#include <filesystem>
#include <utility>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// A folder or file that is missing is an Error; problems, with file and line: what list_image_folder finds, a line
/// without a name and a class, a class that is not in train, an image that comes twice, a path that leaves
/// DIR/val/images.
std::pair<ImageListing, ImageListing> list_tiny_imagenet(const std::filesystem::path& root, bool follow_links = false);

}  // namespace fulcrum
