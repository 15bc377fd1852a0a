// The augmentation of the CUDA back-end draws and rounds as the CPU's: the same bits.
#include <fulcrum/core/random.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

TEST(CudaAugment, EqualsTheCpuBitForBit) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : {Shape{3, 4, 5, 3}, Shape{5, 32, 32, 3}, Shape{2, 1, 1, 1}, Shape{4, 28, 28, 1},
                             Shape{2, 47, 53, 4}, Shape{1, 3, 2, 7}})
    for (const AugmentOptions& o :
         {AugmentOptions{},
          {4, false, 7},
          {0, true, 8},
          {4, true, 9},
          {60, true, 1ull << 40},
          AugmentOptions{.pad = 1, .flip = true, .erase = {.probability = 0.7, .area_max = 0.9}, .seed = 3}})
      for (int64_t batch : {1, 37}) {
        Tensor images = empty(shape, {DType::kU8, {}});
        const Philox philox(kSeed, 5);
        for (int64_t i = 0; i < images.numel(); i++)
          images.data<uint8_t>()[i] = static_cast<uint8_t>(philox.below(static_cast<uint64_t>(i), 256));
        std::vector<int64_t> rows, numbers;
        for (int64_t b = 0; b < batch; b++) {
          rows.push_back(b * 3 % shape[0]);
          numbers.push_back((int64_t{1} << 33) + 11 * b);
        }
        const Tensor mean = random_tensor({shape[3]}, 1, 0, 1, DType::kF32);
        const Tensor stddev = random_tensor({shape[3]}, 2, 0.1, 1, DType::kF32);
        for (DType dtype : {DType::kF32, DType::kBf16})
          expect_same_on_both({}, [&]<class K>(Device device) {
            Tensor y = empty({batch, shape[1], shape[2], shape[3]}, {dtype, device});
            K::augment(y, images.to(device), labels_of(rows).to(device), labels_of(numbers).to(device), mean.to(device),
                       stddev.to(device), o);
            return Tensors{y};
          });
      }
}

}  // namespace
}  // namespace fulcrum::testing
