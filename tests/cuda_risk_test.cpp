// The risks of the CUDA back-end against the CPU's, whose formulas are in risk_test.cpp and
// risks_test.cpp.
#include <cmath>
#include <functional>
#include <limits>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const int64_t kBatches[] = {1, 2, 31, 33, 1025, 5000};
const int64_t kFewBatches[] = {1, 2, 33, 1025};  // where a batch is read many times

class CudaRisk : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype = GetParam();
  // log u of a large λ is the logarithm of nearly 1.
  Tolerance close = dtype == DType::kF64 ? Tolerance{1e-11, 1e-15} : Tolerance{2e-6, 1e-9};

  /// Losses of one batch; the kinds are those that have gone wrong for somebody.
  enum Kind { kPlain, kEqual, kTied, kFar, kNegative, kKinds };
  Tensor losses(int64_t batch, int kind, uint64_t stream) const {
    switch (kind) {
      case kEqual: return full({batch}, 1.25, {dtype, {}});
      case kTied: return random_tensor({batch}, stream, 0, 4).to(DType::kI32).to(dtype);
      case kFar: return random_tensor({batch}, stream, 0, 1e4, dtype);
      case kNegative: return random_tensor({batch}, stream, -3, 1, dtype);
      default: return random_tensor({batch}, stream, 0, 5, dtype);
    }
  }
  Tensor groups(int64_t batch, int64_t number) const {
    std::vector<int64_t> g;
    for (int64_t i = 0; i < batch; i++) g.push_back(i * i % number);  // some groups stay empty
    return labels_of(g);
  }

  /// Four steps of a risk on other losses each; the third has one that is not finite. Compares the last
  /// weights and all state.
  template <class Weigh>
  void expect_same(int64_t batch, int kind, Tensors state, Weigh weigh) {
    for (const double bad : {kNan, kInfinity, -kInfinity}) {
      if ((batch != 2 || kind != kPlain) && !std::isnan(bad)) continue;  // the emulator is slow
      SCOPED_TRACE(concat_text("batch ", batch, " kind ", kind, " bad ", bad));
      expect_same_on_both(close, [&]<class K>(Device device) {
        Tensors result{empty({batch}, {dtype, device}), zeros({kRiskStatisticsSize}, {DType::kF64, device})};
        for (const Tensor& s : state) result.push_back(s.clone().to(device));
        Tensor l = zeros({batch}, {dtype, device}), in_between = empty_like(l);
        run_steps<K>(
            4,
            [&](int i) {
              std::vector<double> v = losses(batch, kind, static_cast<uint64_t>(i + 1)).to_vector();
              if (i == 2) v[v.size() / 2] = bad;
              l.copy_from(from_vector({batch}, v, {dtype, {}}));
              if (i == 3) in_between.copy_from(result[0]);
            },
            [&] { weigh.template operator()<K>(result, l); });
        result.push_back(in_between);
        return result;
      });
    }
  }
};

Tensor kl_state(double lambda) {
  return from_vector({kKlStateSize}, std::vector<double>{-kInfinity, 1 / lambda}, {DType::kF64, {}});
}

TEST_P(CudaRisk, KlOverSizesAndKinds) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t batch : kBatches)
    for (int kind = 0; kind < kKinds; kind++) {
      if (batch > 33 && kind != kTied) continue;
      for (double lambda : {5.0, -2.0})
        expect_same(batch, kind, {kl_state(lambda)},
                    [&]<class K>(Tensors& r, const Tensor& l) { K::kl_weights(r[0], r[2], r[1], l, {}); });
    }
}

TEST_P(CudaRisk, KlOptionsAndExtremeLambdas) {
  FULCRUM_NEEDS_CUDA();
  KlOptions tilted, zero, scent, all;
  tilted.gamma = 1;
  zero.start_from_zero = true;
  scent.scent = true, scent.log_step = 0.3;
  all = {0.7, 2, 1, true, false, 10};
  for (const KlOptions& o : {tilted, zero, scent, all})
    for (double lambda : {1e-6, -1e-6, 0.5, 1e6, kInfinity, -kInfinity})
      for (int kind : {kPlain, kFar})  // l/λ up to 1e10
        expect_same(65, kind, {kl_state(lambda)},
                    [&]<class K>(Tensors& r, const Tensor& l) { K::kl_weights(r[0], r[2], r[1], l, o); });
}

// λ is a device value: a graph that has been captured follows it.
TEST_P(CudaRisk, LambdaChangesUnderReplay) {
  FULCRUM_NEEDS_CUDA();
  const Tensor l = random_tensor({77}, 1, 0, 3, dtype);
  expect_same_on_both(close, [&]<class K>(Device device) {
    Tensor p = empty({77}, {dtype, device}), statistics = zeros({kRiskStatisticsSize}, {DType::kF64, device});
    Tensor state = kl_state(kInfinity).to(device);
    const Tensor losses = l.to(device);
    const double lambdas[] = {kInfinity, kInfinity, 5, 5, -1, kInfinity, 2};
    Tensors all;
    run_steps<K>(
        7,
        [&](int i) {
          Tensor inv = state.slice(kInvLambda, kInvLambda + 1);
          inv.copy_from(full({1}, 1 / lambdas[i], {DType::kF64, {}}));
          all.push_back(p.clone());
          if (i == 0) all.back() = zeros({1}, {dtype, device});
        },
        [&] { K::kl_weights(p, state, statistics, losses, {}); });
    all.insert(all.end(), {p, state, statistics});
    return all;
  });
}

TEST_P(CudaRisk, InfiniteLambdaIsTheMeanBitForBit) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t batch : {1, 3, 1025})
    expect_same_on_both({}, [&]<class K>(Device device) {
      Tensor p = empty({batch}, {dtype, device}), q = empty_like(p), state = kl_state(kInfinity).to(device);
      Tensor s = zeros({kRiskStatisticsSize}, {DType::kF64, device}),
             t = zeros({kRiskStatisticsSize}, {DType::kF64, device});
      const Tensor l = losses(batch, kPlain, 1).to(device);
      K::kl_weights(p, state, s, l, {0.5, 3, 1});
      K::mean_weights(q, t, l, {}, {});
      EXPECT_TRUE(same_bits(p, q) && same_bits(s, t));
      return Tensors{p, q, state, s};
    });
}

TEST_P(CudaRisk, Mean) {
  FULCRUM_NEEDS_CUDA();
  const Tensor weight = random_tensor({7}, 9, 0, 2, DType::kF32);
  for (int64_t batch : kBatches)
    for (const Tensor& w : {Tensor(), weight, zeros({7}, {DType::kF32, {}})})
      expect_same_on_both(close, [&]<class K>(Device device) {
        Tensor p = empty({batch}, {dtype, device}), s = zeros({kRiskStatisticsSize}, {DType::kF64, device});
        const Tensor on = w ? w.to(device) : w, g = groups(batch, 7).to(device);
        for (int i = 0; i < 2; i++) K::mean_weights(p, s, losses(batch, kPlain, 1).to(device), on, g);
        return Tensors{p, s};
      });
}

TEST_P(CudaRisk, Cvar) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t batch : kFewBatches)
    for (int kind = 0; kind < kKinds; kind++)
      for (double level : {1e-4, 0.1, 0.5, 0.77, 1.0}) {
        if (batch > 1 && kind != kTied && level != 0.1) continue;
        if (batch > 33 && (kind != kTied || level != 0.1)) continue;
        expect_same(batch, kind, {},
                    [&]<class K>(Tensors& r, const Tensor& l) { K::cvar_weights(r[0], r[1], l, level); });
      }
}

TEST_P(CudaRisk, CvarOfZerosOfBothSigns) {
  FULCRUM_NEEDS_CUDA();
  const Tensor l = from_vector({6}, std::vector<double>{-0.0, 0.0, -1, 0.0, -0.0, 2}, {dtype, {}});
  for (double level : {0.3, 0.5, 0.9})
    expect_same_on_both(close, [&]<class K>(Device device) {
      Tensor p = empty({6}, {dtype, device}), s = zeros({kRiskStatisticsSize}, {DType::kF64, device});
      K::cvar_weights(p, s, l.to(device), level);
      return Tensors{p, s};
    });
}

TEST_P(CudaRisk, Chi2) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t batch : kFewBatches)
    for (int kind = 0; kind < kKinds; kind++)
      for (double rho : {1e-3, 0.5, 3.0, 100.0}) {
        if (batch > 33 || (batch > 2 && rho != 0.5 && kind != kPlain)) continue;
        expect_same(batch, kind, {},
                    [&]<class K>(Tensors& r, const Tensor& l) { K::chi2_weights(r[0], r[1], l, rho); });
      }
}

TEST_P(CudaRisk, Rgd) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t batch : kBatches)
    for (int kind : {kPlain, kFar, kNegative})
      expect_same(batch, kind, {}, [&]<class K>(Tensors& r, const Tensor& l) { K::rgd_weights(r[0], r[1], l, 2.5); });
}

TEST_P(CudaRisk, Groups) {
  FULCRUM_NEEDS_CUDA();
  for (const auto& [batch, number] : {std::pair<int64_t, int64_t>{1, 1}, {1, 10}, {33, 5}, {300, 40}, {64, 1100}}) {
    const Tensor q = full({number}, -std::log(static_cast<double>(number)), {DType::kF64, {}});
    const Tensor shift = random_tensor({number}, 9, 0, 1);
    for (int kind : {kPlain, kFar}) {
      expect_same(batch, kind, {q, groups(batch, number)},
                  [&]<class K>(Tensors& r, const Tensor& l) { K::group_weights(r[0], r[2], r[1], l, r[3], {}, 0.2); });
      expect_same(batch, kind, {q, groups(batch, number), shift}, [&]<class K>(Tensors& r, const Tensor& l) {
        K::group_weights(r[0], r[2], r[1], l, r[3], r[4], 0.2);
      });
    }
  }
}

TEST_P(CudaRisk, AGroupOutOfRangeStopsTheTraining) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  const Tensor l = losses(3, kPlain, 1).to(gpu), weight = full({4}, 1, {DType::kF32, gpu});
  for (int64_t bad : {int64_t{-1}, int64_t{4}, int64_t{1} << 40}) {
    const Tensor g = labels_of({0, bad, 2}).to(gpu);
    Tensor p = empty({3}, {dtype, gpu}), s = zeros({kRiskStatisticsSize}, {DType::kF64, gpu});
    Tensor q = full({4}, -1, {DType::kF64, gpu});
    const auto expect_stop = [&] {
      for (double v : p.to_vector()) EXPECT_TRUE(std::isnan(v));
      for (double v : s.to_vector()) EXPECT_EQ(v, 0);
    };
    Cuda::mean_weights(p, s, l, weight, g);
    expect_stop();
    Cuda::group_weights(p, q, s, l, g, {}, 0.1);
    expect_stop();
    for (double v : q.to_vector()) EXPECT_EQ(v, -1);
  }
}

TEST_P(CudaRisk, KlBall) {
  FULCRUM_NEEDS_CUDA();
  close.relative = dtype == DType::kF64 ? 1e-8 : 2e-6;  // where Newton's method ends
  for (const auto& [batch, window] : {std::pair<int64_t, int64_t>{1, 1}, {1, 3}, {5, 5}, {33, 80}, {400, 600}})
    for (bool positive : {true, false})
      for (bool by_fraction : {true, false})
        for (int kind : {kPlain, kEqual, kTied, kFar}) {
          if ((batch > 5 && kind != kPlain) || (batch > 33 && by_fraction)) continue;
          const KlBallOptions o{positive, by_fraction, by_fraction ? 0.5 : 0.4, 2};
          Tensor state = zeros({kKlBallStateSize}, {DType::kF64, {}});
          state.data<double>()[kLogU] = -kInfinity;
          expect_same(batch, kind, {state, zeros({window}, {DType::kF64, {}})},
                      [&]<class K>(Tensors& r, const Tensor& l) { K::kl_ball_weights(r[0], r[2], r[3], r[1], l, o); });
        }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaRisk, ::testing::Values(DType::kF32, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

}  // namespace
}  // namespace fulcrum::testing
