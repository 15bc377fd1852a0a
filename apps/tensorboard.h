// TensorBoard event files: scalars that `tensorboard --logdir runs` draws.
//
//   EventWriter events(run_directory, /*first_step=*/0);
//   events.add(epoch, {{"test/top1", 0.71}, {"train/loss", 0.9}});
//
// Every writer makes a new file, events.out.tfevents.<seconds>.<process>.fulcrum; TensorBoard reads all files of a
// directory as one run. The first record of a resumed run tells TensorBoard to forget what earlier files have from
// `first_step` on. The format: records of length, masked CRC-32C, an Event message, masked CRC-32C
// (tensorflow/core/lib/io/record_writer.h, util/event.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace fulcrum::apps {

class EventWriter {
 public:
  EventWriter(const std::filesystem::path& directory, int64_t first_step);
  /// Writes the finite values and flushes, so that a running TensorBoard sees them.
  void add(int64_t step, const std::vector<std::pair<std::string, double>>& scalars);

 private:
  void write(const std::string& event);
  std::filesystem::path path_;
  std::ofstream file_;
};

/// CRC-32C (Castagnoli), as in RFC 3720.
uint32_t crc32c(std::string_view data);

}  // namespace fulcrum::apps
