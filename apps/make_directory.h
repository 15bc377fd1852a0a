// Makes a directory, with all those above it.
//
//   make_directory(config.train.output, "run");   // or throws Error "[run] cannot make the directory …: reason"
#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include <fulcrum/core/check.h>

namespace fulcrum::apps {

inline void make_directory(const std::filesystem::path& path, const std::string& op) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  check(!error, "[", op, "] cannot make the directory ", path.string(), ": ", error.message());
}

}  // namespace fulcrum::apps
