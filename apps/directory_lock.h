// DirectoryLock: keeps a directory to one process at a time. Two runs in one directory would mix their files.
//
//   DirectoryLock lock("runs/first");        // an Error that names the other process where there is one
//
// The kernel holds the lock (flock on DIRECTORY/.lock) and releases it however the process ends: a left-over file locks
// nothing. On a file system without locks nothing is locked.
#pragma once

#include <filesystem>

namespace fulcrum::apps {

class DirectoryLock {
 public:
  DirectoryLock() = default;  // locks nothing
  /// Creates the directory if needed.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(DirectoryLock&& other) noexcept;

 private:
  int file_ = -1;
};

}  // namespace fulcrum::apps
