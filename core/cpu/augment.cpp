// Batches of images from the u8 data set: gather, random crop of the padded image, flip, normalise.
#include <array>
#include <vector>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

// Every value that a channel's pixels can become.
template <class T>
std::vector<std::array<T, 256>> normalisation(const Tensor& mean, const Tensor& stddev) {
  std::vector<std::array<T, 256>> table(static_cast<size_t>(mean.numel()));
  for (size_t c = 0; c < table.size(); c++)
    for (size_t v = 0; v < 256; v++)
      table[c][v] = T((static_cast<float>(v) / 255.0f - mean.data<float>()[c]) / stddev.data<float>()[c]);
  return table;
}

}  // namespace

void Cpu::augment(Tensor& y, const Tensor& images, const Tensor& indices, const Tensor& counters,
                  const Tensor& mean, const Tensor& stddev, const AugmentOptions& o) {
  const int64_t h = images.size(1), w = images.size(2), channels = images.size(3);
  const Philox philox(o.seed, streams::kAugment);
  const auto shifts = static_cast<uint32_t>(2 * o.pad + 1);
  visit_floating(y.dtype(), "augment", [&]<class T>() {
    const auto table = normalisation<T>(mean, stddev);
    const auto one = [&](int64_t b) {
      const Words4 draw = philox.block(static_cast<uint64_t>(counters.data<int64_t>()[b]));
      const int64_t shift_y = static_cast<int64_t>(Philox::scale(draw.w[0], shifts)) - o.pad;
      const int64_t shift_x = static_cast<int64_t>(Philox::scale(draw.w[1], shifts)) - o.pad;
      const bool flip = o.flip && (draw.w[2] & 1u);
      const uint8_t* image = images.data<uint8_t>() + indices.data<int64_t>()[b] * h * w * channels;
      T* out = y.data<T>() + b * h * w * channels;
      for (int64_t i = 0; i < h; i++) {
        for (int64_t j = 0; j < w; j++) {
          const int64_t row = i + shift_y, column = (flip ? w - 1 - j : j) + shift_x;
          const bool inside = row >= 0 && row < h && column >= 0 && column < w;
          const uint8_t* pixel = image + (row * w + column) * channels;
          for (int64_t c = 0; c < channels; c++) *out++ = table[static_cast<size_t>(c)][inside ? pixel[c] : 0];
        }
      }
    };
    cpu::parallel_for(y.size(0), 16, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) one(b);
    });
  });
}

}  // namespace fulcrum
