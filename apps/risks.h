// The risk of a run: what the [risk] settings describe.
//
//   optimizer.set_risk(make_risk(config, data.class_counts));
//   begin_risk_epoch(optimizer.risk(), config, epoch, loss.class_weight());
//   row.update(risk_readings(optimizer.risk()));          // lambda, log u, … for metrics.jsonl
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <fulcrum/optim/risks.h>

#include "apps/config.h"

namespace fulcrum::apps {

/// Expands `tilted`. Throws UsageError for names that do not exist, parameters out of range, and settings that do not
/// go together.
void finish_risk(Config& config);

/// Throws UsageError: an optimiser that has a risk of its own (absgd is sgd with kl) cannot have another.
[[noreturn]] void refuse_risk_beside(const std::string& optimizer, const std::string& risk);

/// Throws UsageError if γ is not 1, the γ of tilted. finish_risk does not check the default γ, which it takes for one
/// that was not given.
void check_gamma_of_tilted(double gamma);

/// Warnings about what is allowed but most likely a mistake: a λ whose sign contradicts the data.
std::vector<std::string> risk_warnings(const Config& config);

/// Whether the risk lowers the weight of samples with a large loss: the right sign for wrong labels.
bool hears_small_losses(const RiskSettings& risk);

/// Builds the risk. The groups of `group` are the classes; `class_counts` counts the training samples.
std::unique_ptr<Risk> make_risk(const Config& config, const std::vector<int64_t>& class_counts);

/// Sets what depends on the epoch: λ or the risk itself (from risk.from_epoch on), an annealed γ and, for the mean, the
/// class weights that the losses carry.
void begin_risk_epoch(Risk& risk, const Config& config, int64_t epoch, const Tensor& class_weight);

/// The state of the risk after an epoch, for metrics.jsonl.
nlohmann::json risk_readings(Risk& risk);

}  // namespace fulcrum::apps
