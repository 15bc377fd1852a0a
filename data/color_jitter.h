// ColorJitter as torchvision's: brightness, contrast, saturation and hue by random factors in random order.
//
//   color_jitter(image, {.brightness = 0.4, .contrast = 0.4, .saturation = 0.4}, Philox(seed, streams::kColorJitter), counter);
#pragma once

#include <array>

#include <fulcrum/core/random.h>
#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// Factors are uniform in [max(0, 1 − v), 1 + v], the turn of the hue in [−hue, hue]; 0: none.
struct ColorJitterOptions {
  double brightness = 0, contrast = 0, saturation = 0;
  double hue = 0;  // at most 0.5
  bool any() const { return brightness > 0 || contrast > 0 || saturation > 0 || hue > 0; }
};

/// What is drawn for one sample, a function of (options, philox, counter) alone.
struct ColorJitterDraw {
  std::array<double, 4> values;  // of brightness, contrast, saturation, hue
  std::array<int, 4> order;      // which of them comes first, second, …
};
ColorJitterDraw draw_color_jitter(const ColorJitterOptions& options, const Philox& philox, uint64_t counter);

void color_jitter(Image& image, const ColorJitterOptions& options, const Philox& philox, uint64_t counter);

}  // namespace fulcrum
