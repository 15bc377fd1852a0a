// One process at a time in a directory: two that train in one would mix their files.
//
//   DirectoryLock lock("runs/first");        // an Error that names the other process where there is one
//
// The lock is the kernel's (flock on DIRECTORY/.lock) and ends with the process, however that ends: a file
// that is left behind locks nothing. On a file system without locks nothing is locked.
#pragma once

#include <filesystem>

namespace fulcrum::apps {

class DirectoryLock {
 public:
  DirectoryLock() = default;  // of nothing
  /// Makes the directory if it isn't there.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;

 private:
  int file_ = -1;
};

}  // namespace fulcrum::apps
