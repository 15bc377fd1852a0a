// Which images live on the device, and that the loaders of a data set share them.
#include <fulcrum/data/resident_images.h>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

// Decoded images of one grey: as many and as large as wanted, and no memory for them.
class Grey : public Dataset {
 public:
  Grey(int64_t n, int64_t side, bool decoded)
      : Dataset({side, side, 1}, std::vector<int64_t>(static_cast<size_t>(n)), {"grey"}), decoded_(decoded) {}
  void read(int64_t index, uint8_t* out) const override {
    std::fill_n(out, image_shape().numel(), static_cast<uint8_t>(index));
  }
  bool decoded() const override { return decoded_; }

 private:
  bool decoded_;
};

TEST(CudaResident, LoadersShareImagesThatFit) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  const Grey data(5, 3, true);
  const Tensor first = resident_images(data, gpu), second = resident_images(data, gpu);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first.storage(), second.storage());
  EXPECT_EQ(first.device(), gpu);
  EXPECT_EQ(first.shape(), (Shape{5, 3, 3, 1}));
  const auto pixels = first.to_vector();
  for (size_t i = 0; i < pixels.size(); i++) EXPECT_EQ(pixels[i], static_cast<double>(i / 9));
}

TEST(CudaResident, WhatDoesNotFitOrIsNotDecodedIsReadBatchByBatch) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  EXPECT_FALSE(resident_images(Grey(30000, 4096, true), gpu));  // half a TB
  EXPECT_FALSE(resident_images(Grey(5, 3, false), gpu));
}

TEST(CudaResident, OtherImagesOfTheSameDataSetAreSentAnew) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  const auto make = [](double grey) {
    return InMemoryDataset(full({2, 2, 2, 1}, grey, {DType::kU8, {}}), {0, 0}, {"grey"});
  };
  InMemoryDataset data = make(3);
  const Tensor before = resident_images(data, gpu);
  data = make(7);
  EXPECT_EQ(resident_images(data, gpu).to_vector()[0], 7);
  EXPECT_EQ(before.to_vector()[0], 3);
}

}  // namespace
}  // namespace fulcrum::testing
