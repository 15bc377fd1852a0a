// list_wilds: iWildCam2020-WILDS, from metadata.csv, which has a row with split and label for each image.
//
//   DIR/metadata.csv      split,filename,y,location_remapped,…      train,a.jpg,3,12,…
//   DIR/categories.csv    y,name,…                                  the classes' names; optional
//   DIR/train/a.jpg       the images of all splits
//
//   auto parts = list_wilds("DIR", {"train", "test", "id_test"});   // one listing for each, in this order
//
// The splits are train; val and test, from other cameras (out of distribution); id_val and id_test, from the
// cameras of train. Columns other than split, filename and y are ignored.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// Lists the splits. The number of classes is the largest y of all rows + 1; every class must occur in some row. Throws
/// Error if a column is missing or a row is malformed. Problems, with the file and, for a row, the line: an unknown
/// split, a y that is not a class, a file that occurs twice in a split, a path that leaves DIR/train, a class without
/// rows, a split without rows.
std::vector<ImageListing> list_wilds(const std::filesystem::path& root, const std::vector<std::string>& splits,
                                     bool follow_links = false);

}  // namespace fulcrum
