// The optimisers' kernels of the CUDA back-end against the CPU's.
#include <limits>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

class CudaUpdate : public ::testing::TestWithParam<DType> {
 protected:
  DType dtype = GetParam();
  Tolerance close{dtype == DType::kF64 ? 1e-13 : 1e-5};
};

struct Layout {
  std::vector<int64_t> offset, size, group;
  int64_t total;
};

// Segments of every size around a vector, a warp's share and a block's, on the arena's boundaries;
// segments close together, on none; and with gaps that belong to nobody.
std::vector<Layout> layouts() {
  std::vector<Layout> all;
  Layout arena{{}, {}, {}, 0};
  for (int64_t n : {1, 3, 4, 16, 129, 2047, 2048, 2049, 5003, 1, 64}) {
    arena.offset.push_back(arena.total);
    arena.size.push_back(n);
    arena.group.push_back(n % 3);
    arena.total += (n + 127) / 128 * 128;
  }
  all.push_back(arena);
  Layout tight{{}, {}, {}, 0};
  for (int64_t n : {1, 2, 5, 7, 3000, 1, 1, 1, 13}) {
    tight.offset.push_back(tight.total);
    tight.size.push_back(n);
    tight.group.push_back(n % 3);
    tight.total += n;
  }
  all.push_back(tight);
  all.push_back({{0}, {1}, {0}, 1});
  all.push_back({{5, 400, 4000}, {11, 3, 77}, {2, 0, 1}, 6007});
  return all;
}

Segments segments_of(const Layout& a, Device device) {
  const Shape shape{static_cast<int64_t>(a.offset.size())};
  Segments s;
  s.offset = labels_of(a.offset).to(device);
  s.size = labels_of(a.size).to(device);
  s.group = labels_of(a.group).to(DType::kI32).to(device);
  s.hyper = from_vector({3, 2}, std::vector<double>{0.1, 0.01, 0.02, 0, 0.5, 0.3}, {DType::kF64, {}}).to(device);
  return s;
}

// Gradients whose numbers between the segments are NaN: nobody may look at them.
Tensor gradient_of(const Layout& a, uint64_t stream, DType dtype) {
  std::vector<double> v(static_cast<size_t>(a.total), std::numeric_limits<double>::quiet_NaN());
  const auto g = random_tensor({a.total}, stream).to_vector();
  for (size_t k = 0; k < a.offset.size(); k++)
    for (int64_t i = a.offset[k]; i < a.offset[k] + a.size[k]; i++)
      v[static_cast<size_t>(i)] = g[static_cast<size_t>(i)];
  return from_vector({a.total}, v, {dtype, {}});
}

/// Arenas, with a twin where the masters are f32; `shift` elements off the boundary of a vector.
struct Arenas {
  Tensor param, first, second, twin, grad, control;
  Segments segments;

  Arenas(const Layout& a, DType dtype, Device device, int64_t shift) : segments(segments_of(a, device)) {
    const auto make = [&](const Tensor& values) {
      Tensor whole = zeros({a.total + shift}, {values.dtype(), device});
      Tensor part = whole.slice(shift, a.total + shift);
      part.copy_from(values);
      return part;
    };
    param = make(random_tensor({a.total}, 1, -1, 1, dtype));
    first = make(random_tensor({a.total}, 2, -1, 1, dtype));
    second = make(random_tensor({a.total}, 3, 0, 1, dtype));
    grad = make(gradient_of(a, 4, dtype));
    if (dtype == DType::kF32) twin = make(zeros({a.total}, {DType::kBf16, {}}));
    control = zeros({kControlSize}, {DType::kF64, device});
  }
  Tensors state() const {
    Tensors t{param, first, second, control};
    if (twin) t.push_back(twin);
    return t;
  }
};

// Gradient, learning rates and weight decays change from step to step.
template <class K, class Step>
Tensors run_updates(const Layout& layout, DType dtype, Device device, int64_t shift, Step step) {
  Arenas a(layout, dtype, device, shift);
  run_steps<K>(
      4,
      [&](int i) {
        a.grad.copy_from(gradient_of(layout, static_cast<uint64_t>(20 + i), dtype));
        a.segments.hyper.copy_from(random_tensor({3, 2}, static_cast<uint64_t>(30 + i), 0, 0.3));
      },
      [&] { step(a); });
  return a.state();
}

TEST_P(CudaUpdate, SgdOverSegmentsOfAllSizes) {
  FULCRUM_NEEDS_CUDA();
  for (const Layout& layout : layouts())
    for (const auto& [rule, max_norm] : {std::pair{SgdRule{0.9, false}, 0.0}, {SgdRule{0.9, true}, 0.5}})
      for (int64_t shift : {0, 1})
        expect_same_on_both(close, [&, rule = rule, max_norm = max_norm]<class K>(Device device) {
          return run_updates<K>(layout, dtype, device, shift, [&](Arenas& a) {
            K::begin_update(a.control, a.grad, a.segments, max_norm);
            K::sgd_update(a.param, a.first, a.twin, a.grad, a.control, a.segments, rule);
          });
        });
}

TEST_P(CudaUpdate, SgdWithoutMomentumOrTwin) {
  FULCRUM_NEEDS_CUDA();
  for (const Layout& layout : layouts())
    expect_same_on_both(close, [&]<class K>(Device device) {
      return run_updates<K>(layout, dtype, device, 0, [&](Arenas& a) {
        Tensor none;
        K::begin_update(a.control, a.grad, a.segments, 1e6);
        K::sgd_update(a.param, none, none, a.grad, a.control, a.segments, {});
      });
    });
}

TEST_P(CudaUpdate, Adam) {
  FULCRUM_NEEDS_CUDA();
  for (const Layout& layout : layouts())
    for (bool decoupled : {false, true})
      for (int64_t shift : {0, 1})
        expect_same_on_both(close, [&]<class K>(Device device) {
          return run_updates<K>(layout, dtype, device, shift, [&](Arenas& a) {
            K::begin_update(a.control, a.grad, a.segments, 0.25);
            K::adam_update(a.param, a.first, a.second, a.twin, a.grad, a.control, a.segments,
                           {0.9, 0.95, 1e-6, decoupled});
          });
        });
}

TEST_P(CudaUpdate, NothingMovesAfterABadGradientOrLoss) {
  FULCRUM_NEEDS_CUDA();
  const Layout layout = layouts()[0];
  for (const char* what : {"gradient", "loss"})
    expect_same_on_both(close, [&]<class K>(Device device) {
      Arenas a(layout, dtype, device, 0);
      Tensor losses = random_tensor({300}, 5, 0, 1, dtype).to(device);
      run_steps<K>(
          4,
          [&](int i) {
            std::vector<double> g = a.grad.to_vector(), l = losses.to_vector();
            const bool bad = i == 2;  // and all is well again in step 3
            (std::string(what) == "loss" ? l[299] : g[0]) = bad ? -std::numeric_limits<double>::infinity() : 0.5;
            a.grad.copy_from(from_vector(a.grad.shape(), g, {dtype, {}}));
            losses.copy_from(from_vector(losses.shape(), l, {dtype, {}}));
          },
          [&] {
            K::check_finite(a.control, losses);
            K::begin_update(a.control, a.grad, a.segments, 0);
            K::sgd_update(a.param, a.first, a.twin, a.grad, a.control, a.segments, {0.9, false});
            K::adam_update(a.param, a.first, a.second, a.twin, a.grad, a.control, a.segments, {});
          });
      return a.state();
    });
}

TEST_P(CudaUpdate, TheNormIsTheSameInEveryRun) {
  FULCRUM_NEEDS_CUDA();
  const Device gpu("cuda");
  const Tensor grad = random_tensor({50003}, 1, -1, 1, dtype).to(gpu);
  const Segments s = segments_of({{0}, {50003}, {0}, 50003}, gpu);
  Tensor once = zeros({kControlSize}, {DType::kF64, gpu}), again = zeros({kControlSize}, {DType::kF64, gpu});
  Cuda::begin_update(once, grad, s, 1);
  Cuda::begin_update(again, grad, s, 1);
  EXPECT_TRUE(same_bits(once, again));
  EXPECT_EQ(once.to_vector()[kStep], 1);
}

TEST_P(CudaUpdate, Lerp) {
  FULCRUM_NEEDS_CUDA();
  expect_same_on_both(close, [&]<class K>(Device device) {
    Tensors averages;
    std::vector<TensorPair> pairs;
    for (int64_t n : {1, 3, 4, 1021, 9000}) {
      averages.push_back(random_tensor({n}, 2, -1, 1, dtype).to(device));
      pairs.push_back({averages.back(), random_tensor({n}, 1, -1, 1, dtype).to(device)});
    }
    Tensor control = zeros({kControlSize}, {DType::kF64, device});
    K::lerp_all(pairs, 0.3, control);
    K::lerp_all(pairs, 0.2, {});
    Tensor bad = ones({kControlSize}, {DType::kF64, device});
    K::lerp_all(pairs, 0.1, bad);
    return averages;
  });
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaUpdate, ::testing::Values(DType::kF32, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

}  // namespace
}  // namespace fulcrum::testing
