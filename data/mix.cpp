#include <fulcrum/data/mix.h>

#include <algorithm>
#include <cmath>

namespace fulcrum {

namespace {

// The random blocks of a batch: one for the choice and the box, then kGammaBlocks for each of two gamma numbers. A
// gamma trial is rejected with a probability below 5 %, so that a number practically never runs out of blocks.
constexpr uint64_t kBlocksOfACounter = 128, kGammaBlocks = 60;

double uniform(uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }  // in (0, 1)

/// The logarithm of a gamma number (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000). α
/// may be so small that the number itself underflows to 0.
double log_gamma_number(double alpha, const Philox& philox, uint64_t first) {
  const double boosted = alpha < 1 ? alpha + 1 : alpha, d = boosted - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  double result = std::log(d);  // in case all trials are rejected
  for (uint64_t t = 1; t < kGammaBlocks; t++) {
    const Words4 words = philox.block(first + t);
    const double x = std::sqrt(-2 * std::log(uniform(words.w[0]))) * std::cos(6.283185307179586 * uniform(words.w[1]));
    const double v = 1 + c * x;
    if (v <= 0) continue;
    const double cube = v * v * v;
    if (std::log(uniform(words.w[2])) >= 0.5 * x * x + d - d * cube + d * std::log(cube)) continue;
    result = std::log(d * cube);
    break;
  }
  return alpha < 1 ? result + std::log(uniform(philox.block(first).w[0])) / alpha : result;
}

/// torchvision's box: centred at a random pixel, with a fraction 1 − share of the area, clipped at the borders.
CropBox draw_box(double share, ImageSize size, const Words4& words) {
  const auto place = [](uint32_t word, int64_t side) {
    return static_cast<int64_t>(Philox::scale(word, static_cast<uint32_t>(side)));
  };
  const int64_t x = place(words.w[2], size.width), y = place(words.w[3], size.height);
  const double half = 0.5 * std::sqrt(1 - share);
  const auto extent = [&](int64_t side) { return static_cast<int64_t>(half * static_cast<double>(side)); };
  const int64_t left = std::max<int64_t>(x - extent(size.width), 0),
                right = std::min(x + extent(size.width), size.width);
  const int64_t top = std::max<int64_t>(y - extent(size.height), 0),
                bottom = std::min(y + extent(size.height), size.height);
  return {top, left, bottom - top, right - left};
}

}  // namespace

double draw_beta(double alpha, const Philox& philox, uint64_t first) {
  const double a = log_gamma_number(alpha, philox, first), b = log_gamma_number(alpha, philox, first + kGammaBlocks);
  return 1 / (1 + std::exp(b - a));
}

MixDraw draw_mix(const MixOptions& o, ImageSize size, const Philox& philox, uint64_t counter) {
  MixDraw draw;
  const uint64_t first = counter * kBlocksOfACounter;
  const Words4 words = philox.block(first);
  if (!o.any() || uniform(words.w[0]) >= o.probability) return draw;
  const bool cuts = o.mixup_alpha <= 0 || (o.cutmix_alpha > 0 && uniform(words.w[1]) < o.switch_probability);
  const double share = draw_beta(cuts ? o.cutmix_alpha : o.mixup_alpha, philox, first + 1);
  if (!cuts) {
    draw.pixel_share = draw.label_share = share;
    return draw;
  }
  draw.box = draw_box(share, size, words);
  draw.label_share =
      1 - static_cast<double>(draw.box.height * draw.box.width) / static_cast<double>(size.height * size.width);
  return draw;
}

}  // namespace fulcrum
