// metrics.jsonl and data.json of a run directory, as the report reads them.
#include "apps/report/data.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  const auto& file = fuzz::as_file({data, size});
  static const fuzz::MemoryFile config;  // without it nothing else is read
  static const fuzz::Folder metrics({{"config.toml", config.path()}, {"metrics.jsonl", file}}),
      both({{"config.toml", config.path()}, {"metrics.jsonl", file}, {"data.json", file}});
  fuzz::refuses_or_reads([&] { apps::read_run(metrics.path()); });
  return fuzz::refuses_or_reads([&] { apps::read_run(both.path()); });
}
