// What the tests of reproduce and sweep share: their command lines on the tiny data, and a wait for
// files.
#pragma once

#include "program_testing.h"

namespace fulcrum::testing {

/// `reproduce` or `sweep` of small runs on the data in dir/data, to dir/output; `words` come first.
inline Flags grid_flags(const TempDir& dir, const std::string& output, const Flags& words, const Flags& more = {}) {
  Flags flags = words;
  const Flags all = {"--data-dir",
                     dir / "data",
                     "-o",
                     dir / output,
                     "--threads",
                     "1",
                     "--set",
                     "train.batch_size=32",
                     "--set",
                     "train.limit_batches=4",
                     "--log-interval",
                     "1"};
  flags.insert(flags.end(), all.begin(), all.end());
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

/// Waits until the file is there and the program still runs.
inline bool wait_for_file(Program& program, const std::filesystem::path& file) {
  for (int i = 0; i < 60'000; i++) {
    if (std::filesystem::exists(file)) return true;
    if (program.over()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace fulcrum::testing
