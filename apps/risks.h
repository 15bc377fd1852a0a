// The risk of a run: what [risk] of the settings describes.
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

/// Spells out `tilted`; refuses names that do not exist, parameters out of range, and settings that
/// do not go together.
void finish_risk(Config& config);

/// Refuses a risk beside an optimiser that has its own: absgd is sgd with kl.
[[noreturn]] void refuse_risk_beside(const std::string& optimizer, const std::string& risk);

/// Refuses a γ beside tilted, which has its own. finish_risk takes the default for one that was not asked for.
void check_gamma_of_tilted(double gamma);

/// That the key has no effect with this risk, and for the mean, which is plain SGD, what would give it one; empty for a key
/// that has.
std::string no_effect(const std::string& key, const std::string& risk);

/// What is allowed and most likely a mistake, in words: a λ whose sign contradicts the data.
std::vector<std::string> risk_warnings(const Config& config);

/// Whether the risk lowers the weight of samples with a large loss: the sign for wrong labels.
bool hears_small_losses(const RiskSettings& risk);

/// The groups of `group` are the classes; `class_counts` are those of what is trained on.
std::unique_ptr<Risk> make_risk(const Config& config, const std::vector<int64_t>& class_counts);

/// λ or the risk itself from risk.from_epoch on, annealed γ, and for the mean the class weights
/// that the losses carry.
void begin_risk_epoch(Risk& risk, const Config& config, int64_t epoch, const Tensor& class_weight);

/// What the risk's state says after an epoch.
nlohmann::json risk_readings(Risk& risk);

}  // namespace fulcrum::apps
