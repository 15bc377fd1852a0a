#include "apps/tensorboard.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <chrono>
#include <cmath>

#include <fulcrum/core/check.h>

namespace fulcrum::apps {

namespace {

// ---- protocol buffers: a field is a key (number · 8 + wire type) and a value ----

void put_varint(std::string& to, uint64_t value) {
  for (; value >= 128; value >>= 7) to += static_cast<char>(value | 128);
  to += static_cast<char>(value);
}

template <class T>
void put_little_endian(std::string& to, T value) {
  for (size_t i = 0; i < sizeof value; i++) to += static_cast<char>(value >> (8 * i) & 255);
}

void put_double(std::string& to, uint64_t field, double value) {
  put_varint(to, field * 8 + 1);
  put_little_endian(to, std::bit_cast<uint64_t>(value));
}

void put_float(std::string& to, uint64_t field, float value) {
  put_varint(to, field * 8 + 5);
  put_little_endian(to, std::bit_cast<uint32_t>(value));
}

void put_integer(std::string& to, uint64_t field, int64_t value) {
  put_varint(to, field * 8);
  put_varint(to, static_cast<uint64_t>(value));
}

void put_bytes(std::string& to, uint64_t field, std::string_view bytes) {
  put_varint(to, field * 8 + 2);
  put_varint(to, bytes.size());
  to += bytes;
}

// Event: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
std::string event(int64_t step) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string e;
  put_double(e, 1, std::chrono::duration<double>(now).count());
  put_integer(e, 2, step);
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
  std::string version = event(0);
  put_bytes(version, 3, "brain.Event:2");
  write(version);
  if (first_step == 0) return;
  constexpr int64_t kStart = 1;
  std::string log;
  put_integer(log, 1, kStart);
  std::string start = event(first_step);
  put_bytes(start, 7, log);
  write(start);
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
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    if (!std::isfinite(value)) continue;
    std::string entry;
    put_bytes(entry, 1, tag);
    put_float(entry, 2, static_cast<float>(value));
    put_bytes(summary, 1, entry);
  }
  std::string e = event(step);
  put_bytes(e, 5, summary);
  write(e);
}

}  // namespace fulcrum::apps
