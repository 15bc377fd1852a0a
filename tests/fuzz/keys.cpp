// Clothing1M's text files, apart by form feeds: keys, labels of keys, names of the classes.
#include <fulcrum/data/clothing1m.h>

#include <algorithm>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  static const fuzz::MemoryFile keys, labels, names;
  static const fuzz::Folder folder({{"noisy_train_key_list.txt", keys.path()},
                                    {"noisy_label_kv.txt", labels.path()},
                                    {"category_names_eng.txt", names.path()}});
  const uint8_t* end = data + size;
  for (const fuzz::MemoryFile* file : {&keys, &labels, &names}) {
    const uint8_t* next = std::find(data, end, '\f');
    file->write({data, next});
    data = std::min(next + 1, end);
  }
  return fuzz::refuses_or_reads([&] {
    const ImageListing listing = list_clothing1m(folder.path(), "noisy_train");
    fuzz::expect_below(listing.root, listing.paths);
  });
}
