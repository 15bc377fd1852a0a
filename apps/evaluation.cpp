#include "apps/evaluation.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <nlohmann/json.hpp>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/serialize.h>

#include "apps/i64_tensor.h"
#include "apps/stop.h"

namespace fulcrum::apps {

namespace {

// Halves the batch if memory does not hold the whole of it.
void predict_rows(Module& model, const Tensor& images, Tensor rows) {
  const int64_t n = images.size(0);
  try {
    rows.copy_from(model(images));
    return;
  } catch (const OutOfMemory&) {
    if (n == 1) throw;
  }
  predict_rows(model, images.slice(0, n / 2), rows.slice(0, n / 2));
  predict_rows(model, images.slice(n / 2, n), rows.slice(n / 2, n));
}

}  // namespace

Tensor predict(Module& model, const Loader& loader, double scale, Communicator& processes) {
  const NoGrad no_grad;
  std::optional<EvalMode> eval_mode(model);
  // Stay on the device until the end: a copy to the host would wait for every batch.
  Tensor all = zeros({loader.size(), loader.dataset().classes()}, {DType::kF32, loader.options().device});
  const Slice own = slice_of(loader.batches(), processes.rank(), processes.size());
  int64_t number = own.begin, row = own.begin * loader.options().batch_size;
  for (const Batch& batch : loader.epoch(0, own.begin)) {
    if (stop_signal != 0 || number == own.end) break;
    predict_rows(model, batch.images, all.slice(row, row + batch.size));
    row += batch.size;
    number++;
  }
  eval_mode.reset();
  if (processes.max(number != own.end) != 0) {
    agree_on_stop(processes);
    return {};
  }
  Tensor host = all.to(Device());
  processes.all_reduce(host);  // every row is 0 in all processes but one
  return scale == 1 ? host : host * scale;
}

Evaluation evaluate(Module& model, const Loader& loader, double scale, const std::vector<int64_t>& class_counts,
                    Communicator& processes) {
  Evaluation e;
  e.logits = predict(model, loader, scale, processes);
  e.stopped = !e.logits;
  if (e.stopped) return e;
  const NoGrad no_grad;
  const std::vector<int64_t> labels = gather(loader.dataset().labels(), loader.order(0));
  e.metrics = classification_metrics(e.logits, labels, class_counts);
  e.labels = i64_tensor(labels);
  e.predictions = argmax(e.logits);
  e.confidence = amax(softmax(e.logits), {1});
  return e;
}

int64_t non_finite_rows(const Evaluation& e) {
  if (e.stopped) return 0;
  const int64_t n = e.logits.size(0), classes = e.logits.size(1);
  const float* z = e.logits.data<float>();
  int64_t bad = 0;
  for (int64_t i = 0; i < n; i++)
    bad += !std::all_of(z + i * classes, z + (i + 1) * classes, [](float v) { return std::isfinite(v); });
  return bad;
}

nlohmann::json without_classes(nlohmann::json splits) {
  for (auto& metrics : splits) metrics.erase("per_class");
  return splits;
}

std::optional<nlohmann::json> evaluate_splits(Module& model, const std::vector<EvaluatedSplit>& splits, double scale,
                                              const std::vector<int64_t>& class_counts, Communicator& processes) {
  nlohmann::json all = nlohmann::json::object();
  for (const EvaluatedSplit& split : splits) {
    const Evaluation e = evaluate(model, split.loader, scale, class_counts, processes);
    if (e.stopped) return std::nullopt;
    all[split.name] = to_json(e.metrics);
  }
  return all;
}

void Evaluation::save(const std::filesystem::path& path, int64_t epoch) const {
  save_tensors(path, {{{"label", labels}, {"prediction", predictions}, {"confidence", confidence}},
                      {{"epoch", std::to_string(epoch)}}});
}

}  // namespace fulcrum::apps
