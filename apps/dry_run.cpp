#include "apps/dry_run.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include <fulcrum/core/memory.h>

#include "apps/experiment.h"
#include "apps/losses.h"
#include "apps/memory_estimate.h"
#include "apps/model_summary.h"
#include "apps/pretrained.h"
#include "apps/progress.h"
#include "apps/say.h"
#include "apps/seconds.h"
#include "apps/warnings.h"

namespace fulcrum::apps {

namespace {

void show_data(const ExperimentData& d) {
  const auto& counts = d.class_counts;
  fmt::print("# data: {} training images, {} held out, {} test images of {}\n", d.train_indices.size(),
             d.val_indices.size(), d.test->size(), concat_text(d.train->image_shape()));
  if (d.val) fmt::print("# val: {} images\n", d.val->size());
  for (const DataSplit& split : d.splits) fmt::print("# {}: {} images\n", split.name, split.data->size());
  fmt::print("# classes: {}\n", counts.size());
  constexpr size_t kShown = 20;
  for (size_t c = 0; c < std::min(kShown, counts.size()); c++)
    fmt::print("#   {:>8}  {}\n", counts[c], d.train->class_names()[c]);
  if (counts.size() > kShown) fmt::print("#   … and {} more\n", counts.size() - kShown);
}

int64_t evaluations(const Config& config) {
  return (config.train.epochs + config.train.eval_every - 1) / config.train.eval_every;
}

}  // namespace

// Reports the time of the third step: the first two make plans and fill the pool.
RunCost measure_cost(const Config& config, const ExperimentData& data) {
  const Device device(config.train.device);
  const Loader loader = make_train_loader(config, data);
  const size_t before = memory_stats(device).allocated;
  const auto model = make_model(config, *data.train);
  model->to(device, activation_dtype(config));
  const auto optimizer = make_optimizer(config, *model, data.class_counts);
  LossFunction loss(config.loss, data.class_counts, data.train->size(), device);
  loss.begin_epoch(0);
  RunCost cost{};
  reset_peak_memory(device);
  int step = 0;
  auto start = Clock::now();
  for (const Batch& batch : loader.epoch(0)) {
    if (step == 3) break;
    start = Clock::now();
    const Tensor losses = loss((*model)(batch.images), batch);
    optimizer->zero_grad();
    optimizer->weigh(losses, {batch.indices, batch.groups}).backward();
    optimizer->step();
    if (!device.is_cpu()) cuda::synchronize(cuda::compute_stream());
    cost.step_seconds = seconds_since(start);
    step++;
  }
  cost.peak_bytes = memory_stats(device).peak - before;
  // A forward pass in evaluation is about a third of a step.
  cost.eval_seconds_an_image = cost.step_seconds / 3 / static_cast<double>(config.train.batch_size);
  return cost;
}

int64_t evaluated_images(const Config& config, const ExperimentData& data) {
  const int64_t limit = config.train.limit_batches * eval_batch(*data.test);
  const auto of = [&](int64_t all) { return limit > 0 ? std::min(limit, all) : all; };
  int64_t images = of(data.test->size()) + of(data.val ? data.val->size() : std::ssize(data.val_indices));
  for (const DataSplit& split : data.splits) images += of(split.data->size());
  return images;
}

double estimated_seconds(const Config& config, const ExperimentData& data, const RunCost& cost) {
  return static_cast<double>(config.train.epochs * steps_of_epoch(config, std::ssize(data.train_indices))) *
             cost.step_seconds +
         static_cast<double>(evaluations(config) * evaluated_images(config, data)) * cost.eval_seconds_an_image;
}

int dry_run(const Config& config) {
  const ExperimentData data = load_data(config.data);
  const std::unique_ptr<Module> model = make_model(config, *data.train);
  std::string pretrained;
  if (!config.model.pretrained.empty())
    pretrained = load_pretrained(*model, config.model.pretrained, config.model.reset_head, data.train->class_names());
  const Shape& image = data.train->image_shape();
  int64_t multiply_adds = 0;
  for (const LayerRow& row : layer_table(*model, {1, image[0], image[1], image[2]})) multiply_adds += row.multiply_adds;
  const RunCost cost = measure_cost(config, data);
  for (const std::string& leak : data.leaks) say("warning: {}\n", leak);
  for (const std::string& warning : warnings_of(config, data.class_counts)) say("warning: {}\n", warning);
  fmt::print("{}\n", to_toml(config));
  show_data(data);
  if (!pretrained.empty()) fmt::print("# {}\n", pretrained);
  fmt::print("# model: {} parameters, {:.1f} million multiply-adds per image in the forward pass\n",
             model->num_parameters(), static_cast<double>(multiply_adds) / 1e6);
  fmt::print("# memory, from shapes: {}\n", text_of(estimate_memory(config, *model, image, config.train.batch_size)));
  fmt::print("# a step, measured: {:.2f} GFLOP, {:.0f} ms; peak memory {:.0f} MiB without the data\n",
             6e-9 * static_cast<double>(multiply_adds * config.train.batch_size), 1e3 * cost.step_seconds,
             static_cast<double>(cost.peak_bytes) / 1048576);
  fmt::print("# the run: {} epochs of {} steps, about {} with {} evaluations\n", config.train.epochs,
             steps_of_epoch(config, std::ssize(data.train_indices)),
             duration_text(estimated_seconds(config, data, cost)), evaluations(config));
  return 0;
}

}  // namespace fulcrum::apps
