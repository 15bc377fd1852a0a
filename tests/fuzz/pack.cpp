// Packs: metadata, labels, and every pixel through the mapping.
#include <fulcrum/data/pack.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] {
    const PackDataset pack(fuzz::as_file({data, size}));
    std::vector<uint8_t> image(static_cast<size_t>(pack.image_shape().numel()));
    for (int64_t i = 0; i < pack.size(); i++) pack.read(i, image.data());
  });
}
