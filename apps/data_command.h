// The subcommands of `fulcrum data`, one function each; all return the exit code.
//
//   data pack OUT      the data set as OUT/train.pack and OUT/test.pack
//   data check         everything that is wrong with it, on stderr, and its class counts
//   data stats         class counts, means and deviations of the channels
//   data bench         images a second of the loader alone
#pragma once

#include <filesystem>
#include <span>

#include <nlohmann/json_fwd.hpp>

#include "apps/config.h"

namespace fulcrum::apps {

/// Writes `shard_mb` megabytes of images to each file; 0: all to one file.
int pack_data(const Config& config, const std::filesystem::path& out, int64_t shard_mb);
int check_data_set(const Config& config);
int data_stats(const Config& config);

struct LoaderBenchFlags {
  double seconds = 5;
  bool interleave = false;
};
int bench_loader(const Config& config, const LoaderBenchFlags& flags);

/// Images, classes, counts, the smallest class over the largest, and how many classes are many,
/// medium and few (more than 100, 20 to 100, fewer than 20 images).
nlohmann::json count_summary(std::span<const int64_t> counts);

}  // namespace fulcrum::apps
