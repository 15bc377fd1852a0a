// fulcrum train --dry-run: the settings, the data, and what the run will cost.
#pragma once

#include "apps/config.h"

namespace fulcrum::apps {

/// Prints the complete configuration as TOML to stdout, with data, model, memory and time as
/// comments, so that the output is a recipe. Three training steps are done and thrown away to
/// measure; no file is written. Returns the exit code.
int dry_run(const Config& config);

}  // namespace fulcrum::apps
