// list_clothing1m: Clothing1M (Xiao et al., CVPR 2015), from lists of keys and files with the label of each key.
//
//   DIR/noisy_train_key_list.txt     images/0/00/1234,5678.jpg          one key (a path) per line
//   DIR/noisy_label_kv.txt           images/0/00/1234,5678.jpg 5        key and label
//   DIR/clean_{train,val,test}_key_list.txt, DIR/clean_label_kv.txt
//   DIR/category_names_eng.txt       T-Shirt                            one class per line
//   DIR/images/…
//
//   ImageListing train = list_clothing1m("DIR", "noisy_train");   // a million images, labels from the web
//   ImageListing test = list_clothing1m("DIR", "clean_test");     // labels by human annotators
//
// The text files may also lie in DIR/annotations.
#pragma once

#include <filesystem>
#include <string>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// Lists `part`: noisy_train, clean_train, clean_val or clean_test. Throws Error if a file is missing. Adds a problem
/// with file and line for a key that has no label or occurs twice, a line without a label, a label outside the
/// classes, and a path that leaves the root.
ImageListing list_clothing1m(const std::filesystem::path& root, const std::string& part, bool follow_links = false);

}  // namespace fulcrum
