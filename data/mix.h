// Mixup and CutMix: batches whose samples are mixed with their neighbours, and whose losses stay one a sample.
// Zhang, Cisse, Dauphin, Lopez-Paz: mixup, ICLR 2018, arXiv 1710.09412. Yun et al.: CutMix, ICCV 2019, arXiv
// 1905.04899. Pairs are torchvision's: sample i with i − 1 of the shuffled batch, the first with the last.
//
//   const MixDraw draw = draw_mix({.mixup_alpha = 0.2}, {224, 224}, Philox(seed, streams::kMix), counter);
//   // loss of sample i: draw.label_share · l(x_i, y_i) + (1 − draw.label_share) · l(x_i, y_{i−1})
#pragma once

#include <fulcrum/core/random.h>
#include <fulcrum/data/resize.h>

namespace fulcrum {

/// An α of 0 is off. With both, every batch gets the one or the other, as timm does it.
struct MixOptions {
  double mixup_alpha = 0, cutmix_alpha = 0;  // the share is Beta(α, α)
  double probability = 1;                    // of a batch to be mixed
  double switch_probability = 0.5;           // of CutMix where both are on
  bool any() const { return mixup_alpha > 0 || cutmix_alpha > 0; }
};

/// What happens to one batch: pixels of the box are the neighbour's, others mixed.
struct MixDraw {
  double pixel_share = 1;  // one's own, outside of the box
  double label_share = 1;
  CropBox box = {};  // empty unless CutMix
};

/// A function of its arguments alone.
MixDraw draw_mix(const MixOptions& options, ImageSize size, const Philox& philox, uint64_t counter);

/// A Beta(α, α) number from the words of `philox` at and after block `first`.
double draw_beta(double alpha, const Philox& philox, uint64_t first);

}  // namespace fulcrum
