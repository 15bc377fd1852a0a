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

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <fulcrum/core/check.h>

namespace fulcrum::fuzz {

/// A file in memory with these bytes, the same one in every call, and a path to it.
inline std::filesystem::path as_file(std::span<const uint8_t> bytes) {
  static const int file = memfd_create("input", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(file);
  const bool written = file >= 0 && ftruncate(file, 0) == 0 &&
                       pwrite(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
  if (!written) __builtin_trap();
  return path;
}

/// A folder in which these names are links to the file of as_file; removed at the end of the program.
class Folder {
 public:
  explicit Folder(const std::vector<std::string>& names) {
    std::string pattern = std::filesystem::temp_directory_path() / "fulcrum-fuzz-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) __builtin_trap();
    path_ = pattern;
    for (const std::string& name : names) std::filesystem::create_symlink(as_file({}), path_ / name);
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

inline std::string as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Calls f, which may throw an Error; returns what libFuzzer wants.
template <class F>
int refuses_or_reads(F f) {
  try {
    f();
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace fulcrum::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
