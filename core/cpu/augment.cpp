// Makes batches of images from a u8 data set: gather, random crop of the padded image, flip, rotation,
// normalisation, random erasing.
#include <algorithm>
#include <array>
#include <vector>

#include <fulcrum/core/augment_rules.h>
#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {

// A table per channel: the normalised value of each of the 256 pixel values.
template <class T>
std::vector<std::array<T, 256>> normalisation(const Tensor& mean, const Tensor& stddev) {
  std::vector<std::array<T, 256>> table(static_cast<size_t>(mean.numel()));
  for (size_t c = 0; c < table.size(); c++)
    for (size_t v = 0; v < 256; v++)
      table[c][v] = T((static_cast<float>(v) / 255.0f - mean.data<float>()[c]) / stddev.data<float>()[c]);
  return table;
}

/// One row of the output. Columns [first, end) are copied from the source pixel at `from` and those to its
/// right (step 1) or left (step −1); the other columns are padding, with pixels of 0.
template <class T>
struct Row {
  const uint8_t* from;
  int64_t step, first, end;
};

// kChannels is the number of channels, or 0 for any_channels; a constant keeps the inner loop free of branches.
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

struct Size {
  int64_t h, w, channels;
};

// For crops and flips, which copy whole rows.
template <class T>
void copy_rows(T* out, const uint8_t* image, const Size& size, const AugmentDraw& draw,
               const std::vector<std::array<T, 256>>& table) {
  const auto [h, w, channels] = size;
  // Column j shows source column j + shift_x, or w − 1 − j + shift_x where it is flipped.
  const int64_t step = draw.flip ? -1 : 1, origin = draw.flip ? w - 1 + draw.shift_x : draw.shift_x;
  const int64_t first = std::clamp(draw.flip ? draw.shift_x : -draw.shift_x, int64_t{0}, w);
  const int64_t end = std::clamp(draw.flip ? w + draw.shift_x : w - draw.shift_x, first, w);
  for (int64_t i = 0; i < h; i++, out += w * channels) {
    const int64_t source = i + draw.shift_y;
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
}

// For rotations, pixel by pixel.
template <class T>
void copy_pixels(T* out, const uint8_t* image, const Size& size, const AugmentDraw& draw,
                 const std::vector<std::array<T, 256>>& table) {
  const auto [h, w, channels] = size;
  for (int64_t i = 0; i < h; i++)
    for (int64_t j = 0; j < w; j++, out += channels) {
      int64_t y = i, x = j;
      const bool inside = draw.to_source(y, x, h, w);
      const uint8_t* pixel = image + (inside ? (y * w + x) * channels : 0);
      for (int64_t c = 0; c < channels; c++) out[c] = table[static_cast<size_t>(c)][inside ? pixel[c] : 0];
    }
}

template <class T>
void erase(T* out, const Size& size, const Erased& gone) {
  for (int64_t i = gone.top; i < gone.top + gone.height; i++)
    std::fill_n(out + (i * size.w + gone.left) * size.channels, gone.width * size.channels, T(0.0f));
}

}  // namespace

void Cpu::augment(Tensor& y, const Tensor& images, const Tensor& indices, const Tensor& counters, const Tensor& mean,
                  const Tensor& stddev, const AugmentOptions& o) {
  const Size size{images.size(1), images.size(2), images.size(3)};
  const int64_t pixels = size.h * size.w * size.channels;
  const Philox philox(o.seed, streams::kAugment);
  visit_floating(y.dtype(), "augment", [&]<class T>() {
    const auto table = normalisation<T>(mean, stddev);
    const auto one = [&](int64_t b) {
      const Words4 words = philox.block(static_cast<uint64_t>(counters.data<int64_t>()[b]));
      const AugmentDraw draw(o, words, size.h, size.w);
      const uint8_t* image = images.data<uint8_t>() + indices.data<int64_t>()[b] * pixels;
      T* out = y.data<T>() + b * pixels;
      draw.rotates ? copy_pixels(out, image, size, draw, table) : copy_rows(out, image, size, draw, table);
      erase(out, size, Erased(o, counters.data<int64_t>()[b], size.h, size.w));
    };
    cpu::parallel_for(y.size(0), 16, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; b++) one(b);
    });
  });
}

}  // namespace fulcrum
