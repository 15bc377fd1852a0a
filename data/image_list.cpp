#include <fulcrum/data/image_list.h>

#include <set>
#include <string_view>

#include <fulcrum/data/file.h>
#include <fulcrum/data/listing.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

void add_line(ListingBuilder& builder, std::string_view line, int64_t number) {
  line = line.substr(0, line.find_last_not_of(" \t") + 1);
  const size_t gap = line.find_last_of(" \t");
  if (line.empty() || gap == std::string_view::npos || gap == 0)
    return builder.problem(number, "expected 'path label', got '", line, "'");
  const std::string_view text = line.substr(gap + 1);
  const auto label = parse_integer(text);
  if (!label) return builder.problem(number, "expected an integer label after the last space, got '", text, "'");
  builder.add(line.substr(0, line.find_last_not_of(" \t", gap) + 1), *label, number);
}

}  // namespace

std::vector<std::string> read_class_names(const fs::path& file, std::vector<std::string>& problems) {
  std::vector<std::string> names = read_lines(file, "list");
  const std::string where = concat_text("[list] ", file.string(), ": ");
  if (names.empty()) problems.push_back(where + "expected a class name a line, got none");
  std::set<std::string> seen;
  for (size_t i = 0; i < names.size(); i++)
    if (names[i].empty() || !seen.insert(names[i]).second)
      problems.push_back(concat_text(where, "line ", i + 1, ": expected a class name that does ",
                                     "not stand above, got '", names[i], "'"));
  return names;
}

ImageListing list_image_list(const fs::path& root, const fs::path& list, int64_t classes, bool follow_links) {
  ListingBuilder builder("list", root, list, "line", {.follow_links = follow_links, .repeated_paths = true});
  int64_t lines = 0;
  for_each_line(list, "list", [&](std::string_view line, int64_t number) {
    add_line(builder, line, number);
    lines = number;
  });
  if (lines == 0) builder.problem(0, "expected lines 'path label', got none");
  return builder.finish(classes);
}

std::pair<ImageListing, ImageListing> list_image_lists(const fs::path& root, const fs::path& train_list,
                                                       const fs::path& test_list, const fs::path& class_names,
                                                       bool follow_links) {
  std::vector<std::string> names, problems;
  if (!class_names.empty()) names = read_class_names(class_names, problems);
  ImageListing train = list_image_list(root, train_list, std::ssize(names), follow_links);
  ImageListing test = list_image_list(root, test_list, std::ssize(train.class_names), follow_links);
  if (!names.empty()) train.class_names = test.class_names = names;
  train.problems.insert(train.problems.begin(), problems.begin(), problems.end());
  return {std::move(train), std::move(test)};
}

}  // namespace fulcrum
