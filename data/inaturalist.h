// list_inaturalist: reads iNaturalist's annotations in COCO format, joining images and labels by image id.
//
//   {"images":      [{"id": 7, "file_name": "train_val2018/Aves/2761/a.jpg", …}, …],
//    "annotations": [{"id": 9, "image_id": 7, "category_id": 2761}, …],
//    "categories":  [{"id": 2761, "name": "Turdus merula", …}, …], …}
//
//   auto [train, test] = list_inaturalist("inat", "inat/train2018.json", "inat/val2018.json");
//
// The file is parsed as a stream: only paths, ids and labels are kept in memory, not the document.
#pragma once

#include <filesystem>
#include <utility>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// Reads a training and a test file. The classes are the categories of the training file; their ids must be 0, 1, …
/// without gaps, each once. Throws Error if the ids are not, if a file cannot be read, and, with line and column, if
/// it is not JSON. Problems name the file and the entry ("annotation 3" is the third): a field that is missing or has
/// another type, a repeated image id, an annotation without an image, an image without an annotation or with
/// contradicting ones, a category outside the classes, a path that leaves the root.
std::pair<ImageListing, ImageListing> list_inaturalist(const std::filesystem::path& root,
                                                       const std::filesystem::path& train_json,
                                                       const std::filesystem::path& test_json,
                                                       bool follow_links = false);

}  // namespace fulcrum
