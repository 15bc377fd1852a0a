// Batches of images from the u8 data set: gather, random crop of the padded image, flip, normalise.
#include <fulcrum/core/cuda/device.cuh>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/random.h>

namespace fulcrum {

using namespace cuda;

namespace {

/// What one Philox block says of one image.
struct AugmentDraw {
  int64_t shift_y, shift_x;  // of the crop, in [−pad, pad]
  bool flip;

  __device__ AugmentDraw(const AugmentOptions& o, const Words4& words, int64_t, int64_t) {
    const auto shifts = static_cast<uint32_t>(2 * o.pad + 1);
    shift_y = static_cast<int64_t>(Philox::scale(words.w[0], shifts)) - o.pad;
    shift_x = static_cast<int64_t>(Philox::scale(words.w[1], shifts)) - o.pad;
    flip = o.flip && (words.w[2] & 1u);
  }

  /// Turns the output's row and column into the source's; false where that is not in the image.
  __device__ bool to_source(int64_t& y, int64_t& x, int64_t h, int64_t w) const {
    y += shift_y;
    x = (flip ? w - 1 - x : x) + shift_x;
    return x >= 0 && x < w && y >= 0 && y < h;
  }
};

struct AugmentInputs {
  const uint8_t* images;
  const int64_t *indices, *counters;
  const float *mean, *stddev;
  int64_t h, w, channels;
};

constexpr int64_t kPixelsPerThread = 4;

// An image, of fewer than 2³² pixels, is the work of `parts` blocks; a thread's pixels lie their width
// apart.
template <class T>
__global__ void augment_kernel(T* y, AugmentInputs in, int64_t batch, int64_t parts, Philox philox, AugmentOptions o) {
  const int64_t pixels = in.h * in.w;
  for (int64_t job = blockIdx.x; job < batch * parts; job += gridDim.x) {
    const int64_t b = job / parts, part = job % parts;
    const AugmentDraw draw(o, philox.block(static_cast<uint64_t>(in.counters[b])), in.h, in.w);
    const uint8_t* image = in.images + in.indices[b] * pixels * in.channels;
    T* out = y + b * pixels * in.channels;
    for (int64_t i = part * blockDim.x + threadIdx.x; i < pixels; i += parts * blockDim.x) {
      const auto at = static_cast<uint32_t>(i), width = static_cast<uint32_t>(in.w);  // 64-bit division is slow
      int64_t row = at / width, column = at % width;
      const bool inside = draw.to_source(row, column, in.h, in.w);
      const uint8_t* pixel = image + (inside ? (row * in.w + column) * in.channels : 0);
      for (int64_t c = 0; c < in.channels; c++) {
        const float value = inside ? static_cast<float>(pixel[c]) : 0.0f;
        out[i * in.channels + c] = T((value / 255.0f - in.mean[c]) / in.stddev[c]);
      }
    }
  }
}

}  // namespace

void Cuda::augment(Tensor& y, const Tensor& images, const Tensor& indices, const Tensor& counters, const Tensor& mean,
                   const Tensor& stddev, const AugmentOptions& o) {
  const int64_t batch = y.size(0), pixels = images.size(1) * images.size(2);
  const AugmentInputs in{images.data<uint8_t>(), indices.data<int64_t>(), counters.data<int64_t>(),
                         mean.data<float>(),     stddev.data<float>(),    images.size(1),
                         images.size(2),         images.size(3)};
  const int64_t parts = std::max<int64_t>(1, pixels / (kThreads * kPixelsPerThread));
  visit_floating(y.dtype(), "augment", [&]<class T>() {
    launch(augment_kernel<T>, grid_for(batch * parts * kThreads), y.data<T>(), in, batch, parts,
           Philox(o.seed, streams::kAugment), o);
  });
}

}  // namespace fulcrum
