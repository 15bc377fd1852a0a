// Pooling of the CUDA back-end. The operations that it makes up are in ops_test.cpp.
#include <limits>

#include "device_testing.h"

namespace fulcrum::testing {
namespace {

class CudaPool : public ::testing::TestWithParam<DType> {
 protected:
  Tolerance tolerance() const { return {GetParam() == DType::kF64 ? 1e-12 : GetParam() == DType::kF32 ? 1e-5 : 8e-3}; }
  Tensor random(const Shape& shape, uint64_t stream) const { return random_tensor(shape, stream, -1, 1, GetParam()); }
};

// n, h, w, c, out_h, out_w, kernel, stride, padding, count_include_pad; channels are set by the tests.
const Pool2dGeometry kGeometries[] = {
    {2, 7, 5, 0, 4, 3, 3, 3, 2, 2, 1, 1, true}, {2, 7, 5, 0, 4, 3, 3, 3, 2, 2, 1, 1, false},
    {3, 6, 4, 0, 3, 2, 2, 2, 2, 2, 0, 0, true}, {1, 6, 7, 0, 4, 6, 3, 2, 1, 1, 0, 0, true},
    {2, 9, 9, 0, 3, 2, 2, 3, 3, 4, 0, 0, true}, {1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, true},
    {1, 1, 9, 0, 1, 1, 1, 9, 1, 9, 0, 0, true}, {3, 8, 8, 0, 1, 1, 8, 8, 8, 8, 0, 0, true}};

TEST_P(CudaPool, MaximaMeansAndGradients) {
  FULCRUM_NEEDS_CUDA();
  for (int64_t channels : {1, 3, 8, 16, 17, 72})
    for (Pool2dGeometry g : kGeometries) {
      g.c = channels;
      const Shape xs{g.n, g.h, g.w, g.c}, ys{g.n, g.out_h, g.out_w, g.c};
      SCOPED_TRACE(concat_text(xs, " to ", ys));
      const Tensor x = random(xs, 1), dy = random(ys, 2);
      expect_same_on_both(tolerance(), [&]<class K>(Device device) {
        const Tensor image = x.to(device), d = dy.to(device);
        Tensor max = empty(ys, options_of(image)), mean = empty_like(max), winner = empty(ys, {DType::kI32, device});
        Tensor dmax = empty(xs, options_of(image)), dmean = empty_like(dmax);
        K::max_pool2d(max, winner, image, g);
        K::max_pool2d_gradient(dmax, d, winner, g);
        K::avg_pool2d(mean, image, g);
        K::avg_pool2d_gradient(dmean, d, g);
        return Tensors{max, winner, dmax, mean, dmean};
      });
    }
}

TEST_P(CudaPool, TiesAndNans) {
  FULCRUM_NEEDS_CUDA();
  const Pool2dGeometry g{2, 7, 5, 8, 4, 3, 3, 3, 2, 2, 1, 1, true};
  Tensor x = random({2, 7, 5, 8}, 1);
  std::vector<double> v = x.to_vector();
  for (double& e : v) e = std::round(2 * e);
  for (size_t i = 0; i < v.size(); i += 41) v[i] = std::numeric_limits<double>::quiet_NaN();
  x.copy_from(from_vector({2, 7, 5, 8}, v));
  expect_same_on_both({}, [&]<class K>(Device device) {
    Tensor y = empty({2, 4, 3, 8}, {GetParam(), device}), winner = empty(y.shape(), {DType::kI32, device});
    K::max_pool2d(y, winner, x.to(device), g);
    return Tensors{y, winner};
  });
}

TEST_P(CudaPool, SlicesThatStandOnNoVectorBoundary) {
  FULCRUM_NEEDS_CUDA();
  const Pool2dGeometry g{1, 7, 5, 16, 4, 3, 3, 3, 2, 2, 1, 1, true};
  const int64_t pixels = 7 * 5 * 16, windows = 4 * 3 * 16;
  const Tensor x = random({pixels + 1}, 1), dy = random({windows + 1}, 2);
  expect_same_on_both(tolerance(), [&]<class K>(Device device) {
    const auto part = [](const Tensor& t) { return t.slice(1, t.size(0)); };
    Tensor all = zeros({windows + 1}, {GetParam(), device}), winners = zeros({windows + 1}, {DType::kI32, device});
    Tensor dall = zeros({pixels + 1}, {GetParam(), device});
    Tensor y = part(all), winner = part(winners), dx = part(dall);
    K::max_pool2d(y, winner, part(x.to(device)), g);
    K::max_pool2d_gradient(dx, part(dy.to(device)), winner, g);
    return Tensors{all, winners, dall};
  });
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CudaPool, ::testing::Values(DType::kF32, DType::kBf16, DType::kF64),
                         [](const auto& dtype) { return name_of(dtype.param); });

}  // namespace
}  // namespace fulcrum::testing
