// draw_mix: Mixup and CutMix, which mix each sample of a batch with its neighbour; the losses stay one per sample.
// Zhang, Cisse, Dauphin, Lopez-Paz: mixup, ICLR 2018, arXiv 1710.09412. Yun et al.: CutMix, ICCV 2019, arXiv
// 1905.04899. Pairs are as in torchvision: sample i with i − 1 of the shuffled batch, the first with the last.
//
//   const MixDraw draw = draw_mix({.mixup_alpha = 0.2}, {224, 224}, Philox(seed, streams::kMix), counter);
//   // loss of sample i: draw.label_share · l(x_i, y_i) + (1 − draw.label_share) · l(x_i, y_{i−1})
#pragma once

#include <fulcrum/core/random.h>
#include <fulcrum/data/resize.h>

namespace fulcrum {

/// An α of 0 turns a method off. If both are on, every batch gets one of them, as in timm.
struct MixOptions {
  double mixup_alpha = 0, cutmix_alpha = 0;  // the share is drawn from Beta(α, α)
  double probability = 1;                    // that a batch is mixed
  double switch_probability = 0.5;           // of CutMix if both are on
  bool any() const { return mixup_alpha > 0 || cutmix_alpha > 0; }
};

/// How to mix one batch: pixels inside the box are the neighbour's, the others are mixed.
struct MixDraw {
  double pixel_share = 1;  // share of the sample's own pixels, outside the box
  double label_share = 1;  // share of the sample's own label
  CropBox box = {};        // empty unless CutMix
};

/// Draws how to mix one batch. A pure function of its arguments.
MixDraw draw_mix(const MixOptions& options, ImageSize size, const Philox& philox, uint64_t counter);

/// Draws a Beta(α, α) number from the words of `philox` from block `first` on.
double draw_beta(double alpha, const Philox& philox, uint64_t first);

}  // namespace fulcrum
