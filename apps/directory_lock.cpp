#include "apps/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include <fulcrum/core/check.h>

#include "apps/make_directory.h"

namespace fulcrum::apps {

namespace fs = std::filesystem;

namespace {

// The process that holds the lock, by the number that it has written; it may not have written it yet.
std::string holder(int file) {
  std::array<char, 32> text{};
  const ssize_t n = pread(file, text.data(), text.size() - 1, 0);
  const std::string pid(text.data(), n > 0 ? static_cast<size_t>(n) : 0);
  return pid.empty() ? "another process" : "process " + pid;
}

}  // namespace

DirectoryLock::DirectoryLock(const fs::path& directory) {
  make_directory(directory, "run");
  const fs::path path = directory / ".lock";
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  check(file_ >= 0, "[run] cannot write ", path.string(), ": ", std::generic_category().message(errno));
  if (flock(file_, LOCK_EX | LOCK_NB) == 0) {
    const std::string pid = std::to_string(getpid());
    // If the number cannot be written, the lock still holds.
    [[maybe_unused]] const bool told = ftruncate(file_, 0) == 0 && pwrite(file_, pid.data(), pid.size(), 0) > 0;
    return;
  }
  if (errno != EWOULDBLOCK) return;
  const std::string other = holder(file_);
  close(std::exchange(file_, -1));
  fail("[run] ", directory.string(), " is in use by ", other, "; wait for it, stop it, or give another --output");
}

DirectoryLock::~DirectoryLock() {
  if (file_ >= 0) close(file_);
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

DirectoryLock& DirectoryLock::operator=(DirectoryLock&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}

}  // namespace fulcrum::apps
