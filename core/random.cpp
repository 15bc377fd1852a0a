#include <fulcrum/core/random.h>

namespace fulcrum {

namespace {
template <class Draw>
void fill_from_host(Tensor& t, Draw draw) {
  Tensor host = empty(t.shape());
  float* x = host.data<float>();
  for (int64_t i = 0; i < t.numel(); i++) x[i] = draw(static_cast<uint64_t>(i));
  t.copy_from(host);
}
}  // namespace

Generator::Generator(uint64_t s, uint64_t st, Device device)
    : seed(s), stream(st), position(zeros({1}, {DType::kI64, device})) {}

void fill_uniform(Tensor& t, double low, double high, uint64_t seed, uint64_t stream) {
  const Philox philox(seed, stream);
  const auto a = static_cast<float>(low), width = static_cast<float>(high - low);
  fill_from_host(t, [&](uint64_t i) { return a + width * philox.uniform(i); });
}

void fill_normal(Tensor& t, double mean, double stddev, uint64_t seed, uint64_t stream) {
  const Philox philox(seed, stream);
  const auto m = static_cast<float>(mean), s = static_cast<float>(stddev);
  fill_from_host(t, [&](uint64_t i) { return m + s * philox.normal(i); });
}

}  // namespace fulcrum
