// Mixup and CutMix on the CUDA back-end: the same bits as the CPU's.
#include <fulcrum/core/mix_rules.h>
#include <fulcrum/core/random.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

TEST(CudaMix, EqualsTheCpuBitForBit) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : {Shape{3, 4, 5, 3}, Shape{1, 1, 1, 1}, Shape{5, 32, 33, 3}, Shape{2, 47, 53, 4}}) {
    const int64_t batch = shape[0], h = shape[1], w = shape[2];
    const Tensor x = random_tensor(shape, 1, -2, 2, DType::kF32);
    Tensor plan = empty({kMixRows, batch}, {DType::kI64, {}});
    const Philox philox(kSeed, 6);
    for (int64_t b = 0; b < batch; b++) {
      const auto draw = [&](int64_t k, int64_t n) {
        return static_cast<int64_t>(philox.below(static_cast<uint64_t>(8 * b + k), static_cast<uint32_t>(n)));
      };
      const bool cuts = b % 2 == 1;
      const int64_t top = draw(0, h), left = draw(1, w);
      const int64_t rows[kMixRows] = {cuts ? kMixUnit : draw(2, kMixUnit),
                                      draw(3, kMixUnit),
                                      top,
                                      left,
                                      cuts ? top + 1 + draw(4, h - top) : top,
                                      cuts ? left + 1 + draw(5, w - left) : left};
      for (int64_t r = 0; r < kMixRows; r++) plan.data<int64_t>()[r * batch + b] = rows[r];
    }
    for (const DType dtype : {DType::kF32, DType::kBf16})
      for (const int64_t n : {batch, std::max<int64_t>(batch - 1, 1)})
        expect_same_on_both({}, [&]<class K>(Device device) {
          Tensor y = empty({n, h, w, shape[3]}, {dtype, device}), share = empty({n}, {DType::kF32, device});
          K::mix(y, share, x.to(device), plan.to(device));
          return Tensors{y, share};
        });
  }
}

}  // namespace
}  // namespace fulcrum::testing
