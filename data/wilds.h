// iWildCam2020-WILDS: metadata.csv, a row for each image with its split and its label.
//
//   DIR/metadata.csv      split,filename,y,location_remapped,…      train,a.jpg,3,12,…
//   DIR/categories.csv    y,name,…                                  the classes' names; may be missing
//   DIR/train/a.jpg       the images of all splits
//
//   auto parts = list_wilds("DIR", {"train", "test", "id_test"});   // a listing each, in this order
//
// The splits are train, val and test (of other cameras: out of distribution), id_val and id_test (of the
// training's cameras). Columns other than split, filename and y are passed over.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// As many classes as the largest y of all rows says, each in some row. A missing column or a malformed
/// row is an Error; problems, with file and line: a split of another name, a y that is no class, a file
/// that comes twice in a split, a path that leaves DIR/train, a class without a row, a split without rows.
std::vector<ImageListing> list_wilds(const std::filesystem::path& root, const std::vector<std::string>& splits,
                                     bool follow_links = false);

}  // namespace fulcrum
