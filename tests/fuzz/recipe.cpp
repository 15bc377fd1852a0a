// Recipes in TOML; what is read can be written and read again.
#include "apps/config.h"

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  return fuzz::refuses_or_reads([&] {
    apps::Config config;
    apps::load_toml(config, fuzz::as_text({data, size}), "input");
    apps::Config again;
    apps::load_toml(again, apps::to_toml(config), "its own text");
    if (apps::to_toml(again) != apps::to_toml(config)) __builtin_trap();
  });
}
