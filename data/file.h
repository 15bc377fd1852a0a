// InputFile: reads a binary data file, gzipped or plain, and says exactly where it stops making
// sense.
//
//   InputFile file("train-labels-idx1-ubyte.gz", "idx");
//   uint8_t header[8];
//   file.read_exactly(header, sizeof header, "the header");   // or an Error naming file and byte
//   file.expect_end();
//
// Every Error starts with "[op] path:". Offsets are in the decompressed stream, in bytes.
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
  /// Opens the file. An Error where it is missing, not a regular file, not readable, or gzipped in
  /// a build without zlib.
  InputFile(const std::filesystem::path& path, std::string op);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// Reads up to `bytes`; returns how many there were. An Error for corrupt gzip data.
  size_t read(void* out, size_t bytes);
  /// Reads all of `bytes`, or throws an Error that says that the file ends inside `what`.
  void read_exactly(void* out, size_t bytes, const std::string& what);
  /// An Error unless everything has been read.
  void expect_end();

  /// No file of this size on disk holds more: its size, or what deflate can make of it at most. To
  /// be asked before memory is allocated for a size that a header claims.
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

/// An Error unless there is such a file.
void check_regular(const std::filesystem::path& path, const std::string& op);

/// Longer lines are refused: a file without line ends must not be taken into memory as one line.
inline constexpr size_t kMaxLineBytes = size_t{1} << 16;

/// Calls line(text, number) for each line of a text file, without line ends (\n or \r\n), counted from
/// 1. An Error where the file cannot be read or a line is longer than kMaxLineBytes.
void for_each_line(const std::filesystem::path& path, const std::string& op,
                   const std::function<void(std::string_view text, int64_t number)>& line);
/// All lines.
std::vector<std::string> read_lines(const std::filesystem::path& path, const std::string& op);

}  // namespace fulcrum
