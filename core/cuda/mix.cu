// Mixup and CutMix of a batch of images, by the rules of mix_rules.h.
#include <fulcrum/core/mix_rules.h>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/cuda/device.cuh>

namespace fulcrum {

using namespace cuda;

namespace {

struct MixShape {
  int64_t mixed, batch, h, w, channels;  // y has the first `mixed` of the batch
};

constexpr int64_t kPixelsPerThread = 4;

// As in augment.cu, `parts` blocks share an image.
template <class T>
__global__ void mix_kernel(T* y, float* share, const float* x, const int64_t* plan, MixShape shape, int64_t parts) {
  const int64_t pixels = shape.h * shape.w;
  for (int64_t job = blockIdx.x; job < shape.mixed * parts; job += gridDim.x) {
    const int64_t b = job / parts, part = job % parts, values = pixels * shape.channels;
    const MixRule rule(plan, shape.batch, b);
    const float* own = x + b * values;
    const float* before = x + (b + shape.batch - 1) % shape.batch * values;
    if (part == 0 && threadIdx.x == 0) share[b] = rule.label_share;
    for (int64_t i = part * blockDim.x + threadIdx.x; i < pixels; i += parts * blockDim.x) {
      const auto at = static_cast<uint32_t>(i), width = static_cast<uint32_t>(shape.w);
      const bool in_box = rule.in_box(at / width, at % width);
      for (int64_t k = i * shape.channels; k < (i + 1) * shape.channels; k++)
        y[b * values + k] = T(in_box ? before[k] : rule.mixed(own[k], before[k]));
    }
  }
}

}  // namespace

void Cuda::mix(Tensor& y, Tensor& share, const Tensor& x, const Tensor& plan) {
  const MixShape shape{y.size(0), x.size(0), x.size(1), x.size(2), x.size(3)};
  const int64_t parts = std::max<int64_t>(1, shape.h * shape.w / (kThreads * kPixelsPerThread));
  visit_floating(y.dtype(), "mix", [&]<class T>() {
    launch(mix_kernel<T>, grid_for(shape.mixed * parts * kThreads), y.data<T>(), share.data<float>(), x.data<float>(),
           plan.data<int64_t>(), shape, parts);
  });
}

}  // namespace fulcrum
