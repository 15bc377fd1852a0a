// Clothing1M's text files, apart by form feeds: keys, labels of keys, names of the classes.
#include <fulcrum/data/clothing1m.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  static const fuzz::MemoryFile keys, labels, names;
  static const fuzz::Folder folder({{"noisy_train_key_list.txt", keys.path()},
                                    {"noisy_label_kv.txt", labels.path()},
                                    {"category_names_eng.txt", names.path()}});
  fuzz::write_parts({data, size}, {&keys, &labels, &names});
  return fuzz::refuses_or_reads([&] {
    const ImageListing listing = list_clothing1m(folder.path(), "noisy_train");
    fuzz::expect_below(listing.root, listing.paths);
  });
}
