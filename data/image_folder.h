// list_image_folder: lists a folder that has one folder per class, like torchvision's ImageFolder.
//
//   DIR/train/cat/1.jpg            ImageListing train = list_image_folder("DIR/train");
//   DIR/train/dog/new/2.png        ImageDataset data(std::move(train), {.image_size = 224});
//   DIR/test/cat/3.jpg             auto [a, b] = list_image_folders("DIR");   // both parts
//   DIR/test/dog/4.jpg
//
// Classes are numbered by name, in byte order. The files of a class, including those in nested folders, are in
// torchvision's order. Links to folders are followed. Files whose extension is not an image's are ignored, as in
// torchvision. Images in formats that Fulcrum does not read (.bmp, .webp, …) are problems, because torchvision
// would train on them.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// Lists `dir`. Throws Error if a folder cannot be read. Problems: no class, a class without images.
ImageListing list_image_folder(const std::filesystem::path& dir);

/// Lists dir/train, and dir/test or, if there is none, dir/val. Paths are relative to `dir`. It is a problem
/// of the second listing if its classes differ from those of the first.
std::pair<ImageListing, ImageListing> list_image_folders(const std::filesystem::path& dir);

/// Lists dir/part (e.g. dir/val), which must have the classes of `train`; if not, that is a problem.
ImageListing list_image_folder_part(const std::filesystem::path& dir, const std::string& part,
                                    const ImageListing& train);

}  // namespace fulcrum
