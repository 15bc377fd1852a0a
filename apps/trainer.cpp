#include "apps/trainer.h"

#include <cmath>
#include <fstream>

#include <fmt/format.h>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/profile.h>
#include <fulcrum/data/imbalance.h>

namespace fulcrum::apps {

namespace {

bool all_finite(const Tensor& t) {
  for (double v : t.to_vector())
    if (!std::isfinite(v)) return false;
  return true;
}

nlohmann::json finite_or_null(double v) {
  return std::isfinite(v) ? nlohmann::json(v) : nlohmann::json();
}

// Drops what an interrupted run wrote past its last checkpoint.
void truncate_metrics(const std::filesystem::path& path, int64_t epochs) {
  std::ifstream in(path);
  std::string kept, line;
  while (std::getline(in, line)) {
    const auto row = nlohmann::json::parse(line, nullptr, false);
    if (row.is_object() && row.value("epoch", epochs) < epochs) kept += line + "\n";
  }
  write_file_atomically(path, {kept});
}

}  // namespace

Tensor predict(Module& model, const Loader& loader, int64_t classes) {
  const NoGrad no_grad;
  const bool was_training = model.training();
  model.eval();
  Tensor all = empty({loader.size(), classes});
  int64_t row = 0;
  for (const Batch& batch : loader.epoch(0)) {
    Tensor rows = all.slice(row, row + batch.size);
    rows.copy_from(model(batch.images));
    row += batch.size;
  }
  model.train(was_training);
  return all;
}

Trainer::Trainer(Config config, Start start)
    : config_(std::move(config)),
      output_(config_.train.output),
      data_(load_data(config_.data)),
      model_(make_model(config_, *data_.train)),
      optimizer_((model_.to(Device(config_.train.device), activation_dtype(config_)),
                  make_optimizer(config_, model_.parameters()))),
      schedule_(make_schedule(config_)),
      train_loader_(make_train_loader(config_, data_)),
      test_loader_(make_eval_loader(config_, *data_.test, all_indices(data_.test->size()), data_.statistics)),
      totals_(zeros({4}, {DType::kF64, Device(config_.train.device)})),
      state_{model_, *optimizer_, totals_, {}},
      progress_(config_.train.log_interval) {
  if (!data_.val_indices.empty())
    val_loader_ = std::make_unique<Loader>(
        make_eval_loader(config_, *data_.train, data_.val_indices, data_.statistics));
  loss_.smoothing = config_.loss.smoothing;
  std::filesystem::create_directories(output_);
  if (start != Start::kFresh) {
    const bool changed = start == Start::kResumeChanged;
    load_checkpoint(output_ / "last.safetensors", state_, data_.checksum, /*other_risk=*/changed);
    write_file_atomically(output_ / "config.toml", {to_toml(config_)});
    truncate_metrics(output_ / "metrics.jsonl", state_.progress.epoch);
    progress_.print(fmt::format("resuming at epoch {} step {}", state_.progress.epoch + 1, state_.progress.batch));
  } else {
    // What an overwritten run left must not be taken for this one's.
    for (const char* stale : {"last.safetensors", "best.safetensors", "val_indices.txt", "noisy_labels.txt", "skipped_images.txt"})
      std::filesystem::remove(output_ / stale);
    write_file_atomically(output_ / "config.toml", {to_toml(config_)});
    write_file_atomically(output_ / "metrics.jsonl", {});
    write_index_lists();
  }
}

void Trainer::write_index_lists() const {
  save_indices(output_ / "train_indices.txt", data_.train_indices, "training samples of " + config_.data.name);
  if (!data_.val_indices.empty())
    save_indices(output_ / "val_indices.txt", data_.val_indices, "held-out training samples");
  if (!data_.skipped.empty()) {
    std::string lines;
    for (const std::string& line : data_.skipped) lines += line + "\n";
    write_file_atomically(output_ / "skipped_images.txt", {lines});
  }
  if (data_.train->has_noise())
    save_indices(output_ / "noisy_labels.txt", gather(data_.train->labels(), data_.train_indices),
                 "labels that training sees, in the order of train_indices.txt");
}

TrainOutcome Trainer::run() {
  int64_t& epoch = state_.progress.epoch;
  while (epoch < config_.train.epochs) {
    begin_epoch(epoch);
    if (!train_epoch()) {
      if (!non_finite_.empty()) {
        progress_.print("error: " + non_finite_);
        return {kExitNonFinite, {}};
      }
      save();
      progress_.print(fmt::format("stopped by signal {} at epoch {} step {}; continue with --resume {}",
                                  static_cast<int>(stop_signal), epoch + 1, state_.progress.batch,
                                  output_.string()));
      return {128 + static_cast<int>(stop_signal), {}};
    }
    finish_epoch();
  }
  nlohmann::json result = state_.progress.latest.value("test", nlohmann::json::object());
  result.erase("per_class");
  if (val_loader_) result["val"] = state_.progress.latest.value("val", nlohmann::json());
  result["epochs"] = config_.train.epochs;
  result["seed"] = config_.train.seed;
  result["best"] = state_.progress.best;
  result["output"] = output_.string();
  return {kExitDone, result};
}

void Trainer::begin_epoch(int64_t epoch) {
  optimizer_->set_lr(config_.optim.lr * schedule_.factor(static_cast<int>(epoch)));
  if (auto* kl = dynamic_cast<KlRisk*>(&optimizer_->risk()))
    kl->set_lambda(epoch >= config_.risk.from_epoch ? config_.risk.lambda
                                                    : std::numeric_limits<double>::infinity());
  if (config_.loss.class_weights == "balanced" && epoch >= config_.loss.drw_epoch) {
    loss_.class_weight = class_balanced_weights(data_.class_counts, config_.loss.cb_beta).to(totals_.device());
    if (auto* mean = dynamic_cast<MeanRisk*>(&optimizer_->risk()); mean && config_.risk.normalize == "weights")
      mean->set_class_weight(loss_.class_weight);
  }
  progress_.begin_epoch();
}

bool Trainer::train_epoch() {
  RunProgress& p = state_.progress;
  const int64_t steps = train_loader_.batches(), first = p.batch;
  auto asked = std::chrono::steady_clock::now();
  for (const Batch& batch : train_loader_.epoch(p.epoch, first)) {
    progress_.add_data_wait(std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count());
    train_batch(batch);
    if (stopped_by_non_finite(batch)) return false;
    p.batch++;
    if (progress_.due(p.batch, steps)) {
      const auto t = totals_.to_vector();
      progress_.show({p.epoch, config_.train.epochs, p.batch, steps, t[0] / t[3], t[1] / static_cast<double>(p.batch),
                      optimizer_->lr(), (p.batch - first) * config_.train.batch_size});
    }
    if (stop_signal != 0) return false;
    asked = std::chrono::steady_clock::now();
  }
  return true;
}

void Trainer::train_batch(const Batch& batch) {
  const Tensor logits = model_(batch.images);
  const Tensor losses = cross_entropy(logits, batch.labels, loss_);
  optimizer_->zero_grad();
  optimizer_->weigh(losses, {batch.indices, batch.groups}).backward();
  optimizer_->step();
  dispatch(totals_.device(), [&]<class K>() {
    K::add_metrics(totals_, logits.detach(), batch.labels, losses.detach(), optimizer_->weights());
  });
}

bool Trainer::stopped_by_non_finite(const Batch& batch) {
  if (optimizer_->finite()) return false;
  // The update did not happen: these are the last good weights, and the batch is to be tried again.
  optimizer_->clear_non_finite();
  save();
  const std::string layer = first_non_finite_layer(batch);
  non_finite_ = fmt::format(
      "non-finite {} at epoch {} step {}; the last good weights are in {}",
      layer.empty() ? "gradient (all outputs and the loss are finite)" : "loss; first layer with a non-finite output: " + layer,
      state_.progress.epoch + 1, state_.progress.batch + 1, (output_ / "last.safetensors").string());
  return true;
}

std::string Trainer::first_non_finite_layer(const Batch& batch) {
  const NoGrad no_grad;
  std::string first;
  Tensor logits;
  {
    const ForwardObserver observer([&](const std::string& name, const Tensor& y) {
      if (first.empty() && !all_finite(y)) first = name.empty() ? "the network" : name;
    });
    logits = model_(batch.images);
  }
  if (first.empty() && !all_finite(cross_entropy(logits, batch.labels, loss_))) first = "the loss";
  return first;
}

Metrics Trainer::evaluate(const Dataset& data, const Loader& loader) {
  const Tensor logits = predict(model_, loader, data.classes());
  return classification_metrics(logits, gather(data.labels(), *loader.options().indices), data_.class_counts);
}

nlohmann::json Trainer::training_metrics() {
  const auto t = totals_.to_vector();
  const RiskSummary risk = optimizer_->risk().summary();
  nlohmann::json row = {{"epoch", state_.progress.epoch},
                        {"lr", optimizer_->lr()},
                        {"train", {{"loss", t[0] / t[3]}, {"top1", t[2] / t[3]},
                                   {"objective", t[1] / static_cast<double>(risk.steps)}}},
                        {"weight_sum", risk.weight_sum},
                        {"effective_fraction", risk.effective_fraction}};
  if (auto* kl = dynamic_cast<KlRisk*>(&optimizer_->risk())) {
    const double lambda = kl->lambda();
    row["inv_lambda"] = 1 / lambda;
    row["log_u"] = finite_or_null(kl->log_u());
    row["kl_objective"] = std::isfinite(lambda) ? nlohmann::json(lambda * risk.log_mean_exp) : nlohmann::json();
  }
  return row;
}

void Trainer::finish_epoch() {
  RunProgress& p = state_.progress;
  nlohmann::json row = training_metrics();
  row["images_per_s"] = progress_.images_per_second(train_loader_.size());
  std::string line = fmt::format("epoch {:>3}/{}  loss {:.4f}  train top-1 {:.2f}", p.epoch + 1, config_.train.epochs,
                                 row["train"]["loss"].get<double>(), 100 * row["train"]["top1"].get<double>());
  if ((p.epoch + 1) % config_.train.eval_every == 0 || p.epoch + 1 == config_.train.epochs)
    line += evaluate_epoch(row);
  progress_.print(fmt::format("{}  {:.0f} img/s", line, row["images_per_s"].get<double>()));
  std::ofstream(output_ / "metrics.jsonl", std::ios::app) << row.dump() << "\n";
  p.latest = std::move(row);
  p.epoch++;
  p.batch = 0;
  dispatch(totals_.device(), [&]<class K>() { K::fill(totals_, 0); });
  optimizer_->risk().reset_summary();
  save();
}

std::string Trainer::evaluate_epoch(nlohmann::json& row) {
  RunProgress& p = state_.progress;
  std::string line;
  const Metrics test = evaluate(*data_.test, test_loader_);
  nlohmann::json chosen = row["test"] = to_json(test);
  if (val_loader_) {
    row["val"] = chosen = to_json(evaluate(*data_.train, *val_loader_));
    line = fmt::format("  val top-1 {:.2f}", 100 * chosen["top1"].get<double>());
  }
  // Recipes that hold nothing out have only the test set to choose by: labelled as what it is.
  if (p.best.is_null() || chosen["top1"] > p.best["top1"]) {
    p.best = chosen;
    p.best.erase("per_class");
    p.best["epoch"] = p.epoch;
    p.best["selected_on"] = val_loader_ ? "val" : "test";
    if (val_loader_) p.best["test_top1"] = test.top1;
    save_tensors(output_ / "best.safetensors", {model_.state_dict(), {{"config", to_toml(config_)}}});
  }
  return line + fmt::format("  test top-1 {:.2f}  balanced {:.2f}", 100 * test.top1, 100 * test.balanced);
}

void Trainer::save() {
  save_checkpoint(output_ / "last.safetensors", state_, to_toml(config_), data_.checksum);
}

}  // namespace fulcrum::apps
