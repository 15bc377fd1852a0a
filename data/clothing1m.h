// Clothing1M (Xiao et al., CVPR 2015): lists of keys, and files with the label of each key.
//
//   DIR/noisy_train_key_list.txt     images/0/00/1234,5678.jpg          a key, which is a path, a line
//   DIR/noisy_label_kv.txt           images/0/00/1234,5678.jpg 5        key and label
//   DIR/clean_{train,val,test}_key_list.txt, DIR/clean_label_kv.txt
//   DIR/category_names_eng.txt       T-Shirt                            a class a line
//   DIR/images/…
//
//   ImageListing train = list_clothing1m("DIR", "noisy_train");   // a million images, labels of the web
//   ImageListing test = list_clothing1m("DIR", "clean_test");     // labels of people
//
// The text files may also lie in DIR/annotations.
#pragma once

#include <filesystem>
#include <string>

#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// `part` is noisy_train, clean_train, clean_val or clean_test. A file that is missing is an Error. Problems,
/// each with file and line: a key without a label or that comes twice, a line without a label, a label
/// outside of the classes, a path that leaves the root.
ImageListing list_clothing1m(const std::filesystem::path& root, const std::string& part, bool follow_links = false);

}  // namespace fulcrum
