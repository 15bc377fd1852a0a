// Sums, means, largest elements and the like over `dim` (one dimension, several, or all), as functions and as methods.
#include "bindings.h"

#include <numeric>

namespace fulcrum::python {

namespace {

using Dims = std::optional<std::variant<int, std::vector<int>>>;
using Reduction = Tensor (*)(const Tensor&, const std::vector<int>&, bool);

std::vector<int> dims_of(const Tensor& x, const Dims& dim) {
  if (dim && std::holds_alternative<int>(*dim)) return {std::get<int>(*dim)};
  if (dim) return std::get<std::vector<int>>(*dim);
  std::vector<int> all(static_cast<size_t>(x.dim()));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// argmax over one dimension; the others keep their order.
Tensor argmax_over(const Tensor& x, int dim, bool keepdim) {
  check(x.dim() > 0, "[argmax] expected at least one dimension, got a tensor of shape []");
  const int d = x.shape().index(dim);
  std::vector<int> order;
  for (int i = 0; i < x.dim(); i++)
    if (i != d) order.push_back(i);
  order.push_back(d);
  const Tensor best = argmax(d == x.dim() - 1 ? x : permute(x.detach(), order));
  if (!keepdim) return best;
  Shape shape = x.shape();
  shape.set(d, 1);
  return best.reshape(shape);
}

struct Named {
  const char* name;
  Reduction reduction;
  const char* doc;
};
const Named kReductions[] = {{"sum", static_cast<Reduction>(&sum), "The sum over some dimensions, or over all."},
                             {"mean", static_cast<Reduction>(&mean), "The mean over some dimensions, or over all."},
                             {"amax", &amax, "The largest element over some dimensions, or over all."},
                             {"amin", &amin, "The smallest element over some dimensions, or over all."},
                             {"logsumexp", &logsumexp, "log Σ eˣ over some dimensions, or over all."}};
constexpr const char* kVar = "Σ (x − mean)² / (n − correction) over some dimensions, or over all.";
constexpr const char* kArgmax =
    "The index of the largest element along a dimension, by default the last: i64; no gradient.";

Tensor var_over(const Tensor& x, const Dims& dim, double correction, bool keepdim) {
  return var(x, dims_of(x, dim), correction, keepdim);
}

auto over(Reduction reduction) {
  return [reduction](const Tensor& x, const Dims& dim, bool keepdim) { return reduction(x, dims_of(x, dim), keepdim); };
}

}  // namespace

void bind_reductions(nb::module_& m) {
  for (const auto& [name, reduction, doc] : kReductions)
    m.def(name, over(reduction), "x"_a, "dim"_a = nb::none(), "keepdim"_a = false, Unlocked(), doc);
  m.def("var", &var_over, "x"_a, "dim"_a = nb::none(), "correction"_a = 1.0, "keepdim"_a = false, Unlocked(), kVar);
  m.def("argmax", &argmax_over, "x"_a, "dim"_a = -1, "keepdim"_a = false, Unlocked(), kArgmax);
}

void bind_reductions(nb::class_<Tensor>& tensor) {
  for (const auto& [name, reduction, doc] : kReductions)
    tensor.def(name, over(reduction), "dim"_a = nb::none(), "keepdim"_a = false, Unlocked(), doc);
  tensor.def("var", &var_over, "dim"_a = nb::none(), "correction"_a = 1.0, "keepdim"_a = false, Unlocked(), kVar)
      .def("argmax", &argmax_over, "dim"_a = -1, "keepdim"_a = false, Unlocked(), kArgmax);
}

}  // namespace fulcrum::python
