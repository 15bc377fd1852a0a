// The drawn cases of risk_properties_test.cpp on both back-ends: the same weights and the same state.
#include "device_testing.h"
#include "risk_cases.h"

namespace fulcrum::testing {
namespace {

TEST(CudaRiskProperties, BothBackEndsGiveTheSameWeights) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  cuda::use_device(gpu.index);
  for (int number = 0; number < 120 && !HasFailure(); number++) {
    Draws d(number);
    const int64_t most = number % 40 == 7 ? kMostLosses : 60;  // the emulator is slow
    const RiskCase c = draw_risk(d, draw_size(d, most));
    const DType dtype = d.dtype();
    SCOPED_TRACE(concat_text("case ", number, ": ", c.text, " B ", c.batch, " ", dtype));
    const double tolerance = std::max(1e-11, rounding(c, dtype));
    const auto host = c.make({}), device = c.make(gpu);
    for (int step = 0; step < 3; step++) {
      const Values l = draw_losses(d, c.batch);
      const Tensor groups = labels_of(draw_groups(d, c));
      const Tensor want = host->weights(as_losses(l, dtype), {.groups = groups});
      const Tensor got = device->weights(as_losses(l, dtype, gpu), {.groups = groups.to(gpu)});
      ASSERT_EQ(got.dtype(), want.dtype());
      ASSERT_TRUE(all_close(got, want, {tolerance, 1e-37}));
      for (const auto& [key, t] : host->state()) ASSERT_TRUE(all_close(device->state().at(key), t, {tolerance})) << key;
    }
  }
}

}  // namespace
}  // namespace fulcrum::testing
