// color_jitter: torchvision's ColorJitter, which changes brightness, contrast, saturation and hue by random factors in
// random order.
//
//   color_jitter(image, {.brightness = 0.4, .contrast = 0.4, .saturation = 0.4}, Philox(seed, streams::kColorJitter), counter);
#pragma once

#include <array>

#include <fulcrum/core/random.h>
#include <fulcrum/data/image_file.h>

namespace fulcrum {

/// For each value v, the factor is uniform in [max(0, 1 − v), 1 + v]; the hue shift is uniform in [−hue, hue]. 0
/// disables a change.
struct ColorJitterOptions {
  double brightness = 0, contrast = 0, saturation = 0;
  double hue = 0;  // at most 0.5
  bool any() const { return brightness > 0 || contrast > 0 || saturation > 0 || hue > 0; }
};

/// The random draw for one sample. It depends only on (options, philox, counter).
struct ColorJitterDraw {
  std::array<double, 4> values;  // factors of brightness, contrast and saturation; hue shift
  std::array<int, 4> order;      // indices into `values`, in order of application
};
ColorJitterDraw draw_color_jitter(const ColorJitterOptions& options, const Philox& philox, uint64_t counter);

void color_jitter(Image& image, const ColorJitterOptions& options, const Philox& philox, uint64_t counter);

}  // namespace fulcrum
