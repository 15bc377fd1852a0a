// InferenceMode: the same numbers, no history, and forms of weights that are kept.
#include "testing.h"

#include <fulcrum/core/inference_mode.h>

namespace fulcrum::testing {
namespace {

struct Conv {
  Tensor x, w;

  Conv(int64_t side, int64_t channels, int64_t kernel, DType dtype)
      : x(empty({1, side, side, channels})), w(empty({channels, kernel, kernel, channels})) {
    fill_normal(x, 0, 1, /*seed=*/1, /*stream=*/1);
    fill_normal(w, 0, 0.1, /*seed=*/1, /*stream=*/2);
    x = x.to(dtype), w = w.to(dtype).set_requires_grad();
  }
  std::vector<double> operator()() const {
    return conv2d(x, w, {}, {.stride = 1, .padding = w.size(1) / 2}).to(DType::kF32).to_vector();
  }
};

// Winograd's way, the library, the direct kernels, 1×1; each is called twice, so that the second takes what is kept.
TEST(InferenceMode, GivesTheSameNumbers) {
  for (const DType dtype : {DType::kF32, DType::kBf16})
    for (const auto& [side, channels, kernel] :
         {std::array<int64_t, 3>{32, 16, 3}, {8, 64, 3}, {8, 24, 3}, {9, 32, 1}}) {
      const Conv conv(side, channels, kernel, dtype);
      const auto expected = conv();
      const InferenceMode inference;
      EXPECT_EQ(conv(), expected) << side << "x" << side << "x" << channels << " " << dtype;
      EXPECT_EQ(conv(), expected) << side << "x" << side << "x" << channels << " " << dtype;
    }
}

TEST(InferenceMode, RecordsNothing) {
  const Conv conv(8, 16, 3, DType::kF32);
  const InferenceMode inference;
  EXPECT_FALSE(conv2d(conv.x, conv.w, {}, {}).requires_grad());
}

// What shows that anything is kept at all: the new weights are not seen before the mode ends.
TEST(InferenceMode, KeepsWhatItMadeOfWeightsToItsEnd) {
  Conv conv(32, 16, 3, DType::kF32);
  const auto before = conv();
  {
    const InferenceMode inference;
    conv();
    Tensor(conv.w.detach()).copy_from(zeros_like(conv.w));
    EXPECT_EQ(conv(), before);
    const InferenceMode within;
    EXPECT_NE(conv(), before);
  }
  EXPECT_NE(conv(), before);
}

}  // namespace
}  // namespace fulcrum::testing
