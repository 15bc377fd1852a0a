#include <fulcrum/core/random.h>

#include <algorithm>

#include <fulcrum/core/cpu/parallel.h>

namespace fulcrum {

namespace {
// Element i is draw(words of block i / 4, i % 4).
template <class Draw>
void fill_from_host(Tensor& t, const Philox& philox, Draw draw) {
  Tensor host = empty(t.shape());
  float* x = host.data<float>();
  const auto n = static_cast<uint64_t>(t.numel());
  const auto blocks = static_cast<int64_t>((n + 3) / 4);
  cpu::parallel_for(blocks, cpu::kGrain / 4, [&](int64_t begin, int64_t end) {
    for (auto b = static_cast<uint64_t>(begin); b < static_cast<uint64_t>(end); b++) {
      const Words4 words = philox.block(b);
      for (uint64_t i = 4 * b; i < std::min(n, 4 * b + 4); i++) x[i] = draw(words, i % 4);
    }
  });
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
