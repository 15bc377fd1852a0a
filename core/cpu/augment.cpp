// Batches of images from the u8 data set: gather, random crop of the padded image, flip, normalise.
#include <algorithm>
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

/// One row of the output: columns [first, end) come from the source pixel that `from` points to, then
/// from the ones to its right (step 1) or left (step −1); the others are padding, whose pixels are 0.
template <class T>
struct Row {
  const uint8_t* from;
  int64_t step, first, end;
};

// kChannels as a constant, 0 for any other number, keeps the inner loop free of branches.
template <int kChannels, class T>
void write_row(T* out, const Row<T>& row, int64_t width, int64_t any_channels,
               const std::vector<std::array<T, 256>>& table) {
  const int64_t channels = kChannels > 0 ? kChannels : any_channels;
  const auto pad = [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j++)
      for (int64_t c = 0; c < channels; c++) out[j * channels + c] = table[static_cast<size_t>(c)][0];
  };
  pad(0, row.first);
  const uint8_t* pixel = row.from;
  for (int64_t j = row.first; j < row.end; j++, pixel += row.step * channels)
    for (int64_t c = 0; c < channels; c++) out[j * channels + c] = table[static_cast<size_t>(c)][pixel[c]];
  pad(row.end, width);
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
      // Column j shows source column j + shift_x, or w − 1 − j + shift_x where it is flipped.
      const int64_t step = flip ? -1 : 1, origin = flip ? w - 1 + shift_x : shift_x;
      const int64_t first = std::clamp(flip ? shift_x : -shift_x, int64_t{0}, w);
      const int64_t end = std::clamp(flip ? w + shift_x : w - shift_x, first, w);
      for (int64_t i = 0; i < h; i++, out += w * channels) {
        const int64_t source = i + shift_y;
        const bool inside = source >= 0 && source < h && first < end;
        const Row<T> row = inside ? Row<T>{image + (source * w + origin + step * first) * channels, step, first, end}
                                  : Row<T>{image, step, 0, 0};
        if (channels == 3) {
          write_row<3>(out, row, w, channels, table);
        } else if (channels == 1) {
          write_row<1>(out, row, w, channels, table);
        } else {
          write_row<0>(out, row, w, channels, table);
        }
      }
    };
    cpu::parallel_for(y.size(0), 16, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) one(b);
    });
  });
}

}  // namespace fulcrum
