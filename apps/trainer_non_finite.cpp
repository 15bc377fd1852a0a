// A run that meets a number that is not finite: saves its last good weights and says where the number came from.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fulcrum/core/autograd.h>

#include "apps/trainer.h"

namespace fulcrum::apps {

namespace {

constexpr int64_t kMostNamed = 8;  // samples

bool all_finite(const Tensor& t) {
  for (double v : t.to_vector())
    if (!std::isfinite(v)) return false;
  return true;
}

// "samples 3, 17 of 32", or "samples 3, 17, … and 24 more of 32".
std::string named(const std::vector<int64_t>& samples, int64_t batch) {
  const auto shown = std::min(std::ssize(samples), kMostNamed), more = std::ssize(samples) - shown;
  return fmt::format("{} {}{} of {}", samples.size() == 1 ? "sample" : "samples",
                     fmt::join(samples.begin(), samples.begin() + shown, ", "),
                     more > 0 ? fmt::format(" and {} more", more) : "", batch);
}

}  // namespace

bool Trainer::stopped_by_non_finite() {
  if (optimizer_->finite()) return false;
  // The update was not made: these are the last good weights, and a resumed run tries its batches again.
  optimizer_->clear_non_finite();
  RunProgress& p = state_.progress;
  p.batch -= p.batch % config_.train.accumulate;
  p.non_finite = true;
  save();
  const int64_t batches = group_size(p.batch);
  NonFinite found;
  BatchRange again = train_loader_.epoch(p.epoch, p.batch);
  auto batch = again.begin();
  for (int64_t i = 0; i < batches && found.layer.empty(); i++) {
    if (i > 0) ++batch;
    found = find_non_finite(*batch);
  }
  non_finite_ =
      fmt::format("non-finite {} at epoch {} step {}{}; the last good weights are in {}",
                  found.layer.empty() ? "gradient (all outputs and the loss are finite)"
                                      : "loss; first layer with a non-finite output: " + found.layer,
                  p.epoch + 1, p.batch + 1, found.samples.empty() ? "" : "; " + named(found.samples, batch->total),
                  (run_ / "last.safetensors").string());
  return true;
}

Trainer::NonFinite Trainer::find_non_finite(const Batch& batch) {
  const NoGrad no_grad;
  announce_part(batch);
  std::string layer, samples;
  Tensor logits;
  {
    const ForwardObserver observer([&](const std::string& name, const Tensor& y) {
      if (layer.empty() && !all_finite(y)) layer = name.empty() ? "the network" : name;
    });
    logits = (*model_)(batch.images);
  }
  const auto losses = loss_(logits, batch).to_vector(), indices = batch.indices.to_vector();
  for (size_t i = 0; i < losses.size(); i++)
    if (!std::isfinite(losses[i])) samples += fmt::format("{} ", static_cast<int64_t>(indices[i]));
  if (layer.empty() && !samples.empty()) layer = "the loss";
  // Collect the findings of all processes.
  NonFinite all;
  for (const std::string& found : processes_.all_gather(layer))
    if (all.layer.empty()) all.layer = found;
  for (const std::string& found : processes_.all_gather(samples)) {
    std::istringstream numbers(found);
    all.samples.insert(all.samples.end(), std::istream_iterator<int64_t>(numbers), {});
  }
  std::ranges::sort(all.samples);
  all.samples.erase(std::ranges::unique(all.samples).begin(), all.samples.end());
  return all;
}

}  // namespace fulcrum::apps
