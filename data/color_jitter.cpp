#include <fulcrum/data/color_jitter.h>

#include <algorithm>
#include <utility>

#include <fulcrum/data/image_ops.h>

namespace fulcrum {

ColorJitterDraw draw_color_jitter(const ColorJitterOptions& o, const Philox& philox, uint64_t counter) {
  const Words4 numbers = philox.block(2 * counter), places = philox.block(2 * counter + 1);
  const auto uniform = [&](size_t i, double low, double high) {
    return low + (high - low) * static_cast<double>(Philox::to_uniform(numbers.w[i]));
  };
  const auto factor = [&](size_t i, double v) { return uniform(i, std::max(0.0, 1 - v), 1 + v); };
  ColorJitterDraw draw{
      {factor(0, o.brightness), factor(1, o.contrast), factor(2, o.saturation), uniform(3, -o.hue, o.hue)},
      {0, 1, 2, 3}};
  for (uint32_t left = 4; left > 1; left--)  // Fisher and Yates
    std::swap(draw.order[left - 1], draw.order[Philox::scale(places.w[left - 2], left)]);
  return draw;
}

void color_jitter(Image& image, const ColorJitterOptions& o, const Philox& philox, uint64_t counter) {
  const ColorJitterDraw draw = draw_color_jitter(o, philox, counter);
  for (const int what : draw.order) {
    const double value = draw.values[static_cast<size_t>(what)];
    if (what == 0 && o.brightness > 0) adjust_brightness(image, value);
    if (what == 1 && o.contrast > 0) adjust_contrast(image, value);
    if (what == 2 && o.saturation > 0) adjust_saturation(image, value);
    if (what == 3 && o.hue > 0) adjust_hue(image, value);
  }
}

}  // namespace fulcrum
