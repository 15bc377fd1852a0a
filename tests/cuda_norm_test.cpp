// Batch normalisation of the CUDA back-end. The operation that it makes up is in ops_test.cpp.
#include <limits>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

class CudaNorm : public ::testing::TestWithParam<DType> {
 protected:
  Tolerance tolerance() const {
    return {GetParam() == DType::kF64 ? 1e-12 : GetParam() == DType::kF32 ? 2e-5 : 8e-3, 1e-7};
  }
  DType master() const { return GetParam() == DType::kF64 ? DType::kF64 : DType::kF32; }
  Tensor random(const Shape& shape, uint64_t stream) const { return random_tensor(shape, stream, -1, 2, GetParam()); }
  Tensor vector(int64_t channels, uint64_t stream) const {
    return random_tensor({channels}, stream, 0.5, 1.5, master());
  }
};

Tensor moved(const Tensor& t, Device device) { return t ? t.clone().to(device) : Tensor(); }

// One and several blocks for the rows, one and several tiles of channels, packs and single channels.
const Shape kShapes[] = {{2, 3},    {9, 1},     {7, 5},       {3, 3, 5, 17}, {1, 130},
                         {1400, 3}, {1400, 24}, {700, 2, 40}, {270, 33},     {35, 2, 264}};

/// The extras that a shape is tried with.
struct Extras {
  bool residual, relu, affine;
};
std::vector<Extras> extras_of(const Shape& shape) {
  if (shape.numel() > 1000) return {{false, false, false}, {true, true, true}};
  return {{false, false, false}, {false, false, true}, {false, true, true}, {true, false, true}, {true, true, true}};
}

TEST_P(CudaNorm, TrainsAndUpdatesRunningStatistics) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : kShapes)
    for (const Extras& extras : extras_of(shape)) {
      SCOPED_TRACE(concat_text(shape, extras.residual ? " residual" : "", extras.relu ? " relu" : ""));
      const int64_t c = shape[-1];
      const Tensor x = random(shape, 1), residual = extras.residual ? random(shape, 2) : Tensor();
      const Tensor weight = extras.affine ? vector(c, 3) : Tensor(), bias = extras.affine ? vector(c, 4) : Tensor();
      const Tensor mean0 = vector(c, 5), var0 = vector(c, 6);
      const BatchNormOptions o{.eps = 1e-3, .momentum = 0.3, .relu = extras.relu};
      expect_same_on_both(tolerance(), [&]<class K>(Device device) {
        Tensor y = empty(shape, {GetParam(), device}), mean = empty({c}, {master(), device}), rstd = empty_like(mean);
        Tensor affine = empty({2, c}, {master(), device});
        Tensor running_mean = moved(mean0, device), running_var = moved(var0, device);
        K::batch_norm_train(y, mean, rstd, affine, running_mean, running_var, x.to(device), moved(residual, device),
                            moved(weight, device), moved(bias, device), o);
        return Tensors{y, mean, rstd, affine, running_mean, running_var};
      });
    }
}

TEST_P(CudaNorm, Evaluates) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : kShapes)
    for (const Extras& extras : extras_of(shape)) {
      SCOPED_TRACE(concat_text(shape, extras.residual ? " residual" : "", extras.relu ? " relu" : ""));
      const int64_t c = shape[-1];
      const Tensor x = random(shape, 1), residual = extras.residual ? random(shape, 2) : Tensor();
      const Tensor weight = extras.affine ? vector(c, 3) : Tensor(), bias = extras.affine ? vector(c, 4) : Tensor();
      const Tensor mean = vector(c, 5), var = vector(c, 6);
      const BatchNormOptions o{.eps = 1e-3, .relu = extras.relu, .training = false};
      expect_same_on_both(tolerance(), [&]<class K>(Device device) {
        Tensor y = empty(shape, {GetParam(), device});
        K::batch_norm_eval(y, x.to(device), moved(residual, device), mean.to(device), var.to(device),
                           moved(weight, device), moved(bias, device), o);
        return Tensors{y};
      });
    }
}

TEST_P(CudaNorm, Gradients) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : kShapes)
    for (const Extras& extras : extras_of(shape))
      for (const bool training : {true, false}) {
        SCOPED_TRACE(concat_text(shape, extras.residual ? " residual" : "", extras.relu ? " relu" : "",
                                 training ? " training" : ""));
        const int64_t c = shape[-1];
        const Tensor x = random(shape, 1), dy = random(shape, 2), y = extras.relu ? random(shape, 3) : Tensor();
        const Tensor mean = vector(c, 4), rstd = vector(c, 5), weight = extras.affine ? vector(c, 6) : Tensor();
        const BatchNormOptions o{.relu = extras.relu, .training = training};
        expect_same_on_both(tolerance(), [&]<class K>(Device device) {
          Tensor dx = empty(shape, {GetParam(), device}), dresidual, dweight, dbias;
          if (extras.residual) dresidual = empty_like(dx);
          if (extras.affine) dweight = empty({c}, {master(), device}), dbias = empty_like(dweight);
          K::batch_norm_gradient(dx, dresidual, dweight, dbias, dy.to(device), {}, x.to(device),
                                 {mean.to(device), rstd.to(device), {}, moved(y, device)}, moved(weight, device), o);
          Tensors results{dx};
          if (extras.residual) results.push_back(dresidual);
          if (extras.affine) results.push_back(dweight), results.push_back(dbias);
          return results;
        });
      }
}

/// dx, dresidual, dweight and dbias of dy + also; the zeros of the ReLU told by y or, where it is undefined, by x.
struct GradientOf {
  Tensor dy, also = {}, x, y = {}, mean, rstd, affine = {}, weight = {};

  template <class K>
  Tensors run(Device device, bool dresidual_wanted) const {
    Tensor dx = empty(x.shape(), {x.dtype(), device}), dresidual;
    Tensor dweight = empty(mean.shape(), {mean.dtype(), device}), dbias = empty_like(dweight);
    if (dresidual_wanted) dresidual = empty_like(dx);
    K::batch_norm_gradient(dx, dresidual, dweight, dbias, dy.to(device), moved(also, device), x.to(device),
                           {mean.to(device), rstd.to(device), moved(affine, device), moved(y, device)},
                           moved(weight, device), {.relu = true});
    Tensors results{dx, dweight, dbias};
    if (dresidual) results.push_back(dresidual);
    return results;
  }
};

// A channel's affine of x − mean, its zeros in every place of a pack.
TEST_P(CudaNorm, TakesTheZerosOfAReluFromItsInput) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape);
    const int64_t c = shape[-1];
    const GradientOf g{.dy = random(shape, 1),
                       .x = random(shape, 2),
                       .mean = vector(c, 3),
                       .rstd = vector(c, 4),
                       .affine = random_tensor({2, c}, 5, -1, 1, master()),
                       .weight = vector(c, 6)};
    expect_same_on_both(tolerance(), [&]<class K>(Device device) { return g.run<K>(device, false); });
  }
}

TEST_P(CudaNorm, AddsTheTwoTermsOfItsGradient) {
  FULCRUM_NEEDS_CUDA();
  for (const Shape& shape : kShapes) {
    SCOPED_TRACE(shape);
    const int64_t c = shape[-1];
    GradientOf g{.dy = random(shape, 1),
                 .also = random(shape, 2),
                 .x = random(shape, 3),
                 .y = random(shape, 4),
                 .mean = vector(c, 5),
                 .rstd = vector(c, 6)};
    expect_same_on_both(tolerance(), [&]<class K>(Device device) { return g.run<K>(device, true); });
    // The bits of the sum made before.
    const Device gpu("cuda");
    const Tensors fused = g.run<Cuda>(gpu, true);
    g.dy = add(g.dy, g.also);
    g.also = {};
    const Tensors apart = g.run<Cuda>(gpu, true);
    for (size_t i = 0; i < fused.size(); i++) EXPECT_TRUE(same_bits(fused[i], apart[i])) << i;
  }
}

// In parts, for a batch that is spread over processes.
TEST_P(CudaNorm, Parts) {
  FULCRUM_NEEDS_CUDA();
  for (const int64_t c : {3, 16}) {
    const int64_t rows = 700;
    const Tensor x = random({rows, c}, 1), dy = random({rows, c}, 2), y = random({rows, c}, 3);
    const Tensor w = ones({c}, {master(), {}});
    expect_same_on_both(tolerance(), [&]<class K>(Device device) {
      const BatchNormOptions o{.relu = true};
      const auto vector = [&] { return ones({c}, {master(), device}); };
      Tensor sums = empty({2, c}, {DType::kF64, device}), dsums = empty_like(sums);
      Tensor mean = vector(), var = vector(), rstd = vector(), running_mean = vector(), running_var = vector();
      Tensor dz = empty({rows, c}, {GetParam(), device}), dx = empty_like(dz);
      K::batch_norm_sums(sums, x.to(device));
      K::batch_norm_moments(mean, var, rstd, running_mean, running_var, sums, rows, o);
      K::batch_norm_gradient_sums(dsums, dz, dy.to(device), x.to(device), y.to(device), mean, o);
      K::batch_norm_gradient_apply(dx, dy.to(device), x.to(device), y.to(device), mean, rstd, w.to(device), dsums,
                                   2 * rows, o);
      return Tensors{sums, mean, var, rstd, running_mean, running_var, dsums, dz, dx};
    });
  }
}

TEST_P(CudaNorm, SlicesThatStandOnNoVectorBoundary) {
  FULCRUM_NEEDS_CUDA();
  const int64_t rows = 1200, c = 16;
  const Tensor x = random({rows * c + 1}, 1), dy = random({rows * c + 1}, 2);
  const auto part = [&](const Tensor& t) { return t.slice(1, t.size(0)).reshape({rows, c}); };
  expect_same_on_both(tolerance(), [&]<class K>(Device device) {
    Tensor all = zeros({rows * c + 1}, {GetParam(), device}), dall = zeros({rows * c + 1}, {GetParam(), device});
    Tensor evaluated = empty({rows, c}, {GetParam(), device});
    Tensor y = part(all), dx = part(dall), mean = empty({c}, {master(), device}), rstd = empty_like(mean), none;
    Tensor affine = empty({2, c}, {master(), device});
    K::batch_norm_train(y, mean, rstd, affine, none, none, part(x.to(device)), {}, {}, {}, {});
    K::batch_norm_gradient(dx, none, none, none, part(dy.to(device)), {}, part(x.to(device)), {mean, rstd, affine, {}},
                           {}, {.relu = true});
    // Aligned x, and statistics that are not.
    const Tensor statistics = ones({2 * c + 1}, {master(), device});
    const Tensor running_mean = statistics.slice(1, c + 1), running_var = statistics.slice(c + 1, 2 * c + 1);
    K::batch_norm_eval(evaluated, x.slice(0, rows * c).reshape({rows, c}).to(device), {}, running_mean, running_var, {},
                       {}, {.training = false});
    return Tensors{all, dall, evaluated};
  });
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaNorm, ::testing::Values(DType::kF32, DType::kBf16, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

/// What batch_norm_train makes of x: y, mean, rstd, running_mean, running_var, affine.
template <class K>
Tensors trained(const Tensor& x) {
  const DType master = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const TensorOptions statistics{master, x.device()};
  Tensor y = empty_like(x), mean = empty({x.size(-1)}, statistics), rstd = empty_like(mean);
  Tensor running_mean = zeros(mean.shape(), statistics), running_var = zeros(mean.shape(), statistics);
  Tensor affine = empty({2, x.size(-1)}, statistics);
  K::batch_norm_train(y, mean, rstd, affine, running_mean, running_var, x, {}, {}, {}, {});
  return {y, mean, rstd, running_mean, running_var, affine};
}

TEST(CudaBatchNorm, SurvivesAMeanFarFromZeroAndAnOutlierInFront) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  cuda::use_device(gpu.index);
  for (const double outlier : {0.0, 20.0}) {
    Tensor x = random_tensor({3001, 5}, 1, 4095, 4097, DType::kF32);
    Tensor first = x.slice(0, 1);
    Cpu::fill(first, 4096 + outlier);
    const Tensors expected = trained<Cpu>(x.to(DType::kF64)), got = trained<Cuda>(x.to(gpu));
    EXPECT_TRUE(all_close(got[0], expected[0], {2e-5}));
    EXPECT_TRUE(all_close(got[2], expected[2], {2e-5}));
  }
}

TEST(CudaBatchNorm, KeepsTheRunningStatisticsWhereTheBatchIsNotFinite) {
  FULCRUM_NEEDS_CUDA();
  Tensor x = random_tensor({50, 8}, 1, -1, 1, DType::kF32);
  Tensor row = x.slice(20, 21);
  Cpu::fill(row, std::numeric_limits<double>::quiet_NaN());
  expect_same_on_both({}, [&]<class K>(Device device) { return trained<K>(x.to(device)); });
}

TEST(CudaBatchNorm, ReplaysGiveTheBitsOfTheFirstTime) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  cuda::use_device(gpu.index);
  const Tensor x = random_tensor({2100, 16}, 1, -1, 1, DType::kBf16).to(gpu);
  const Tensors first = trained<Cuda>(x);
  Tensors replayed = {empty_like(first[0]), empty_like(first[1]), empty_like(first[2]), empty_like(first[5])};
  cuda::Graph graph([&] {
    Tensor none;
    Cuda::batch_norm_train(replayed[0], replayed[1], replayed[2], replayed[3], none, none, x, {}, {}, {}, {});
  });
  for (int i = 0; i < 2; i++) {
    Cuda::fill(replayed[0], 0);
    graph.replay();
    for (size_t k = 0; k < 3; k++) EXPECT_TRUE(same_bits(replayed[k], first[k])) << i << " " << k;
  }
}

}  // namespace
}  // namespace fulcrum::testing
