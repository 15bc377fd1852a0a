// fulcrum data check
#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/parallel.h>

#include "apps/data_command.h"
#include "apps/data_sets.h"
#include "apps/trainer.h"

namespace fulcrum::apps {

namespace {

using Problems = std::vector<std::string>;

void check_classes(const std::vector<int64_t>& counts, const std::vector<std::string>& names,
                   Problems& problems) {
  for (size_t k = 0; k < counts.size(); k++)
    if (counts[k] == 0)
      problems.push_back(
          fmt::format("train: expected images of class {} ('{}'), got none", k, names[k]));
}

// Without data.image_size all images must be of one size: says how many are not.
void check_sizes(const ImageListing& listing, const std::vector<BadImage>& bad,
                 Problems& problems) {
  std::set<int64_t> undecodable;
  for (const BadImage& b : bad) undecodable.insert(b.index);
  std::vector<ImageSize> sizes(listing.paths.size());
  parallel_for(std::ssize(listing.paths), /*threads=*/0, [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    if (!undecodable.contains(i)) sizes[at] = image_size(listing.root / listing.paths[at]);
  });
  const auto known = [](const ImageSize& s) { return s.height > 0; };
  const auto first = std::ranges::find_if(sizes, known);
  if (first == sizes.end()) return;
  const auto differs = [&](const ImageSize& s) { return known(s) && s != *first; };
  const auto other = std::ranges::find_if(sizes, differs);
  if (other == sizes.end()) return;
  problems.push_back(fmt::format(
      "[images] {}: expected {}x{} (height x width) as the first image has, got {}x{}; {} images "
      "differ; "
      "data.image_size brings them to one size",
      (listing.root / listing.paths[static_cast<size_t>(other - sizes.begin())]).string(),
      first->height, first->width, other->height, other->width,
      std::ranges::count_if(sizes, differs)));
}

nlohmann::json check_files(const ImageListing& listing, const DataSettings& s, Problems& problems) {
  problems.insert(problems.end(), listing.problems.begin(), listing.problems.end());
  const auto bad = find_bad_images(listing, image_options(s));
  for (const BadImage& b : bad) problems.push_back(b.reason);
  if (s.image_size == 0) check_sizes(listing, bad, problems);
  nlohmann::json summary =
      listing.class_names.empty()
          ? nlohmann::json::object()
          : count_summary(class_counts(listing.labels, std::ssize(listing.class_names)));
  summary["bad_images"] = bad.size();
  return summary;
}

// A list may name a training image among the test images.
void check_overlap(const ImageListing& train, const ImageListing& test, Problems& problems) {
  const std::set<std::string> seen(train.paths.begin(), train.paths.end());
  for (const std::string& path : test.paths)
    if (seen.contains(path))
      problems.push_back(fmt::format("test: '{}' is a training image, too", path));
}

nlohmann::json check_image_files(const DataSettings& s, Problems& problems) {
  const auto [train, test] = list_images(s);
  nlohmann::json result = {{"train", check_files(train, s, problems)},
                           {"test", check_files(test, s, problems)}};
  // Of a folder, list_images has said so already.
  if (s.name == "list")
    check_classes(class_counts(train.labels, std::ssize(train.class_names)), train.class_names,
                  problems);
  check_overlap(train, test, problems);
  return result;
}

nlohmann::json check_others(const DataSettings& s, Problems& problems) {
  const DataSets sets = open_data_sets(s);
  const auto counts = class_counts(sets.train->labels(), sets.train->classes());
  check_classes(counts, sets.train->class_names(), problems);
  return {{"train", count_summary(counts)},
          {"test", count_summary(class_counts(sets.test->labels(), sets.test->classes()))}};
}

void print_summary(const char* part, const nlohmann::json& summary) {
  if (!summary.contains("images")) return;
  fmt::print(stderr, "{}: {} images of {} classes ({} many, {} medium, {} few)\n", part,
             summary["images"].get<int64_t>(), summary["classes"].get<int64_t>(),
             summary["many"].get<int64_t>(), summary["medium"].get<int64_t>(),
             summary["few"].get<int64_t>());
}

}  // namespace

int check_data_set(const Config& config) {
  Problems problems;
  nlohmann::json result;
  try {
    result = is_image_files(config.data) ? check_image_files(config.data, problems)
                                         : check_others(config.data, problems);
    print_summary("train", result["train"]);
    print_summary("test", result["test"]);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {  // a file without which there is nothing to look at
    problems.push_back(error.what());
  }
  for (const std::string& problem : problems) fmt::print(stderr, "problem: {}\n", problem);
  result["problems"] = problems.size();
  fmt::print("{}\n", result.dump());
  return problems.empty() ? kExitDone : kExitFailed;
}

}  // namespace fulcrum::apps
