// A folder with a folder for each class, as torchvision's ImageFolder reads it.
//
//   DIR/train/cat/1.jpg            ImageListing train = list_image_folder("DIR/train");
//   DIR/train/dog/new/2.png        ImageDataset data(std::move(train), {.image_size = 224});
//   DIR/test/cat/3.jpg             auto [a, b] = list_image_folders("DIR");   // both parts
//   DIR/test/dog/4.jpg
//
// Classes are numbered in the order of their names' bytes; the files of a class, those in nested
// folders too, come in torchvision's order. Links to folders are followed. Files that are no images
// by their names are passed over, as torchvision does; images of kinds that are not read here
// (.bmp, .webp, …) are problems, because torchvision would train on them.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// A folder that cannot be read is an Error. Problems: no class, a class without images.
ImageListing list_image_folder(const std::filesystem::path& dir);

/// dir/train, and dir/test or, where there is none, dir/val. Paths are relative to `dir`. A problem
/// of the second: its classes are not those of the first.
std::pair<ImageListing, ImageListing> list_image_folders(const std::filesystem::path& dir);

/// Another part of it, dir/val say, with the classes of `train`.
ImageListing list_image_folder_part(const std::filesystem::path& dir, const std::string& part,
                                    const ImageListing& train);

}  // namespace fulcrum
