#include "apps/tensorboard.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cmath>

#include <fulcrum/core/check.h>
#include <fulcrum/layers/proto_message.h>

namespace fulcrum::apps {

namespace {

template <class T>
void put_little_endian(std::string& to, T value) {
  for (size_t i = 0; i < sizeof value; i++) to += static_cast<char>(value >> (8 * i) & 255);
}

// Event: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
ProtoMessage event(int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  ProtoMessage e;
  e.real64(1, std::chrono::duration<double>(now).count()).integer(2, step);
  return e;
}

uint32_t masked_crc(std::string_view data) { return std::rotr(crc32c(data), 15) + 0xa282ead8u; }

std::filesystem::path new_file(const std::filesystem::path& directory) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  const std::string stem = concat_text("events.out.tfevents.", seconds, ".", getpid(), ".fulcrum");
  std::filesystem::path path = directory / stem;
  for (int i = 1; std::filesystem::exists(path); i++) path = directory / (stem + "." + std::to_string(i));
  return path;
}

}  // namespace

uint32_t crc32c(std::string_view data) {
  static const std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ (c & 1 ? 0x82f63b78u : 0);
      t[i] = c;
    }
    return t;
  }();
  uint32_t crc = ~0u;
  for (const char byte : data) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(byte)) & 255];
  return ~crc;
}

EventWriter::EventWriter(const std::filesystem::path& directory, int64_t first_step)
    : path_(new_file(directory)), file_(path_, std::ios::binary) {
  write(event(0).bytes(3, "brain.Event:2").text());
  if (first_step == 0) return;
  constexpr int64_t kStart = 1;
  write(event(first_step).bytes(7, ProtoMessage().integer(1, kStart).text()).text());
}

void EventWriter::write(const std::string& data) {
  std::string length;
  put_little_endian(length, uint64_t{data.size()});
  std::string record = length;
  put_little_endian(record, masked_crc(length));
  record += data;
  put_little_endian(record, masked_crc(data));
  file_.write(record.data(), static_cast<std::streamsize>(record.size()));
  file_.flush();
  check(file_.good(), "[tensorboard] cannot write ", path_.string());
}

void EventWriter::add(int64_t step, const std::vector<std::pair<std::string, double>>& scalars) {
  ProtoMessage summary;
  for (const auto& [tag, value] : scalars) {
    if (!std::isfinite(value)) continue;
    summary.bytes(1, ProtoMessage().bytes(1, tag).real(2, static_cast<float>(value)).text());
  }
  write(event(step).bytes(5, summary.text()).text());
}

}  // namespace fulcrum::apps
