// File names and metadata of packs, shared by the writer and the reader. Internal to data/.
//
//   pack_shard_path("packs/train.pack", 2, 10);    // "packs/train-00002-of-00010.pack"
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <fulcrum/core/check.h>

namespace fulcrum {

inline constexpr const char* kPackFormat = "fulcrum-pack";

/// Metadata keys of a shard: its number, as in "2 of 10" counted from 0, and the set to which it belongs, a hash of
/// all labels and pixels.
inline constexpr const char *kPackShard = "shard", *kPackSet = "set";

inline std::string pack_shard_text(int64_t shard, int64_t shards) { return concat_text(shard, " of ", shards); }

inline std::filesystem::path pack_shard_path(const std::filesystem::path& path, int64_t shard, int64_t shards) {
  char name[64];
  std::snprintf(name, sizeof name, "-%05lld-of-%05lld", static_cast<long long>(shard), static_cast<long long>(shards));
  return path.parent_path() / (path.stem().string() + name + path.extension().string());
}

struct PackShardName {
  int64_t shard = 0, shards = 0;
};

/// Parses the name of a shard of the pack `path`; nullopt if `file` is not one.
inline std::optional<PackShardName> parse_shard_name(const std::filesystem::path& path, const std::string& file) {
  const std::string front = path.stem().string() + "-", back = path.extension().string();
  if (!file.starts_with(front) || !file.ends_with(back) || file.size() <= front.size() + back.size())
    return std::nullopt;
  PackShardName name;
  const char *at = file.data() + front.size(), *end = file.data() + file.size() - back.size();
  const auto first = std::from_chars(at, end, name.shard);
  constexpr std::string_view kOf = "-of-";
  if (first.ec != std::errc() || std::string_view(first.ptr, end).substr(0, kOf.size()) != kOf) return std::nullopt;
  const auto last = std::from_chars(first.ptr + kOf.size(), end, name.shards);
  const bool whole = last.ec == std::errc() && last.ptr == end && name.shard >= 0 && name.shards > 0;
  return whole && file == pack_shard_path(path, name.shard, name.shards).filename() ? std::optional(name)
                                                                                    : std::nullopt;
}

/// The files in the folder of `path` that are named like its shards, sorted by name.
std::vector<std::filesystem::path> pack_shards_beside(const std::filesystem::path& path);

}  // namespace fulcrum
