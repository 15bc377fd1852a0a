// Convolutions of the CUDA back-end against the CPU's: the shapes that library calls stumble over.
#include <fulcrum/core/cuda/space_to_depth.h>
#include <fulcrum/core/cuda_options.h>

#include "device_testing.h"
#include "oracles.h"

namespace fulcrum::testing {
namespace {

struct ConvCase {
  const char* name;
  int64_t n, h, w, c, out_c, kernel, stride, padding, dilation, groups;

  Conv2dGeometry geometry() const {
    const auto out = [this](int64_t size) { return (size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1; };
    return {n,      h,      w,      c,       out(h),  out(w),   out_c,    kernel,
            kernel, stride, stride, padding, padding, dilation, dilation, groups};
  }
};

const ConvCase kCases[] = {
    {"Plain", 4, 8, 8, 16, 32, 3, 1, 1, 1, 1},      {"OneByOne", 3, 7, 5, 24, 40, 1, 1, 0, 1, 1},
    {"Strided", 2, 9, 11, 16, 16, 3, 2, 1, 1, 1},   {"OneByOneStrided", 2, 9, 7, 8, 16, 1, 2, 0, 1, 1},
    {"OneChannel", 3, 9, 9, 1, 5, 3, 1, 1, 1, 1},   {"Images", 5, 13, 11, 3, 16, 3, 1, 1, 1, 1},
    {"Stem", 2, 23, 21, 3, 8, 7, 2, 3, 1, 1},       {"StemOnBlocks", 3, 24, 18, 3, 16, 7, 2, 3, 1, 1},
    {"GreyStem", 2, 16, 22, 1, 8, 7, 2, 3, 1, 1},   {"OddChannels", 3, 6, 7, 5, 7, 3, 1, 1, 1, 1},
    {"Dilated", 2, 12, 10, 6, 10, 3, 1, 2, 2, 1},   {"Grouped", 2, 7, 7, 12, 18, 3, 1, 1, 1, 3},
    {"Depthwise", 3, 8, 8, 16, 16, 3, 2, 1, 1, 16}, {"Pixel", 7, 1, 1, 9, 4, 1, 1, 0, 1, 1},
    {"NoPadding", 2, 5, 6, 4, 4, 3, 1, 0, 1, 1},    {"WholeImage", 3, 4, 4, 8, 6, 4, 1, 0, 1, 1}};

struct Numbers {
  DType dtype;
  double tolerance;  // relative to the largest number
};
const Numbers kNumbers[] = {{DType::kF32, 2e-5}, {DType::kBf16, 2e-2}, {DType::kF64, 1e-11}};

class CudaConv : public ::testing::TestWithParam<std::tuple<ConvCase, Numbers>> {
 protected:
  const Conv2dGeometry g = std::get<0>(GetParam()).geometry();
  const DType dtype = std::get<1>(GetParam()).dtype;
  const Tolerance tolerance{std::get<1>(GetParam()).tolerance};
  const DType sums = dtype == DType::kF64 ? DType::kF64 : DType::kF32;  // of bias and weight gradients
  const Tensor x = random_tensor({g.n, g.h, g.w, g.c}, 1, -1, 1, dtype);
  const Tensor w = random_tensor({g.out_c, g.kernel_h, g.kernel_w, g.c / g.groups}, 2, -1, 1, dtype);
  const Tensor dy = random_tensor({g.n, g.out_h, g.out_w, g.out_c}, 3, -1, 1, dtype);
  const Tensor bias = random_tensor({g.out_c}, 4, -1, 1, sums);
};

TEST_P(CudaConv, Forward) {
  FULCRUM_NEEDS_CUDA();
  expect_same_on_both(tolerance, [&]<class K>(Device device) {
    Tensor y = empty(dy.shape(), {dtype, device}), biased = empty_like(y);
    K::conv2d(y, x.to(device), w.to(device), {}, g);
    K::conv2d(biased, x.to(device), w.to(device), bias.to(device), g);
    return Tensors{y, biased};
  });
}

TEST_P(CudaConv, Gradients) {
  FULCRUM_NEEDS_CUDA();
  expect_same_on_both(tolerance, [&]<class K>(Device device) {
    Tensor dx = empty(x.shape(), {dtype, device}), dw = empty(w.shape(), {sums, device});
    K::conv2d_data_gradient(dx, dy.to(device), w.to(device), g);
    K::conv2d_weight_gradient(dw, dy.to(device), x.to(device), g);
    return Tensors{dx, dw};
  });
}

// Rows of a batch start anywhere, results included.
TEST_P(CudaConv, Slices) {
  FULCRUM_NEEDS_CUDA();
  if (g.n < 2) GTEST_SKIP() << "a batch of one has no slices";
  Conv2dGeometry part = g;
  part.n = g.n - 1;
  expect_same_on_both(tolerance, [&]<class K>(Device device) {
    Tensor y = zeros(dy.shape(), {dtype, device}), dx = zeros(x.shape(), {dtype, device});
    Tensor y_part = y.slice(1, g.n), dx_part = dx.slice(1, g.n);
    Tensor dw = empty(w.shape(), {sums, device});
    const Tensor some_x = x.to(device).slice(1, g.n), some_dy = dy.to(device).slice(1, g.n);
    K::conv2d(y_part, some_x, w.to(device), {}, part);
    K::conv2d_data_gradient(dx_part, some_dy, w.to(device), part);
    K::conv2d_weight_gradient(dw, some_dy, some_x, part);
    return Tensors{y, dx, dw};
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, CudaConv,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kNumbers)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_" +
                                  name_of(std::get<1>(test.param).dtype);
                         });

struct Settings {
  ~Settings() {
    set_tf32(false);
    set_cudnn_benchmark(false);
  }
};

// Every number of y by the definition in space_to_depth.h, and the way back.
TEST(CudaConvBlocks, AreThePixelsOfTheImage) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  cuda::use_device(gpu.index);
  for (int64_t c = 1; c <= 4; c++)
    for (const int64_t offset : {1, 4, 6}) {
      const Tensor x = random_tensor({2, 6, 8, c}, 1, 1, 2, DType::kBf16);
      Tensor y = empty({2, 3 + offset, 4 + offset, 16}, {DType::kBf16, gpu}), back = empty(x.shape(), options_of(y));
      cuda::space_to_depth(y, x.to(gpu), offset);
      const View in(x);
      const Tensor expected = generate(y.shape(), [&](const Index& i) {
        const int64_t block = i[3] / c, row = 2 * i[1] + block / 2 - offset, column = 2 * i[2] + block % 2 - offset;
        const bool inside = block < 4 && row >= 0 && row < 6 && column >= 0 && column < 8;
        return inside ? in(i[0], row, column, i[3] % c) : 0.0;
      });
      EXPECT_TRUE(all_close(y, expected)) << c << " channels, offset " << offset;
      cuda::depth_to_space(back, y, offset);
      EXPECT_TRUE(all_close(back, x)) << c << " channels, offset " << offset;
    }
}

TEST(CudaConvSettings, TimedPlansAndTf32GiveTheSameNumbersUpToRounding) {
  FULCRUM_NEEDS_CUDA();
  const Settings restored;
  const Conv2dGeometry g{4, 8, 8, 16, 8, 8, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const Tensor x = random_tensor({4, 8, 8, 16}, 1, -1, 1, DType::kF32);
  const Tensor w = random_tensor({32, 3, 3, 16}, 2, -1, 1, DType::kF32);
  const auto compare = [&](double tolerance) {
    expect_same_on_both({tolerance}, [&]<class K>(Device device) {
      Tensor y = empty({4, 8, 8, 32}, {DType::kF32, device});
      K::conv2d(y, x.to(device), w.to(device), {}, g);
      return Tensors{y};
    });
  };
  set_cudnn_benchmark(true);
  compare(2e-5);
  set_tf32(true);
  compare(2e-3);
}

TEST(CudaConvSettings, TheSameBitsTwice) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  const Conv2dGeometry g{32, 14, 14, 16, 14, 14, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const Tensor x = random_tensor({32, 14, 14, 16}, 1, -1, 1, DType::kF32).to(gpu);
  const Tensor dy = random_tensor({32, 14, 14, 16}, 2, -1, 1, DType::kF32).to(gpu);
  Tensor first = empty({16, 3, 3, 16}, options_of(x)), second = empty_like(first);
  cuda::use_device(gpu.index);
  Cuda::conv2d_weight_gradient(first, dy, x, g);
  for (int i = 0; i < 5; i++) {
    Cuda::conv2d_weight_gradient(second, dy, x, g);
    EXPECT_TRUE(all_close(second, first));
  }
}

}  // namespace
}  // namespace fulcrum::testing
