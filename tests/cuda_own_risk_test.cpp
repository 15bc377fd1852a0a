// A risk that is made of operations, on the device and in a recorded step.
#include "device_testing.h"
#include "trimmed_risk.h"

namespace fulcrum::testing {
namespace {

TEST(CudaOwnRisk, IsRecordedWithTheStep) {
  FULCRUM_NEEDS_CUDA();
  expect_same_on_both({1e-6}, [&]<class K>(Device device) {
    TrimmedRisk risk(0.5, device);
    Tensor losses = zeros({6}, {DType::kF32, device}), sums = zeros_like(losses);
    run_steps<K>(
        4, [&](int i) { losses.copy_from(random_tensor({6}, static_cast<uint64_t>(i), 0, 3, DType::kF32).to(device)); },
        [&] { K::add_into(sums, risk.weights(losses, {})); });
    return Tensors{sums, risk.state().at("statistics")};
  });
}

// As a risk of Python's that was made without a device.
TEST(CudaOwnRisk, ItsSummaryGoesWhereTheWeightsAre) {
  FULCRUM_NEEDS_CUDA();
  TrimmedRisk risk(0.5);
  const Device gpu("cuda");
  EXPECT_EQ(risk.weights(ones({4}, {DType::kF32, gpu}), {}).device(), gpu);
  EXPECT_EQ(risk.summary().steps, 1);
  EXPECT_DOUBLE_EQ(risk.summary().weight_sum, 1);
}

}  // namespace
}  // namespace fulcrum::testing
