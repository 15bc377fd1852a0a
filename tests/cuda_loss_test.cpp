// The cross entropy and the metrics of the CUDA back-end against the CPU's. The operation itself is in
// ops_test.cpp.
#include <cmath>
#include <limits>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

class CudaLoss : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype = GetParam(), master = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
  // A loss is a difference of logits up to 12, which a GPU rounds after other operations.
  Tolerance exact = master == DType::kF32 ? Tolerance{2e-6, 1e-5} : Tolerance{1e-14, 1e-14};
  // Gradients are written in bf16: one rounding of it apart.
  Tolerance rounding = dtype == DType::kBf16 ? Tolerance{8e-3} : exact;

  Tensor labels(int64_t rows, int64_t classes) const {
    std::vector<int64_t> y;
    for (int64_t i = 0; i < rows; i++) y.push_back((i * 7 + 3) % classes);
    return labels_of(y);
  }
  CrossEntropyTensors vectors(int64_t classes, const std::string& which) const {
    CrossEntropyTensors t;
    const auto has = [&](char c) { return which.find(c) != std::string::npos; };
    if (has('a')) t.adjust = random_tensor({classes}, 11, -1, 1, master);
    if (has('m')) t.margin = random_tensor({classes}, 12, 0, 1, master);
    if (has('w')) t.class_weight = random_tensor({classes}, 13, 0.1, 2, master);
    if (has('t')) t.temperature = random_tensor({classes}, 14, 0.5, 2, master);
    return t;
  }
  static CrossEntropyTensors on(const CrossEntropyTensors& t, Device device) {
    const auto move = [&](const Tensor& x) { return x ? x.to(device) : x; };
    return {move(t.adjust), move(t.margin), move(t.class_weight), move(t.temperature)};
  }

  void expect_same(const Tensor& z, const Tensor& y, const CrossEntropyTensors& t, const CrossEntropyOptions& o) {
    const Tensor dl = random_tensor(y.shape(), 15, 0.1, 1, master);
    expect_same_on_both(exact, [&]<class K>(Device device) {
      Tensor l = empty(y.shape(), {master, device});
      K::cross_entropy(l, z.to(device), y.to(device), on(t, device), o);
      return Tensors{l};
    });
    expect_same_on_both(rounding, [&]<class K>(Device device) {
      Tensor dz = empty(z.shape(), {dtype, device});
      K::cross_entropy_gradient(dz, dl.to(device), z.to(device), y.to(device), on(t, device), o);
      return Tensors{dz};
    });
  }
};

// Rows of fewer numbers than a warp has lanes up to those that need a block; more rows than a grid.
TEST_P(CudaLoss, EverySizeOfRow) {
  FULCRUM_NEEDS_CUDA();
  for (const auto& [rows, classes] : {std::pair<int64_t, int64_t>{1, 1},
                                      {1, 10},
                                      {3, 31},
                                      {5, 32},
                                      {7, 33},
                                      {257, 10},
                                      {3, 1000},
                                      {2, 1024},
                                      {3, 1025},
                                      {2, 5003}}) {
    SCOPED_TRACE(concat_text(rows, " x ", classes));
    const Tensor z = random_tensor({rows, classes}, 1, -4, 4, dtype), y = labels(rows, classes);
    expect_same(z, y, {}, {});
    expect_same(z, y, vectors(classes, "amwt"), {3, 0.1, {}});
  }
}

TEST_P(CudaLoss, EveryVectorAndPhi) {
  FULCRUM_NEEDS_CUDA();
  const Tensor z = random_tensor({19, 13}, 2, -6, 6, dtype), y = labels(19, 13);
  for (const char* which : {"a", "m", "w", "t", "aw", "mt"}) {
    SCOPED_TRACE(which);
    expect_same(z, y, vectors(13, which), {2, 0, {}});
    expect_same(z, y, vectors(13, which), {2, 0.2, {}});
  }
  for (Phi phi : {Phi::focal(0), Phi::focal(2), Phi::gce(0.7), Phi::truncated_gce(0.7, 0.5), Phi::sce(0.1, 1),
                  Phi::mae(), Phi::js(0.3)}) {
    SCOPED_TRACE(int{phi.kind});
    for (bool on_weighted : {false, true}) {
      phi.on_weighted = on_weighted;
      expect_same(z, y, vectors(13, "w"), {1, 0, phi});
    }
  }
}

TEST_P(CudaLoss, ExtremeLogits) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t classes : {5, 1500}) {
    const Tensor y = labels(6, classes);
    expect_same(random_tensor({6, classes}, 3, -3e4, 3e4, dtype), y, {}, {});
    // Row 0 has an infinite loss, row 1 a class that cannot be, rows 2 and 3 have no loss at all.
    std::vector<double> v = random_tensor({6, classes}, 4).to_vector();
    const auto at = [&](int64_t row, int64_t c) -> double& { return v[static_cast<size_t>(row * classes + c)]; };
    at(0, 3) = -kInfinity;
    at(1, 4) = -kInfinity;
    at(2, 1) = kInfinity;
    at(3, 2) = std::numeric_limits<double>::quiet_NaN();
    expect_same(from_vector({6, classes}, v, {dtype, {}}), y, {}, {});
  }
}

TEST_P(CudaLoss, ALabelOutOfRangeStopsTheTraining) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  for (int64_t classes : {4, 1100})
    for (int64_t bad : {int64_t{-1}, classes, int64_t{1} << 40}) {
      const Tensor z = random_tensor({3, classes}, 5, -1, 1, dtype).to(gpu), y = labels_of({1, bad, 2}).to(gpu);
      Tensor l = empty({3}, {master, gpu}), dz = empty_like(z);
      Tensor control = zeros({kControlSize}, {DType::kF64, gpu});
      Cuda::cross_entropy(l, z, y, {}, {});
      Cuda::cross_entropy_gradient(dz, full({3}, 1, {master, gpu}), z, y, {}, {});
      Cuda::check_finite(control, l);
      const auto losses = l.to_vector();
      EXPECT_TRUE(std::isfinite(losses[0]) && std::isnan(losses[1]) && std::isfinite(losses[2]));
      EXPECT_EQ(control.to_vector()[kBad], 1);
      for (double v : dz.slice(1, 2).to_vector()) EXPECT_EQ(v, 0);
    }
}

TEST_P(CudaLoss, MetricsOfSeveralBatchesAndReplays) {
  FULCRUM_NEEDS_CUDA();
  for (const auto& [rows, classes] : {std::pair<int64_t, int64_t>{1, 1}, {3, 33}, {130, 10}, {161, 3}, {9, 1027}}) {
    // Few different numbers: the first of several largest ones is the prediction.
    const Tensor z = random_tensor({rows, classes}, 6, 0, 3).to(DType::kI32).to(dtype), y = labels(rows, classes);
    z.slice(0, 1)
        .reshape({classes})
        .slice(classes / 2, classes / 2 + 1)
        .copy_from(full({1}, std::numeric_limits<double>::quiet_NaN()));
    const Tensor l = random_tensor({rows}, 7, 0, 5, master), p = random_tensor({rows}, 8, 0, 1, master);
    expect_same_on_both({1e-12}, [&]<class K>(Device device) {
      Tensor totals = full({4}, 1, {DType::kF64, device}), losses = l.clone().to(device);
      const Tensor logits = z.to(device), labels = y.to(device), weights = p.to(device);
      run_steps<K>(
          4,
          [&](int i) {
            losses.copy_from(i == 2 ? full({rows}, kInfinity, {master, {}}) : l);
          },
          [&] { K::add_metrics(totals, logits, labels, losses, weights); });
      return Tensors{totals};
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaLoss, ::testing::Values(DType::kF32, DType::kBf16, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

TEST(CudaLambdas, AdaptOverSizesWithSamplesThatAreThereTwice) {
  FULCRUM_NEEDS_CUDA();
  for (DType dtype : {DType::kF32, DType::kF64})
    for (const auto& [batch, classes] : {std::pair<int64_t, int64_t>{1, 2}, {5, 10}, {129, 101}, {300, 3}}) {
      std::vector<int64_t> rows;
      for (int64_t i = 0; i < batch; i++) rows.push_back(i % 3 == 0 ? 17 : i * 5 % 1000);
      const Tensor indices = labels_of(rows), h = random_tensor({batch, classes}, 1, 0, 6, dtype);
      const Tensor start = random_tensor({1000}, 2, 0.5, 1, DType::kF32);
      std::vector<double> bad = h.to_vector();
      bad.back() = kInfinity;
      expect_same_on_both({dtype == DType::kF64 ? 1e-6 : 2e-6}, [&]<class K>(Device device) {
        Tensor table = start.clone().to(device), lambda = empty({batch}, {dtype, device}), input = h.clone().to(device);
        const Tensor index = indices.to(device);
        run_steps<K>(
            3,
            [&](int i) {
              input.copy_from(i == 1 ? from_vector({batch, classes}, bad, {dtype, {}}) : h);
            },
            [&] { K::adapt_lambdas(lambda, table, input, index, 1, 2); });
        return Tensors{table, lambda};
      });
    }
}

TEST(CudaSamples, RecordsEachVisitInOrder) {
  FULCRUM_NEEDS_CUDA();
  for (DType dtype : {DType::kF32, DType::kF64})
    for (int64_t batch : {1, 5, 129, 700}) {
      std::vector<int64_t> rows;
      for (int64_t i = 0; i < batch; i++) rows.push_back(i % 3 == 0 ? 17 : i * 5 % 1000);
      const Tensor indices = labels_of(rows), p = random_tensor({batch}, 1, 0, 1, dtype),
                   l = random_tensor({batch}, 2, 0, 9, dtype);
      expect_same_on_both({}, [&]<class K>(Device device) {
        Tensor table = zeros({1000, kSampleColumns}, {DType::kF32, device}), losses = l.clone().to(device);
        const Tensor index = indices.to(device), weights = p.to(device);
        std::vector<double> bad = l.to_vector();
        bad.back() = kInfinity;
        run_steps<K>(
            3,
            [&](int i) {
              losses.copy_from(i == 1 ? from_vector({batch}, bad, {dtype, {}}) : l);
            },
            [&] { K::record_samples(table, index, weights, losses); });
        return Tensors{table};
      });
    }
}

}  // namespace
}  // namespace fulcrum::testing
