// Annotations of iNaturalist in the format of COCO: images and their labels, joined by the image's id.
//
//   {"images":      [{"id": 7, "file_name": "train_val2018/Aves/2761/a.jpg", …}, …],
//    "annotations": [{"id": 9, "image_id": 7, "category_id": 2761}, …],
//    "categories":  [{"id": 2761, "name": "Turdus merula", …}, …], …}
//
//   auto [train, test] = list_inaturalist("inat", "inat/train2018.json", "inat/val2018.json");
//
// The file is read as a stream: memory holds the paths, ids and labels, not the document.
#pragma once

#include <filesystem>
#include <utility>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// A training and a test file, with the classes of the first: its categories, whose ids are 0, 1, …
/// without a gap, each once. An Error for a file that cannot be read or is no JSON, with line and column.
/// Problems name the file and the entry, "annotation 3" being the third: a field that is missing or of
/// another type, an id that comes twice, an annotation of no image, an image with no annotation or with
/// different ones, a category outside of the classes, a path that leaves the root.
std::pair<ImageListing, ImageListing> list_inaturalist(const std::filesystem::path& root,
                                                       const std::filesystem::path& train_json,
                                                       const std::filesystem::path& test_json,
                                                       bool follow_links = false);

}  // namespace fulcrum
