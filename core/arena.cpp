#include <fulcrum/core/arena.h>

#include <algorithm>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {
constexpr int64_t kBoundaryBytes = 256;

// The part [offset, offset + shape) of a one-dimensional arena.
Tensor view(const Tensor& arena, int64_t offset, const Shape& shape) {
  return Tensor(arena.storage(), static_cast<size_t>(offset) * size_of(arena.dtype()), shape, arena.dtype());
}

// The whole one-dimensional arena behind a view of it.
Tensor whole(const Tensor& part, int64_t total) { return Tensor(part.storage(), 0, {total}, part.dtype()); }
}  // namespace

Arena Arena::lay_out(const std::vector<Tensor>& parameters, TensorOptions options, std::optional<DType> twin) {
  check(!parameters.empty(), "[arena] expected at least one parameter");
  check(options.dtype == DType::kF32 || options.dtype == DType::kF64, "[arena] expected masters in f32 or f64, got ",
        options.dtype);
  // A multiple of the boundary in elements of the narrowest tensor laid out alike (bf16 twins).
  const int64_t step = kBoundaryBytes / 2;
  Arena arena;
  int64_t total = 0;
  for (const Tensor& p : parameters) {
    arena.offsets.push_back(total);
    total += (p.numel() + step - 1) / step * step;
  }
  arena.values = zeros({total}, options);
  arena.grads = zeros({total}, options);
  if (twin) arena.twin = zeros({total}, {*twin, options.device});
  for (size_t i = 0; i < parameters.size(); i++) {
    Tensor p = parameters[i];
    Tensor value = view(arena.values, arena.offsets[i], p.shape());
    value.copy_from(p.detach());
    p.rebind(value);
    if (p.requires_grad()) p.set_grad(view(arena.grads, arena.offsets[i], p.shape()));
    if (twin && p.node()) p.node()->twin = view(arena.twin, arena.offsets[i], p.shape());
  }
  arena.refresh_twin();
  return arena;
}

std::optional<Arena> Arena::holding(const std::vector<Tensor>& parameters) {
  check(!parameters.empty(), "[arena] expected at least one parameter");
  Arena arena;
  int64_t total = 0;
  const Tensor& first = parameters[0];
  for (const Tensor& p : parameters) {
    const Tensor grad = p.grad();
    if (!grad || !first.grad() || p.storage() != first.storage() || grad.storage() != first.grad().storage() ||
        p.offset() != grad.offset())
      return {};
    arena.offsets.push_back(static_cast<int64_t>(p.offset() / size_of(p.dtype())));
    total = std::max(total, arena.offsets.back() + p.numel());
  }
  arena.values = whole(first, total);
  arena.grads = whole(first.grad(), total);
  if (const Tensor& twin = first.node()->twin; twin.defined()) arena.twin = whole(twin, total);
  return arena;
}

void Arena::refresh_twin() {
  if (!twin) return;
  dispatch(values, [&]<class K>() { K::cast(twin, values); });
}

void refresh_twin(const Tensor& parameter) {
  if (!parameter.node() || !parameter.node()->twin) return;
  Tensor twin = parameter.node()->twin;
  dispatch(parameter, [&]<class K>() { K::cast(twin, parameter); });
}

}  // namespace fulcrum
