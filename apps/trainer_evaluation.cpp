// What a run evaluates: the metrics after an epoch, the best epoch so far, the samples that weighed least.
#include <algorithm>
#include <iterator>
#include <memory>

#include <fulcrum/core/ops.h>

#include "apps/json_text.h"
#include "apps/losses.h"
#include "apps/metrics.h"
#include "apps/model_inputs.h"
#include "apps/risks.h"
#include "apps/sealed_file.h"
#include "apps/trainer.h"
#include "apps/warnings.h"

namespace fulcrum::apps {

bool Trainer::evaluate_epoch(nlohmann::json& row, const SampleTable& seen) {
  const std::unique_ptr<Ema::Applied> averaged = ema_ ? std::make_unique<Ema::Applied>(*ema_) : nullptr;
  const double scale = logit_scale(config_.loss);
  const Evaluation test = evaluate(*model_, test_loader_, scale, data_.class_counts, processes_);
  if (test.stopped) return false;
  row["test"] = to_json(test.metrics);
  // Early in training the loss may be large, since running statistics are still those of the beginning.
  const bool is_last = state_.progress.epoch + 1 == config_.train.epochs;
  if (const auto text =
          evaluation_warning(non_finite_rows(test), is_last ? test.metrics.loss : 0, data_.train->classes());
      !text.empty())
    progress_.print("warning: " + text);
  if (val_loader_) {
    const Evaluation val = evaluate(*model_, *val_loader_, scale, data_.class_counts, processes_);
    if (val.stopped) return false;
    row["val"] = to_json(val.metrics);
  }
  if (!splits_.empty()) {
    auto metrics = evaluate_splits(*model_, splits_, scale, data_.class_counts, processes_);
    if (!metrics) return false;
    row["splits"] = std::move(*metrics);
  }
  if (run_.writes()) {
    test.save(run_ / "predictions.safetensors", state_.progress.epoch);
    seen.save(run_ / "samples.safetensors", *data_.train, data_.train_indices);
  }
  keep_if_best(row);
  return true;
}

bool Trainer::save_suspects() {
  const SampleTable seen = samples_.read();
  if (!data_.train->has_noise() && !hears_small_losses(config_.risk) && !is_for_wrong_labels(config_.loss)) return true;
  const std::unique_ptr<Ema::Applied> averaged = ema_ ? std::make_unique<Ema::Applied>(*ema_) : nullptr;
  std::vector<int64_t> indices;
  std::ranges::copy_if(data_.train_indices, std::back_inserter(indices), [&](int64_t i) { return seen.visited(i); });
  if (indices.empty()) return true;
  const Loader loader = make_eval_loader(config_, *data_.train, indices, data_.statistics);
  const Tensor logits = predict(*model_, loader, logit_scale(config_.loss), processes_);
  if (!logits) return false;
  if (!run_.writes()) return true;
  const Tensor predicted = argmax(logits);
  apps::save_suspects(run_ / "suspects.csv", *data_.train, seen, indices, {predicted.data<int64_t>(), indices.size()});
  return true;
}

// Recipes without a held-out part can only choose on the test set; selected_on says so.
void Trainer::keep_if_best(const nlohmann::json& row) {
  RunProgress& p = state_.progress;
  const nlohmann::json& chosen = row[val_loader_ ? "val" : "test"];
  const std::string& metric = config_.train.eval_metric;
  if (!p.best.is_null() && !is_better(metric, number_in(chosen, metric), number_in(p.best, metric))) return;
  p.best = chosen;
  p.best.erase("per_class");
  p.best["epoch"] = p.epoch;
  p.best["selected_on"] = val_loader_ ? "val" : "test";
  if (val_loader_) {
    p.best["test_top1"] = row["test"]["top1"];
    p.best["test_macro_f1"] = row["test"]["macro_f1"];
  }
  if (!splits_.empty()) p.best["splits"] = without_classes(row["splits"]);
  if (run_.writes())
    save_sealed(run_ / "best.safetensors",
                {model_->state_dict(), {{"config", to_toml(config_)}, {"inputs", to_text(inputs_of(data_))}}});
}

}  // namespace fulcrum::apps
