// fulcrum data bench: images a second of the training loader, with nothing to train.
#include <sys/resource.h>

#include <cstdio>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/data_command.h"
#include "apps/exit_codes.h"
#include "apps/experiment.h"
#include "apps/json_text.h"
#include "apps/result.h"
#include "apps/seconds.h"

namespace fulcrum::apps {

namespace {

// Loads epoch after epoch for `seconds`. The time that the threads of an unfinished epoch take to end is not measured.
nlohmann::json measure(const Loader& loader, double seconds, int64_t& epoch) {
  const auto start = Clock::now();
  int64_t images = 0;
  double elapsed = 0;
  while (elapsed < seconds) {
    for (const Batch& batch : loader.epoch(epoch++)) {
      images += batch.size;
      elapsed = seconds_since(start);
      if (elapsed >= seconds) break;
    }
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {{"images_per_s", static_cast<double>(images) / elapsed},
          {"images", images},
          {"seconds", elapsed},
          {"peak_mb", static_cast<double>(usage.ru_maxrss) / 1024}};
}

}  // namespace

int bench_loader(const Config& config, const LoaderBenchFlags& flags) {
  use_threads(config);
  const ExperimentData data = load_data(config.data);
  const Loader loader = make_train_loader(config, data);
  int64_t epoch = 0;
  const auto report = [&](double seconds) {
    nlohmann::json row = measure(loader, seconds, epoch);
    row.update({{"data", config.data.name}, {"workers", config.data.workers}, {"batch_size", config.train.batch_size}});
    return row;
  };
  if (!flags.interleave) {
    print_result(report(flags.seconds));
    return kExitDone;
  }
  std::string word;
  double seconds = 0;
  while (std::cin >> word >> seconds && word == "run")
    fmt::print("{}\n", json_text(report(seconds))), std::fflush(stdout);
  return kExitDone;
}

}  // namespace fulcrum::apps
