// The parameter groups of a run: which parameters share a learning rate and a weight decay.
//
//   Sgd optimizer(parameter_groups(*model, config.optim), …);
#pragma once

#include <vector>

#include <fulcrum/layers/module.h>
#include <fulcrum/optim/optimizer.h>

#include "apps/config.h"

namespace fulcrum::apps {

/// Throws UsageError for an entry of optim.weight_decay_of or optim.lr_of that is not PATTERN=VALUE with VALUE at least
/// 0.
void check_parameter_patterns(const OptimSettings& settings);

/// The parameters that are not frozen, one group for each pair of learning rate and weight decay. Throws UsageError if
/// a pattern of optim.weight_decay_of or optim.lr_of matches no parameter's name. In a pattern * stands for any
/// characters; if several patterns match, the last wins.
std::vector<ParamGroup> parameter_groups(const Module& model, const OptimSettings& settings);

}  // namespace fulcrum::apps
