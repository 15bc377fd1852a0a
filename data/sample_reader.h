// SampleReader: reads the pixels of one training image, with all augmentation that works on u8 pixels. Internal to
// data/.
//
//   SampleReader reader(dataset, options);
//   if (reader.needed()) reader.read(sample, counter, pixels);   // else the kernel gathers, crops and flips
//
// The order is torchvision's: random crop of the original, crop of the padded image, flip, colour jitter, RandAugment.
// The augmentation kernel does padded crop and flip, unless colour jitter or RandAugment has to follow them.
#pragma once

#include <fulcrum/core/kernel_types.h>
#include <fulcrum/data/dataset.h>
#include <fulcrum/data/loader.h>

namespace fulcrum {

class SampleReader {
 public:
  SampleReader(const Dataset& dataset, const LoaderOptions& options);

  /// Whether images have to be read one by one even if the data set has them in memory.
  bool needed() const { return parts_ || colours_; }
  /// The augmentation that is left for the kernel.
  const AugmentOptions& kernel_options() const { return kernel_; }
  /// Writes u8 [H, W, C] to `out`; the pixels depend only on the arguments.
  void read(int64_t sample, uint64_t counter, uint8_t* out) const;

 private:
  /// The image before the padded crop: a random crop of the original, or the data set's image. Reuses `memory`.
  Image part(int64_t sample, uint64_t counter, std::vector<uint8_t> memory) const;
  Image random_part(int64_t sample, uint64_t counter, std::vector<uint8_t> memory) const;
  Image crop_and_flip(const Image& image, uint64_t counter) const;

  const Dataset& dataset_;
  const LoaderOptions& options_;
  bool parts_, colours_;
  AugmentOptions kernel_;
};

}  // namespace fulcrum
