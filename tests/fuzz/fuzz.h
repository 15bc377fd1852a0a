// What the fuzz targets share. A target is one file with one function:
//
//   extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
//     return refuses_or_reads([&] { load_tensors(as_file({data, size})); });
//   }
//
// An input may be refused with an Error, or read. Everything else is a finding: another exception, a
// sanitizer's report, a second without an answer, more memory than fits.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include <fulcrum/core/check.h>

namespace fulcrum::fuzz {

/// A file in memory, with a path to it.
class MemoryFile {
 public:
  MemoryFile() : file_(memfd_create("input", MFD_CLOEXEC)), path_("/proc/self/fd/" + std::to_string(file_)) {}
  /// In place of what it held.
  void write(std::span<const uint8_t> bytes) const {
    const bool written = file_ >= 0 && ftruncate(file_, 0) == 0 &&
                         pwrite(file_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
    if (!written) __builtin_trap();
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  int file_;
  std::filesystem::path path_;
};

/// A file with these bytes, the same one in every call.
inline const std::filesystem::path& as_file(std::span<const uint8_t> bytes) {
  static const MemoryFile file;
  file.write(bytes);
  return file.path();
}

/// The bytes up to each form feed go to one of the files, in this order; what has no bytes left becomes empty.
inline void write_parts(std::span<const uint8_t> bytes, std::initializer_list<const MemoryFile*> files) {
  for (const MemoryFile* file : files) {
    const auto length = static_cast<size_t>(std::ranges::find(bytes, '\f') - bytes.begin());
    file->write(bytes.first(length));
    bytes = bytes.subspan(std::min(length + 1, bytes.size()));
  }
}

/// A folder of links to files in memory; removed at the end of the program.
class Folder {
 public:
  struct Link {
    std::string name;
    std::filesystem::path target;
  };
  explicit Folder(const std::vector<Link>& links) {
    std::string pattern = std::filesystem::temp_directory_path() / "fulcrum-fuzz-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) __builtin_trap();
    path_ = pattern;
    for (const Link& link : links) std::filesystem::create_symlink(link.target, path_ / link.name);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A listing takes no path that leaves its root.
inline void expect_below(const std::filesystem::path& root, const std::vector<std::string>& paths) {
  const std::string start = root.lexically_normal().string();
  for (const std::string& path : paths)
    if (!(root / path).lexically_normal().string().starts_with(start)) __builtin_trap();
}

inline std::string as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Calls of refuses_or_reads that came to their end: what replay.cpp asks of the good files.
inline int reads = 0;

/// Calls f, which may throw an Error; returns what libFuzzer wants.
template <class F>
int refuses_or_reads(F f) {
  try {
    f();
    reads++;
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace fulcrum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
