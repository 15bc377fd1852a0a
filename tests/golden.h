// The golden data: what PyTorch computed (golden/make_golden.py) from inputs that both languages
// draw from the same Philox streams.
//
//   const Golden golden("ops");
//   golden["conv_k3.y"]; golden.about["cases"];
#pragma once

#include <fulcrum/layers/module.h>

#include "json.h"
#include "oracles.h"

namespace fulcrum::testing {

struct Golden {
  explicit Golden(const std::string& name)
      : file(load_tensors(source_path("tests/golden/" + name + ".safetensors"))),
        about(Json::parse(file.metadata.at("golden"))) {
    check(about["seed"].number == kSeed, "the golden data were made with another seed");
  }
  const Tensor& operator[](const std::string& name) const {
    const auto it = file.tensors.find(name);
    check(it != file.tensors.end(), "no golden tensor ", name);
    return it->second;
  }

  TensorFile file;
  Json about;
};

/// philox.symmetric of the golden scripts: float32(offset) + float32(2u − 1)·float32(bound),
/// rounded to f32 after each operation. Computed in double, where no step can be fused with the
/// next.
inline Tensor symmetric(const Shape& shape, double bound, uint64_t stream, double offset = 0,
                        DType dtype = DType::kF64) {
  Tensor factors = empty(shape);
  fill_uniform(factors, -1, 1, kSeed, stream);  // 2u − 1 is exact
  std::vector<double> values(static_cast<size_t>(shape.numel()));
  for (size_t i = 0; i < values.size(); i++) {
    const float scaled = static_cast<float>(static_cast<double>(factors.data<float>()[i]) *
                                            static_cast<double>(static_cast<float>(bound)));
    const float sum = static_cast<float>(static_cast<double>(static_cast<float>(offset)) + static_cast<double>(scaled));
    values[i] = static_cast<double>(offset != 0 ? sum : scaled);
  }
  return from_vector(shape, values, {dtype, {}});
}

/// [N, C, H, W] → [N, H, W, C], and [out, in, kh, kw] → [out, kh, kw, in].
inline Tensor channels_last(const Tensor& t) {
  const View v(t);
  return generate({t.size(0), t.size(2), t.size(3), t.size(1)},
                  [&](const Index& i) { return v(i[0], i[3], i[1], i[2]); });
}
inline Tensor channels_first(const Tensor& t) {
  const View v(t);
  return generate({t.size(0), t.size(3), t.size(1), t.size(2)},
                  [&](const Index& i) { return v(i[0], i[2], i[3], i[1]); });
}

/// networks.summary: sum, L2 norm, 16 samples of a tensor in PyTorch's order.
inline std::vector<double> summary(const Tensor& t) {
  const auto v = t.to_vector();
  std::vector<double> s{0, 0};
  for (double x : v) s[0] += x, s[1] += x * x;
  s[1] = std::sqrt(s[1]);
  for (size_t j = 0; j < 16; j++) s.push_back(v[j * v.size() / 16]);
  return s;
}

/// Compares a tensor with a golden summary; every error is relative to the norm.
inline ::testing::AssertionResult same_summary(const Tensor& got, const Tensor& golden, double tolerance) {
  const auto a = summary(got), b = golden.to_vector();
  for (size_t i = 0; i < b.size(); i++) {
    // Errors of n independent elements add up to √n times one in the sum.
    const double scale = i == 0 ? std::sqrt(static_cast<double>(got.numel())) : 1;
    if (std::abs(a[i] - b[i]) <= tolerance * b[1] * scale) continue;
    const std::string what = i == 0 ? "sum" : i == 1 ? "norm" : "sample " + std::to_string(i - 2);
    return ::testing::AssertionFailure() << what << " of " << got.shape() << ": got " << a[i] << ", expected " << b[i]
                                         << ", norm " << b[1] << ", limit " << tolerance;
  }
  return ::testing::AssertionSuccess();
}

/// Fills a network as networks.fill_parameters does: streams 0, 1, … in the order of the
/// parameters.
inline void fill_as_golden(Module& net) {
  TensorMap dict = net.state_dict();
  uint64_t stream = 0;
  for (const NamedTensor& p : net.named_parameters()) {
    Tensor& t = dict.at(p.name);
    const bool weight = p.name.ends_with("weight"), last = p.name.ends_with("bn3.weight");
    if (t.dim() > 1) {
      const auto fan_in = static_cast<double>(t.numel() / t.size(0));
      t = symmetric(t.shape(), std::sqrt(6.0 / fan_in), stream++);
    } else {
      t = symmetric(t.shape(), 0.1, stream++, last ? 0.25 : weight ? 1 : 0);
    }
  }
  net.load_state_dict(dict);
}

}  // namespace fulcrum::testing
