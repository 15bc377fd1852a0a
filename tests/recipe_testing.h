// A built-in recipe as the program takes it.
#pragma once

#include <string>

#include "apps/config.h"

namespace fulcrum::testing {

inline apps::Config recipe(const std::string& name) {
  apps::Config config;
  load_toml(config, apps::recipe_text(name), "recipe " + name);
  finish(config);
  return config;
}

}  // namespace fulcrum::testing
