#include "apps/trainer.h"

#include <cmath>

#include <fmt/format.h>

#include <fulcrum/core/cuda_options.h>
#include <fulcrum/core/kernels.h>

#include "apps/json_text.h"
#include "apps/model_inputs.h"
#include "apps/pretrained.h"
#include "apps/report/report.h"
#include "apps/risks.h"
#include "apps/seconds.h"
#include "apps/stop.h"
#include "apps/warnings.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

// Whether numbers that a recorded step has frozen change at this epoch: class weights begin, a risk begins, γ is
// annealed. λ, the learning rate and all counters are on the device, and not frozen.
bool step_changes(const Config& c, int64_t epoch) {
  const bool weights = c.loss.class_weights != "none" && epoch == c.loss.drw_epoch;
  return weights || epoch == c.risk.from_epoch || c.risk.anneal_gamma;
}

// Moves the model to the device that trains; must precede the construction of its optimiser.
Module& moved(Module& model, const Config& c) {
  model.to(Device(c.train.device), activation_dtype(c));
  return model;
}

std::vector<int64_t> first_of(std::vector<int64_t> indices, const Dataset& data, int64_t batches) {
  const auto most = static_cast<size_t>(batches * eval_batch(data));
  if (batches > 0 && indices.size() > most) indices.resize(most);
  return indices;
}

}  // namespace

Trainer::Trainer(Config config, Start start, Communicator& processes)
    : processes_(processes),
      config_(std::move(config)),
      run_(config_.train.output, processes.first()),
      data_(load_data(config_.data)),
      device_processes_(fulcrum::device_processes(processes, Device(config_.train.device))),
      model_(make_model(config_, *data_.train)),
      memory_(
          estimate_memory(config_, *model_, data_.train->image_shape(), config_.train.batch_size / processes.size())),
      optimizer_(make_optimizer(config_, moved(*model_, config_), data_.class_counts)),
      schedule_(make_schedule(config_)),
      train_loader_(make_train_loader(config_, data_, processes.rank(), processes.size())),
      test_loader_(eval_loader(*data_.test, all_indices(data_.test->size()))),
      totals_(zeros({4}, {DType::kF64, Device(config_.train.device)})),
      samples_(data_.train->size(), Device(config_.train.device)),
      state_{*model_, *optimizer_, {{"totals", totals_}, {"samples", samples_.table()}}, {}},
      loss_(config_.loss, data_.class_counts, data_.train->size(), Device(config_.train.device)),
      progress_(config_.train.log_interval, run_ / "log.txt", processes.first()) {
  check_alike(processes, data_.checksums);
  if (several()) {
    distribute(*model_, part_, config_.train.sync_bn);
    optimizer_->distribute(on_device());
  }
  add_eval_loaders();
  for (auto& tensor : loss_.state()) state_.tensors.push_back(std::move(tensor));
  std::string pretrained;  // what was loaded; must precede the moving averages, which begin with it
  if (start == Start::kFresh && !config_.model.pretrained.empty())
    pretrained =
        load_pretrained(*model_, config_.model.pretrained, config_.model.reset_head, data_.train->class_names());
  if (config_.train.ema_decay > 0) {
    ema_ = std::make_unique<Ema>(*model_, config_.train.ema_decay);
    state_.ema = ema_.get();
  }
  if (records())
    recorded_ = std::make_unique<RecordedStep>(train_loader_, totals_, optimizer_->control(),
                                               [this](const Batch& batch) { train_batch(batch); });
  start == Start::kFresh ? begin(pretrained) : resume(start);
}

void Trainer::add_eval_loaders() {
  if (data_.val) val_loader_ = std::make_unique<Loader>(eval_loader(*data_.val, all_indices(data_.val->size())));
  else if (!data_.val_indices.empty())
    val_loader_ = std::make_unique<Loader>(eval_loader(*data_.train, data_.val_indices));
  for (const DataSplit& split : data_.splits)
    splits_.push_back({split.name, eval_loader(*split.data, all_indices(split.data->size()))});
}

void Trainer::begin(const std::string& pretrained) {
  check_state_alike();  // a barrier, too: model.pretrained, now read, may be in a directory that begin() clears
  run_.begin(config_, data_);
  print_warnings();
  if (const std::string part = eager_part(); !part.empty()) progress_.print(part);
  if (!pretrained.empty()) progress_.print(pretrained);
}

void Trainer::resume(Start start) {
  run_.lock();
  const RunProgress stored = stored_progress(run_ / "last.safetensors");
  const std::vector<Difference> changed = differences(stored_config(run_.path()), config_, free_settings());
  const bool risk_began = stored.epoch + (stored.batch > 0 ? 1 : 0) > config_.risk.from_epoch;
  load_checkpoint(run_ / "last.safetensors", state_, data_.checksums,
                  /*other_risk=*/start == Start::kResumeChanged || !risk_began);
  if (const auto& plans = state_.plans; !plans.empty()) {
    const auto own = static_cast<size_t>(processes_.rank());
    load_cudnn_plans(plans[own < plans.size() ? own : 0]);
  }
  check_state_alike();
  run_.resume(config_, state_.progress.epoch);
  if (start == Start::kResumeChanged) print_warnings();
  progress_.print(fmt::format("resuming at epoch {} step {}", state_.progress.epoch + 1, state_.progress.batch));
  for (const Difference& d : changed) progress_.print("changed: " + d.text());
  if (!changed.empty()) save();  // so that a run that is killed now resumes with them, too
}

void Trainer::print_warnings() {
  for (const std::string& leak : data_.leaks) progress_.print("warning: " + leak);
  for (const std::string& warning : warnings_of(config_, data_.class_counts)) progress_.print("warning: " + warning);
}

Loader Trainer::eval_loader(const Dataset& data, const std::vector<int64_t>& indices) const {
  return make_eval_loader(config_, data, first_of(indices, data, config_.train.limit_batches), data_.statistics);
}

TrainOutcome Trainer::run(std::function<void(int64_t epochs)> after_epoch) {
  after_epoch_ = std::move(after_epoch);
  if (run_.writes())
    for (const std::string& line : memory_lines(memory_, Device(config_.train.device), processes_))
      progress_.print(line);
  try {
    return run_to_end();
  } catch (...) {
    if (device_processes_) device_processes_->shut_down(/*failed=*/true);
    throw;
  }
}

TrainOutcome Trainer::run_to_end() {
  while (!finished()) {
    if (!begin_epoch(state_.progress.epoch) || !train_epoch() || !finish_epoch()) return stopped();
  }
  if (!save_suspects()) return stopped();
  const nlohmann::json done = result();
  run_.finish(done);
  write_page();
  return {kExitDone, done};
}

bool Trainer::finished() const {
  const RunProgress& p = state_.progress;
  if (p.epoch >= config_.train.epochs) return true;
  if (config_.train.patience == 0 || p.best.is_null() || p.batch > 0) return false;
  if (!p.latest.contains("test")) return false;  // stop only after an evaluated epoch
  return p.epoch - 1 - p.best["epoch"].get<int64_t>() >= config_.train.patience;
}

TrainOutcome Trainer::stopped() {
  if (!non_finite_.empty()) {
    progress_.print_error(non_finite_);
    write_page();
    return {kExitNonFinite, {}};
  }
  save();
  write_page();
  progress_.print(fmt::format("stopped by signal {} at epoch {} step {}; continue with --resume {}",
                              static_cast<int>(stop_signal), state_.progress.epoch + 1, state_.progress.batch,
                              run_.path().string()));
  return {128 + static_cast<int>(stop_signal), {}};
}

nlohmann::json Trainer::result() const {
  const RunProgress& p = state_.progress;
  nlohmann::json r = p.latest.value("test", nlohmann::json::object());
  r.erase("per_class");
  if (val_loader_) {
    r["val"] = p.latest.value("val", nlohmann::json::object());
    r["val"].erase("per_class");
  }
  if (!splits_.empty()) r["splits"] = without_classes(p.latest.value("splits", nlohmann::json::object()));
  if (const auto found = p.latest.find("wrong_labels"); found != p.latest.end())
    for (const auto& [key, value] : found->items()) r["wrong_label_" + key] = value;
  r["epochs"] = p.epoch;
  r["seed"] = config_.train.seed;
  r["best"] = p.best;
  r["output"] = run_.path().string();
  return r;
}

bool Trainer::begin_epoch(int64_t epoch) {
  optimizer_->set_lr(config_.optim.lr * schedule_.factor(static_cast<int>(epoch)));
  loss_.begin_epoch(epoch);
  begin_risk_epoch(optimizer_->risk(), config_, epoch, loss_.class_weight());
  if (recorded_ && step_changes(config_, epoch)) recorded_->replay.restart();
  progress_.begin_epoch(state_.progress.batch);
  return state_.progress.batch > 0 || !loss_.prunes_before(epoch) || prune(epoch);
}

bool Trainer::prune(int64_t epoch) {
  const Loader loader = eval_loader(*data_.train, data_.train_indices);
  const std::vector<int64_t> indices = loader.order(0);
  const Tensor logits = predict(*model_, loader, logit_scale(config_.loss), processes_);
  if (!logits) return false;
  const double share = loss_.prune(indices, logits, gather(data_.train->labels(), indices));
  progress_.print(fmt::format("epoch {}: {:.2f} % of the training images are left out", epoch + 1, 100 * share));
  return true;
}

void Trainer::show_progress(int64_t step, int64_t last, std::span<const double> totals) {
  if (!progress_.due(step, last)) return;
  progress_.show({state_.progress.epoch, config_.train.epochs, step, last, totals[0] / totals[3],
                  totals[1] / static_cast<double>(step), optimizer_->lr(),
                  (step - progress_.first_step()) * config_.train.batch_size});
}

int64_t Trainer::steps() const { return steps_of_epoch(config_, std::ssize(data_.train_indices)); }

int64_t Trainer::group_size(int64_t batch) const {
  const int64_t size = config_.train.accumulate;
  return std::min(size, steps() - batch / size * size);
}

bool Trainer::group_ends(int64_t batch) const {
  return (batch + 1) % config_.train.accumulate == 0 || batch + 1 == steps();
}

bool Trainer::save_due(int64_t batches) const {
  const int64_t interval = config_.train.recovery_interval;
  return interval > 0 && batches % interval == 0 && group_ends(batches - 1);
}

bool Trainer::train_epoch() {
  if (recorded_) return train_recorded_epoch();
  RunProgress& p = state_.progress;
  const int64_t last = steps(), first = p.batch;
  if (first >= last) return true;  // the run was stopped in the evaluation of this epoch
  auto asked = Clock::now();
  for (const Batch& batch : train_loader_.epoch(p.epoch, first)) {
    progress_.add_data_wait(seconds_since(asked));
    train_batch(batch);
    if (group_ends(p.batch) && stopped_by_non_finite()) return false;
    p.batch++;
    if (progress_.due(p.batch, last)) show_progress(p.batch, last, totals_.to_vector());
    if (group_ends(p.batch - 1) && agree_on_stop(processes_) != 0) return false;
    if (save_due(p.batch)) save();
    if (p.batch == last) break;
    asked = Clock::now();
  }
  return true;
}

void Trainer::announce_part(const Batch& batch) {
  if (several()) *part_ = {&on_device(), slice_of(batch.total, processes_.rank(), processes_.size()), batch.total};
}

void Trainer::train_batch(const Batch& batch) {
  const int64_t number = state_.progress.batch, size = group_size(number);
  announce_part(batch);
  const Tensor logits = (*model_)(batch.images);
  const Tensor losses = loss_(logits, batch);
  if (number % config_.train.accumulate == 0) optimizer_->zero_grad();
  Tensor objective = optimizer_->weigh(losses, {batch.indices, batch.groups, batch.total});
  if (size > 1) objective = objective / static_cast<double>(size);
  if (group_ends(number)) {
    optimizer_->backward(objective);
    optimizer_->step();
    if (ema_) ema_->update(optimizer_->control());
  } else {
    objective.backward();
  }
  add_metrics(batch, logits.detach(), losses.detach());
  const WeighedBatch& whole = optimizer_->batch();
  samples_.add(whole.context.indices, loss_.kept(whole.weights, whole.context.indices), whole.losses);
}

nlohmann::json Trainer::training_metrics(const SampleTable& seen) {
  const auto t = totals_.to_vector();
  const RiskSummary risk = optimizer_->risk().summary();
  nlohmann::json row = {
      {"epoch", state_.progress.epoch},
      {"lr", optimizer_->lr()},
      {"train", {{"loss", t[0] / t[3]}, {"top1", t[2] / t[3]}, {"objective", t[1] / static_cast<double>(risk.steps)}}},
      {"weight_sum", risk.weight_sum},
      {"effective_fraction", risk.effective_fraction},
      {"class_weight_share", seen.class_share(data_.train->labels(), data_.train_indices, data_.train->classes())},
      {"weight_histogram", seen.weight_histogram(data_.train_indices, kWeightBins)},
      {"loss_histogram", seen.loss_histogram(data_.train_indices, kLossBins)}};
  if (const auto found = seen.found_by_weight(*data_.train, data_.train_indices))
    row["wrong_labels"] = {{"auroc", found->auroc}, {"precision", found->precision}, {"recall", found->recall}};
  if (const auto found = seen.found_by_loss(*data_.train, data_.train_indices)) {
    row["wrong_labels"]["auroc_by_loss"] = found->auroc;
    row["wrong_labels"]["precision_by_loss"] = found->precision;
    row["wrong_labels"]["recall_by_loss"] = found->recall;
  }
  if (state_.progress.epoch >= config_.risk.from_epoch) {
    row.update(risk_readings(optimizer_->risk()));
  } else {
    row["inv_lambda"] = 0;  // still the mean, whatever the risk: runs that share these epochs get the same rows
  }
  return row;
}

bool Trainer::finish_epoch() {
  RunProgress& p = state_.progress;
  share_statistics();
  const SampleTable seen = samples_.read();
  nlohmann::json row = training_metrics(seen);
  // In an epoch that was resumed, count what was trained since; nothing if all was trained before.
  const int64_t all = std::min(steps() * config_.train.batch_size, train_loader_.size());
  const int64_t images = all - progress_.first_step() * config_.train.batch_size;
  row["images"] = all;
  row["images_per_s"] = images > 0 ? nlohmann::json(progress_.images_per_second(images)) : nlohmann::json();
  std::string line = fmt::format("epoch {:>3}/{}  loss {:.4f}  train top-1 {:.2f}", p.epoch + 1, config_.train.epochs,
                                 row["train"]["loss"].get<double>(), 100 * row["train"]["top1"].get<double>());
  if ((p.epoch + 1) % config_.train.eval_every == 0 || p.epoch + 1 == config_.train.epochs) {
    try {
      if (!evaluate_epoch(row, seen)) return false;
    } catch (const OutOfMemory&) {  // --resume will begin with the evaluation
      if (!several()) save();       // else the others wait in a collective of the evaluation
      throw;
    }
    const auto percent = [&](const char* data, const char* key) { return 100 * row[data][key].get<double>(); };
    if (val_loader_) line += fmt::format("  val top-1 {:.2f}", percent("val", "top1"));
    if (const std::string& metric = config_.train.eval_metric; val_loader_ && metric != "top1")
      line += fmt::format("  val {} {:.4g}", metric, (metric == "loss" ? 1 : 100) * number_in(row["val"], metric));
    line += fmt::format("  test top-1 {:.2f}  balanced {:.2f}", percent("test", "top1"), percent("test", "balanced"));
  }
  if (images > 0) line += fmt::format("  {:.0f} img/s", row["images_per_s"].get<double>());
  progress_.print(line);
  const double before = p.latest.is_null() ? 0 : p.latest["train"]["loss"].get<double>();
  if (const auto text = divergence_warning(config_, row["train"]["loss"], before, data_.train->classes());
      !text.empty())
    progress_.print("warning: " + text);
  run_.add_epoch(row);
  p.latest = std::move(row);
  p.epoch++;
  p.batch = 0;
  dispatch(totals_, [&]<class K>() { K::fill(totals_, 0); });
  optimizer_->risk().reset_summary();
  save();
  if (after_epoch_ && !finished()) after_epoch_(p.epoch);
  if (finished() && p.epoch < config_.train.epochs)
    progress_.print(
        fmt::format("no better {} for {} epochs: stopping early", config_.train.eval_metric, config_.train.patience));
  return true;
}

void Trainer::save() {
  share_statistics();
  if (!optimizer_->control().device().is_cpu()) state_.plans = processes_.all_gather(cudnn_plans());
  if (run_.writes())
    save_checkpoint(run_ / "last.safetensors", state_, to_toml(config_), data_.checksums, to_text(inputs_of(data_)));
}

void Trainer::write_page() {
  if (!run_.writes()) return;
  try {
    write_report({run_.path()}, run_ / "report.html");
  } catch (const Error& e) {
    progress_.print(fmt::format("warning: no report: {}", e.what()));
  }
}

}  // namespace fulcrum::apps
