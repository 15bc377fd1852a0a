// --smoke: a run in which everything happens once and nothing takes long.
//
//   shorten_for_smoke(config);
#pragma once

#include "apps/config.h"

namespace fulcrum::apps {

/// Shortens the run to two batches an epoch, in training and evaluation, and one epoch for each of its phases, in their
/// order: phases begin with the end of the warm-up, a new learning rate, class weights, the risk, pruning. A step
/// schedule keeps its first three steps. A run without phases has two epochs.
void shorten_for_smoke(Config& config);

}  // namespace fulcrum::apps
