// InputFile: reads a binary data file, gzipped or plain, with errors that say at which byte the file is wrong.
//
//   InputFile file("train-labels-idx1-ubyte.gz", "idx");
//   uint8_t header[8];
//   file.read_exactly(header, sizeof header, "the header");   // or throws Error with file and byte
//   file.expect_end();
//
// Every Error starts with "[op] path:". Offsets are bytes in the decompressed stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fulcrum {

class InputFile {
 public:
  /// Opens the file. Throws Error if it is missing, not a regular file, not readable, or gzipped in
  /// a build without zlib.
  InputFile(const std::filesystem::path& path, std::string op);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Reads up to `bytes` bytes; returns how many it read. Throws Error for corrupt gzip data.
  size_t read(void* out, size_t bytes);
  /// Reads exactly `bytes` bytes. Throws Error, naming `what`, if the file ends before.
  void read_exactly(void* out, size_t bytes, const std::string& what);
  /// Throws Error unless everything has been read.
  void expect_end();

  /// An upper bound for the size of the contents: the file's size, or the most that deflate can make of it.
  /// Check it before allocating memory for a size from a header.
  uint64_t most_bytes() const { return most_bytes_; }
  uint64_t offset() const { return offset_; }
  /// Throws an Error that names the file.
  [[noreturn]] void refuse(const std::string& reason) const;

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
  std::string op_, name_;
  uint64_t offset_ = 0, most_bytes_ = 0;
};

/// Throws Error unless `path` is a regular file.
void check_regular(const std::filesystem::path& path, const std::string& op);

/// Longer lines are refused, so that a file without line ends is not read into memory as one line.
inline constexpr size_t kMaxLineBytes = size_t{1} << 16;

/// Calls line(text, number) for each line of a text file, without its line end (\n or \r\n); numbers start at
/// 1. Throws Error if the file cannot be read, a line is longer than kMaxLineBytes or contains a zero byte.
void for_each_line(const std::filesystem::path& path, const std::string& op,
                   const std::function<void(std::string_view text, int64_t number)>& line);
/// Returns all lines, read as by for_each_line.
std::vector<std::string> read_lines(const std::filesystem::path& path, const std::string& op);

}  // namespace fulcrum
