// fulcrum data check
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fulcrum/data/parallel.h>

#include "apps/data_command.h"
#include "apps/data_sets.h"
#include "apps/exit_codes.h"
#include "apps/image_sets.h"
#include "apps/result.h"
#include "apps/say.h"

namespace fulcrum::apps {

namespace {

using Problems = std::vector<std::string>;

void check_classes(const std::vector<int64_t>& counts, const std::vector<std::string>& names, Problems& problems) {
  for (size_t k = 0; k < counts.size(); k++)
    if (counts[k] == 0)
      problems.push_back(fmt::format("train: expected images of class {} ('{}'), got none", k, names[k]));
}

int64_t missing_files(const ImageListing& listing) {
  std::atomic<int64_t> missing = 0;
  parallel_for(std::ssize(listing.paths), /*threads=*/0, [&](int64_t i) {
    std::error_code ignored;
    if (!std::filesystem::exists(listing.root / listing.paths[static_cast<size_t>(i)], ignored)) missing++;
  });
  return missing;
}

// Without data.image_size all images must be of one size: reports how many are not.
void check_sizes(const ImageListing& listing, const ImageOptions& options, const std::vector<BadImage>& bad,
                 Problems& problems) {
  const DecodeOptions decode = {.exif_orientation = options.exif_orientation};
  std::set<int64_t> undecodable;
  for (const BadImage& b : bad) undecodable.insert(b.index);
  std::vector<ImageSize> sizes(listing.paths.size());
  parallel_for(std::ssize(listing.paths), /*threads=*/0, [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    if (!undecodable.contains(i)) sizes[at] = image_size(listing.root / listing.paths[at], decode);
  });
  const auto known = [](const ImageSize& s) { return s.height > 0; };
  const auto first = std::ranges::find_if(sizes, known);
  if (first == sizes.end()) return;
  const auto differs = [&](const ImageSize& s) { return known(s) && s != *first; };
  const auto other = std::ranges::find_if(sizes, differs);
  if (other == sizes.end()) return;
  problems.push_back(
      fmt::format("[images] {}: expected {}x{} (height x width) as the first image has, got {}x{}; {} images "
                  "differ; "
                  "data.image_size brings them to one size",
                  (listing.root / listing.paths[static_cast<size_t>(other - sizes.begin())]).string(), first->height,
                  first->width, other->height, other->width, std::ranges::count_if(sizes, differs)));
}

nlohmann::json check_files(const ImageListing& listing, const DataSettings& s, Problems& problems) {
  problems.insert(problems.end(), listing.problems.begin(), listing.problems.end());
  const auto bad = find_bad_images(listing, image_options(s));
  for (const BadImage& b : bad) problems.push_back(b.reason);
  if (s.image_size == 0) check_sizes(listing, image_options(s), bad, problems);
  nlohmann::json summary = listing.class_names.empty()
                               ? nlohmann::json::object()
                               : count_summary(class_counts(listing.labels, std::ssize(listing.class_names)));
  summary["bad_images"] = bad.size();
  summary["missing_files"] = missing_files(listing);
  return summary;
}

// Reports images of another part that are training images, too, as lists may name them.
void check_overlap(const ImageListing& train, const ImagePart& part, Problems& problems) {
  for (const std::string& path : shared_paths(train, part.listing))
    problems.push_back(fmt::format("{}: '{}' is a training image, too", part.name, path));
}

nlohmann::json check_image_files(const DataSettings& s, Problems& problems) {
  const ImageParts parts = list_images(s);
  nlohmann::json result;
  for (const ImagePart& part : parts) result[part.name] = check_files(part.listing, s, problems);
  const ImageListing& train = parts[0].listing;
  if (known_of_labels(s).every_class_trained)
    check_classes(class_counts(train.labels, std::ssize(train.class_names)), train.class_names, problems);
  for (size_t i = 1; i < parts.size(); i++) check_overlap(train, parts[i], problems);
  return result;
}

nlohmann::json check_others(const DataSettings& s, Problems& problems) {
  const DataSets sets = open_data_sets(s);
  const auto counts = class_counts(sets.train->labels(), sets.train->classes());
  check_classes(counts, sets.train->class_names(), problems);
  nlohmann::json result;
  const auto add = [&](const std::string& part, const Dataset& data) {
    result[part] = count_summary(class_counts(data.labels(), data.classes()));
  };
  add("train", *sets.train);
  add("test", *sets.test);
  for (const DataSplit& split : sets.splits) add(split.name, *split.data);
  return result;
}

void print_summary(const std::string& part, const nlohmann::json& summary) {
  if (!summary.contains("images")) return;
  say("{}: {} images of {} classes ({} many, {} medium, {} few)\n", part, summary["images"].get<int64_t>(),
      summary["classes"].get<int64_t>(), summary["many"].get<int64_t>(), summary["medium"].get<int64_t>(),
      summary["few"].get<int64_t>());
  if (summary.value("missing_files", int64_t{0}) > 0)
    say("{}: {} files are missing\n", part, summary["missing_files"].get<int64_t>());
}

}  // namespace

int check_data_set(const Config& config) {
  Problems problems;
  nlohmann::json result;
  try {
    result =
        is_image_files(config.data) ? check_image_files(config.data, problems) : check_others(config.data, problems);
    for (const auto& [part, summary] : result.items()) print_summary(part, summary);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {  // a file without which nothing can be checked
    problems.push_back(error.what());
  }
  for (const std::string& problem : problems) say("problem: {}\n", problem);
  result["problems"] = problems.size();
  print_result(result);
  return problems.empty() ? kExitDone : kExitFailed;
}

}  // namespace fulcrum::apps
