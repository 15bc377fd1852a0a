// The metrics of data/metrics.h: what the program reports of a test set.
#include "bindings.h"
#include "integers.h"

#include <fulcrum/data/metrics.h>

namespace fulcrum::python {

namespace {

std::vector<int64_t> numbers(const Tensor& t) {
  const Tensor host = t.to(Device());
  const int64_t* first = host.data<int64_t>();
  return {first, first + host.numel()};
}

Metrics metrics(const Tensor& logits, const Integers& labels, const OptionalIntegers& counts) {
  check(logits.dim() == 2 && is_floating(logits.dtype()), "[metrics] expected floating logits [N, C], got ",
        logits.dtype(), " ", logits.shape());
  const Tensor y = labels.as_i64("metrics", "labels", Tensor());
  check(y.shape() == Shape{logits.size(0)}, "[metrics] expected labels [", logits.size(0),
        "], one for each row of the logits, got ", y.shape());
  std::vector<int64_t> of_classes(static_cast<size_t>(logits.size(1)), 0);
  if (counts) of_classes = numbers(counts->as_i64("metrics", "counts", Tensor()));
  return classification_metrics(logits.detach().to(DType::kF32).to(Device()), numbers(y), of_classes);
}

nb::dict by_name(const Metrics& m, bool with_counts) {
  nb::dict all;
  all["top1"] = m.top1, all["top5"] = m.top5, all["balanced"] = m.balanced, all["worst_class"] = m.worst;
  if (with_counts) all["many"] = m.many, all["medium"] = m.medium, all["few"] = m.few;
  all["loss"] = m.loss, all["macro_f1"] = m.macro_f1, all["ece"] = m.ece;
  if (m.per_class.size() == 2) all["auroc"] = m.auroc, all["auprc"] = m.auprc;
  all["per_class"] = m.per_class;
  return all;
}

}  // namespace

void bind_metrics(nb::module_& m) {
  m.def(
      "_metrics",
      [](const Tensor& logits, const Integers& labels, const OptionalIntegers& counts) {
        const Metrics found = [&] {
          const nb::gil_scoped_release release;
          return metrics(logits, labels, counts);
        }();
        return by_name(found, counts.has_value());
      },
      "logits"_a, "labels"_a, "counts"_a.none());
}

}  // namespace fulcrum::python
