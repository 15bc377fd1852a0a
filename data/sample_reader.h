// SampleReader: the pixels of one training image, with all that is done to it before it becomes numbers.
// Internal to data/.
//
//   SampleReader reader(dataset, options);
//   if (reader.needed()) reader.read(sample, counter, pixels);   // else the kernel gathers, crops and flips
//
// The order is torchvision's: a random part, crop of the padded image, flip, colour jitter, RandAugment. Crop
// and flip belong to the augmentation kernel, unless something comes after them that needs their pixels.
#pragma once

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/data/dataset.h>
#include <fulcrum/data/loader.h>

namespace fulcrum {

class SampleReader {
 public:
  SampleReader(const Dataset& dataset, const LoaderOptions& options);

  /// Whether images have to be read one by one although the data set has them in memory.
  bool needed() const { return parts_ || colours_; }
  /// What is left for the kernel.
  const AugmentOptions& kernel_options() const { return kernel_; }
  /// u8 [H, W, C]; a function of its arguments alone.
  void read(int64_t sample, uint64_t counter, uint8_t* out) const;

 private:
  /// The pixels take `memory`.
  Image part(int64_t sample, uint64_t counter, std::vector<uint8_t> memory) const;
  Image random_part(int64_t sample, uint64_t counter, std::vector<uint8_t> memory) const;
  Image crop_and_flip(const Image& image, uint64_t counter) const;

  const Dataset& dataset_;
  const LoaderOptions& options_;
  bool parts_, colours_;
  AugmentOptions kernel_;
};

}  // namespace fulcrum
