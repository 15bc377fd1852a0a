// The parameters of a run: which are trained together, with which learning rate and weight decay.
//
//   Sgd optimizer(parameter_groups(*model, config.optim), …);
#pragma once

#include <vector>

#include <fulcrum/layers/module.h>
#include <fulcrum/optim/optimizer.h>

#include "apps/config.h"

namespace fulcrum::apps {

/// Refuses an entry of optim.weight_decay_of or optim.lr_of that is not PATTERN=VALUE with a value of at least 0.
void check_parameter_patterns(const OptimSettings& settings);

/// What is trained, one group for each pair of learning rate and weight decay. A UsageError for a pattern of
/// optim.weight_decay_of or optim.lr_of that no parameter's name matches. In a pattern a * stands for any
/// characters; of two that match, the later one wins.
std::vector<ParamGroup> parameter_groups(const Module& model, const OptimSettings& settings);

}  // namespace fulcrum::apps
