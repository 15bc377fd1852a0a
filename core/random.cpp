#include <fulcrum/core/random.h>

#include <algorithm>

namespace fulcrum {

namespace {
// Element i is draw(words of block i / 4, i % 4).
template <class Draw>
void fill_from_host(Tensor& t, const Philox& philox, Draw draw) {
  Tensor host = empty(t.shape());
  float* x = host.data<float>();
  const auto n = static_cast<uint64_t>(t.numel());
  const auto blocks = static_cast<int64_t>((n + 3) / 4);
#pragma omp parallel for if (blocks > 4096)
  for (int64_t b = 0; b < blocks; b++) {
    const auto first = 4 * static_cast<uint64_t>(b);
    const Words4 words = philox.block(first / 4);
    for (uint64_t i = first; i < std::min(n, first + 4); i++) x[i] = draw(words, i - first);
  }
  t.copy_from(host);
}
}  // namespace

Generator::Generator(uint64_t s, uint64_t st, Device device)
    : seed(s), stream(st), position(zeros({1}, {DType::kI64, device})) {}

void fill_uniform(Tensor& t, double low, double high, uint64_t seed, uint64_t stream) {
  const auto a = static_cast<float>(low), width = static_cast<float>(high - low);
  fill_from_host(t, Philox(seed, stream), [&](const Words4& words, uint64_t i) {
    return a + width * Philox::to_uniform(words.w[i]);
  });
}

void fill_normal(Tensor& t, double mean, double stddev, uint64_t seed, uint64_t stream) {
  const auto m = static_cast<float>(mean), s = static_cast<float>(stddev);
  fill_from_host(t, Philox(seed, stream), [&](const Words4& words, uint64_t i) {
    return m + s * Philox::to_normal(words, i);
  });
}

}  // namespace fulcrum
