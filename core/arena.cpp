#include <fulcrum/core/arena.h>

#include <algorithm>
#include <limits>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/kernels.h>

namespace fulcrum {

namespace {
constexpr int64_t kBoundaryBytes = 256;

// A view of `shape` that starts at element `offset` of a one-dimensional arena tensor.
Tensor view(const Tensor& arena, int64_t offset, const Shape& shape) {
  return Tensor(arena.storage(), static_cast<size_t>(offset) * size_of(arena.dtype()), shape, arena.dtype());
}

int64_t padded(int64_t elements) {
  // The boundary in elements of 2 bytes: the bf16 twin has the same offsets, in elements.
  constexpr int64_t kStep = kBoundaryBytes / 2;
  return (elements + kStep - 1) / kStep * kStep;
}
}  // namespace

Arena Arena::lay_out(const std::vector<Tensor>& parameters, TensorOptions options, std::optional<DType> twin) {
  check(!parameters.empty(), "[arena] expected at least one parameter");
  check(options.dtype == DType::kF32 || options.dtype == DType::kF64, "[arena] expected masters in f32 or f64, got ",
        options.dtype);
  Arena arena;
  int64_t total = 0;
  for (const Tensor& p : parameters) {
    arena.offsets.push_back(total);
    total += padded(p.numel());
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
  int64_t begin = std::numeric_limits<int64_t>::max(), end = 0;
  const Tensor& first = parameters[0];
  for (const Tensor& p : parameters) {
    const Tensor grad = p.grad();
    if (!grad || !first.grad() || p.storage() != first.storage() || grad.storage() != first.grad().storage() ||
        p.offset() != grad.offset())
      return {};
    arena.offsets.push_back(static_cast<int64_t>(p.offset() / size_of(p.dtype())));
    begin = std::min(begin, arena.offsets.back());
    end = std::max(end, arena.offsets.back() + p.numel());
  }
  for (int64_t& offset : arena.offsets) offset -= begin;
  const auto part = [&](const Tensor& t) { return view(t, begin, {end - begin}); };
  arena.values = part(first);
  arena.grads = part(first.grad());
  if (const Tensor& twin = first.node()->twin; twin.defined()) arena.twin = part(twin);
  return arena;
}

std::vector<Slice> Arena::runs(const std::vector<Tensor>& parameters) const {
  std::vector<Slice> all;
  for (size_t i = 0; i < parameters.size(); i++) all.push_back({offsets[i], offsets[i] + parameters[i].numel()});
  std::ranges::sort(all, {}, &Slice::begin);
  std::vector<Slice> runs;
  for (const Slice& s : all) {
    if (!runs.empty() && s.begin <= runs.back().begin + padded(runs.back().size())) runs.back().end = s.end;
    else runs.push_back(s);
  }
  return runs;
}

void Arena::refresh_twin() {
  if (!twin) return;
  dispatch(values, [&]<class K>() { K::cast(twin, values); });
}

void refresh_twin(const Tensor& parameter) {
  if (!parameter.node() || !parameter.node()->twin) return;
  Tensor twin = parameter.node()->twin;
  dispatch(parameter, [&]<class K>() { K::cast(twin, parameter); });
  twin.mark_written();
}

}  // namespace fulcrum
