// Kernels of the CPU back-end, called directly, on outputs between guard bytes: nothing may be
// written outside, and nothing inside may be left as it was.
#include "testing.h"

#include <fulcrum/core/functors.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops.h>

namespace fulcrum::testing {
namespace {

// A tensor of 0xFF bytes (NaN in every floating dtype) with 256 such bytes on both sides.
class Guarded {
 public:
  Guarded(const Shape& shape, DType dtype) {
    const size_t bytes = static_cast<size_t>(shape.numel()) * size_of(dtype);
    const auto storage = Storage::allocate(Device(), bytes + 2 * kGuard);
    std::memset(storage->data(), 0xFF, storage->bytes());
    tensor = Tensor(storage, kGuard, shape, dtype);
  }
  ~Guarded() {
    const auto* bytes = static_cast<const unsigned char*>(tensor.storage()->data());
    const size_t end = kGuard + tensor.bytes();
    for (size_t i = 0; i < tensor.storage()->bytes(); i++)
      if ((i < kGuard || i >= end) && bytes[i] != 0xFF) {
        ADD_FAILURE() << "byte " << static_cast<int64_t>(i - kGuard) << " of " << tensor.shape() << " is overwritten";
        break;
      }
    for (double v : tensor.to_vector())
      if (std::isnan(v)) {
        ADD_FAILURE() << tensor.shape() << " is not written whole";
        break;
      }
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  operator Tensor&() { return tensor; }

  Tensor tensor;

 private:
  static constexpr size_t kGuard = 256;
};

class Kernels : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype = GetParam();
  DType master = dtype == DType::kF64 ? DType::kF64 : DType::kF32;

  Tensor random(const Shape& shape) const { return random_tensor(shape, 1, 0.5, 1.5, dtype); }
  Tensor vector(int64_t n) const { return random_tensor({n}, 2, 0.5, 1.5, master); }
};

TEST_P(Kernels, ElementWise) {
  for (const Shape& shape : {Shape{}, Shape{3, 5}, Shape{37, 1031}}) {
    const Tensor x = random(shape);
    Cpu::unary<Exp>(Guarded(shape, dtype), x);
    Cpu::unary_gradient<Tanh>(Guarded(shape, dtype), x, x);
    Cpu::binary<Add>(Guarded(shape, dtype), x, x);
    Cpu::binary<Mul>(Guarded(shape, dtype), x, random({}));
    Cpu::fill(Guarded(shape, dtype), 0.25);
    Cpu::fill(Guarded(shape, dtype), 0);
    for (DType to : {DType::kF32, DType::kBf16, DType::kF64, DType::kU8, DType::kI32, DType::kI64})
      Cpu::cast(Guarded(shape, to), x);
    Generator generator(1, streams::kDropout);
    Guarded y(shape, dtype), mask(shape, DType::kU8);
    Cpu::dropout(y, mask, x, 0.5, generator);
  }
}

TEST_P(Kernels, ReductionsAndSoftmax) {
  const Tensor x = random({7, 5, 33});
  for (const Shape& y : {Shape{1, 5, 33}, Shape{7, 1, 33}, Shape{7, 5, 1}, Shape{1, 5, 1}, Shape{1, 1, 1}}) {
    Cpu::reduce_sum(Guarded(y, dtype), x);
    Cpu::reduce_sum(Guarded(y, master), x);
    Cpu::reduce_max(Guarded(y, dtype), x);
  }
  Cpu::argmax(Guarded({7, 5}, DType::kI64), x);
  for (const int64_t kept : {33, 5}) Cpu::argsort(Guarded({7, 5, kept}, DType::kI64), x, /*descending=*/true);
  const IndexLoop rows{7, 5, 3, 33, /*slices=*/true};
  const Tensor index = from_vector({3}, std::vector<int64_t>{4, 0, 4});
  Guarded picked({7, 3, 33}, dtype), back(x.shape(), dtype);
  Cpu::gather(picked, x, index, rows);
  Cpu::fill(back, 0);
  Cpu::scatter(back, picked, index, rows);
  Cpu::scatter_add(back, picked, index, rows);
  for (bool log : {false, true}) {
    Cpu::softmax(Guarded(x.shape(), dtype), x, log);
    Cpu::softmax_gradient(Guarded(x.shape(), dtype), x, x, log);
  }
}

// OpenMP may grant fewer threads than were asked for; inside a region of the caller's it grants one.
TEST(CpuReductions, AreWholeWhereFewerThreadsRun) {
  const Tensor x = ones({400000, 4});
  std::vector<double> got;
#pragma omp parallel num_threads(2)
  {
#pragma omp single
    got = sum(x, {0}).to_vector();
  }
  EXPECT_EQ(got, std::vector<double>(4, 400000));
}

TEST_P(Kernels, MatrixProducts) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 7}, {67, 33, 129}}) {
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        const Tensor a = random(ta ? Shape{k, m} : Shape{m, k}), b = random(tb ? Shape{n, k} : Shape{k, n});
        Cpu::gemm(Guarded({m, n}, dtype), a, ta, b, tb, {}, false);
        Cpu::gemm(Guarded({m, n}, master), a, ta, b, tb, {}, false);
        Cpu::gemm(Guarded({m, n}, dtype), a, ta, b, tb, vector(n), true);
      }
  }
}

TEST_P(Kernels, Convolutions) {
  // n, h, w, c, out_h, out_w, out_c, kernel, stride, padding, dilation, groups
  const Conv2dGeometry rows[] = {
      {1, 1, 1, 3, 1, 1, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1},   {3, 5, 7, 16, 5, 7, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {2, 7, 5, 16, 4, 3, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1}, {2, 9, 9, 1, 9, 9, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
      {1, 8, 8, 64, 8, 8, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {2, 5, 5, 17, 5, 5, 19, 1, 1, 1, 1, 0, 0, 1, 1, 1},
      {2, 5, 6, 6, 5, 6, 6, 3, 3, 1, 1, 1, 1, 1, 1, 6}};
  for (const Conv2dGeometry& g : rows) {
    const Shape xs{g.n, g.h, g.w, g.c}, ys{g.n, g.out_h, g.out_w, g.out_c};
    const Shape ws{g.out_c, g.kernel_h, g.kernel_w, g.c / g.groups};
    const Tensor x = random(xs), w = random(ws), dy = random(ys);
    Cpu::conv2d(Guarded(ys, dtype), x, w, {}, g);
    Cpu::conv2d(Guarded(ys, dtype), x, w, vector(g.out_c), g);
    Cpu::conv2d_data_gradient(Guarded(xs, dtype), dy, w, g);
    Cpu::conv2d_weight_gradient(Guarded(ws, master), dy, x, g);
  }
}

TEST_P(Kernels, Pooling) {
  for (int64_t channels : {1, 3, 16, 17}) {
    const Pool2dGeometry g{2, 7, 5, channels, 4, 3, 3, 3, 2, 2, 1, 1, true};
    const Shape xs{g.n, g.h, g.w, g.c}, ys{g.n, g.out_h, g.out_w, g.c};
    const Tensor x = random(xs), dy = random(ys);
    Guarded y(ys, dtype), winners(ys, DType::kI32);
    Cpu::max_pool2d(y, winners, x, g);
    Cpu::max_pool2d_gradient(Guarded(xs, dtype), dy, winners, g);
    Cpu::avg_pool2d(Guarded(ys, dtype), x, g);
    Cpu::avg_pool2d_gradient(Guarded(xs, dtype), dy, g);
  }
}

TEST_P(Kernels, BatchNormalisation) {
  for (int64_t channels : {1, 3, 16, 33}) {
    for (const bool fused : {false, true}) {
      const Shape xs{3, 5, 7, channels};
      const Tensor x = random(xs), residual = fused ? random(xs) : Tensor(), w = vector(channels);
      const BatchNormOptions o{.relu = fused};
      Guarded y(xs, dtype), mean({channels}, master), rstd({channels}, master), affine({2, channels}, master);
      Tensor running_mean = vector(channels), running_var = vector(channels);
      Cpu::batch_norm_train(y, mean, rstd, affine, running_mean, running_var, x, residual, w, w, o);
      Cpu::batch_norm_eval(Guarded(xs, dtype), x, residual, running_mean, running_var, w, w, o);
      Guarded dx(xs, dtype), dresidual(xs, dtype), dw({channels}, master), db({channels}, master);
      Tensor none;
      Cpu::batch_norm_gradient(dx, dresidual, dw, db, x, x, x, {mean, rstd, {}, y}, w, o);
      Cpu::batch_norm_gradient(dx, none, dw, db, x, {}, x, {mean, rstd, affine, {}}, w, o);
    }
  }
}

TEST_P(Kernels, Losses) {
  for (int64_t classes : {1, 3, 101}) {
    const Tensor z = random({7, classes}), labels = zeros({7}, {DType::kI64, {}});
    Guarded losses({7}, master);
    Cpu::cross_entropy(losses, z, labels, {}, {.smoothing = 0.1});
    Cpu::cross_entropy_gradient(Guarded(z.shape(), dtype), losses, z, labels, {}, {.smoothing = 0.1});
    Cpu::cross_entropy(losses, z, labels, {}, {.phi = Phi::focal(2)});
    Cpu::cross_entropy_gradient(Guarded(z.shape(), dtype), losses, z, labels, {}, {.phi = Phi::focal(2)});
  }
}

TEST_P(Kernels, Risks) {
  for (int64_t batch : {1, 7, 130}) {
    const Tensor l = vector(batch), groups = zeros({batch}, {DType::kI64, {}});
    Tensor statistics = zeros({kRiskStatisticsSize}, {DType::kF64, {}});
    Tensor log_q = zeros({3}, {DType::kF64, {}}), window = zeros({130}, {DType::kF64, {}});
    Tensor state = zeros({kKlBallStateSize}, {DType::kF64, {}});
    Cpu::cvar_weights(Guarded({batch}, master), statistics, l, 0.3);
    Cpu::chi2_weights(Guarded({batch}, master), statistics, l, 0.5);
    Cpu::rgd_weights(Guarded({batch}, master), statistics, l, 1);
    Cpu::group_weights(Guarded({batch}, master), log_q, statistics, l, groups, {}, 0.1);
    Cpu::kl_ball_weights(Guarded({batch}, master), state, window, statistics, l, {.target = 0.1});
    EXPECT_EQ(statistics.to_vector()[kSteps], 5);
  }
}

TEST_P(Kernels, MetricsAddUp) {
  const Tensor z = from_vector({3, 2}, std::vector<double>{1, 0, 0, 1, 2, 2}, {dtype, {}});
  const Tensor losses = from_vector({3}, std::vector<double>{0.5, 1, 2}, {master, {}});
  const Tensor p = from_vector({3}, std::vector<double>{0.25, 0.5, 1}, {master, {}});
  Tensor totals = zeros({4}, {DType::kF64, {}});
  for (int i = 0; i < 2; i++) Cpu::add_metrics(totals, z, labels_of({0, 0, 0}), losses, p);
  // Right: rows 0 and 2, where the first of two equal logits is the answer.
  EXPECT_EQ(totals.to_vector(), (std::vector<double>{7, 5.25, 4, 6}));
}

TEST_P(Kernels, SamplesAreRecorded) {
  Tensor table = zeros({4, kSampleColumns});
  const Tensor losses = from_vector({2}, std::vector<double>{0.5, 3}, {master, {}});
  const Tensor bad = from_vector({2}, std::vector<double>{0.5, std::nan("")}, {master, {}});
  const Tensor p = from_vector({2}, std::vector<double>{0.25, 1}, {master, {}});
  Cpu::record_samples(table, labels_of({3, 1}), p, losses);
  Cpu::record_samples(table, labels_of({1, 0}), p, losses);
  Cpu::record_samples(table, labels_of({1, 0}), p, bad);                                       // leaves no trace
  EXPECT_EQ(table.to_vector(), (std::vector<double>{2, 1, 2, 3, 2.5, 2, 0.5, 0.5, 0, 0, 0, 0,  //
                                                    0.5, 1, 0.5, 0.5}));
}

TEST_P(Kernels, LerpMovesBy) {
  if (dtype == DType::kBf16) return;  // averages are masters
  Guarded y({1001}, master);
  Cpu::fill(y, 2);
  const Tensor x = vector(1001);
  Cpu::lerp_all({{y.tensor, x}}, 0.25, {});
  const auto got = y.tensor.to_vector(), from = x.to_vector();
  for (size_t i = 0; i < from.size(); i++) EXPECT_NEAR(got[i], 1.5 + 0.25 * from[i], 1e-6);
  Tensor bad = zeros({kControlSize}, {DType::kF64, {}});
  bad.data<double>()[kBad] = 1;
  Cpu::lerp_all({{y.tensor, x}}, 0.25, bad);
  EXPECT_EQ(y.tensor.to_vector(), got);
}

INSTANTIATE_TEST_SUITE_P(AllDTypes, Kernels, ::testing::Values(DType::kF32, DType::kBf16, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

}  // namespace
}  // namespace fulcrum::testing
