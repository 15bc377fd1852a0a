// list_tiny_imagenet: Tiny ImageNet (Stanford CS231n), in the layout of tiny-imagenet-200.zip.
//
//   DIR/train/n01443537/images/n01443537_0.JPEG       a folder for each class; other files are ignored
//   DIR/val/images/val_0.JPEG
//   DIR/val/val_annotations.txt                       val_0.JPEG<tab>n03444034<tab>0<tab>32<tab>44<tab>62
//
//   auto [train, test] = list_tiny_imagenet("DIR");
//
// The labels of DIR/test are not public, so val is the test set. Classes are numbered in the order of their names.
#pragma once

#include <filesystem>
#include <utility>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// Lists DIR/train and DIR/val. Throws Error if a folder or file is missing. Problems of train: those of
/// list_image_folder. Problems of val, with file and line: a line without a name and a class, a class that is not in
/// train, an image that occurs twice, a path that leaves DIR/val/images.
std::pair<ImageListing, ImageListing> list_tiny_imagenet(const std::filesystem::path& root, bool follow_links = false);

}  // namespace fulcrum
