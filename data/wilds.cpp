#include <fulcrum/data/wilds.h>

#include <algorithm>
#include <array>

#include <fulcrum/data/csv.h>
#include <fulcrum/data/listing.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;
constexpr const char* kOp = "wilds";
constexpr std::array<const char*, 5> kSplits = {"train", "val", "test", "id_val", "id_test"};

/// Returns the names in categories.csv if there is a different one for each class, otherwise numbers. Rows of classes
/// that do not occur in the data are ignored.
std::vector<std::string> read_categories(const fs::path& file, int64_t classes) {
  std::vector<std::string> names(static_cast<size_t>(classes));
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return numbered_class_names(classes);
  CsvReader csv(file, kOp);
  const size_t y_column = csv.column("y"), name = csv.column("name");
  while (csv.next()) {
    const auto y = parse_integer(csv[y_column]);
    check(y.has_value(), "[", kOp, "] ", file.string(), ": line ", csv.line(), ": expected an integer y, got '",
          csv[y_column], "'");
    if (*y >= 0 && *y < classes) names[static_cast<size_t>(*y)] = csv[name];
  }
  std::vector<std::string> sorted = names;
  std::ranges::sort(sorted);
  const bool usable = !sorted.front().empty() && std::ranges::adjacent_find(sorted) == sorted.end();
  return usable ? names : numbered_class_names(classes);
}

/// Builds one listing per split in a single pass over the rows.
class Metadata {
 public:
  Metadata(const fs::path& root, const std::vector<std::string>& splits, bool follow_links)
      : file_(root / "metadata.csv"), splits_(splits) {
    for (size_t i = 0; i < splits.size(); i++)
      builders_.emplace_back(kOp, root, file_, "line", ListingRules{.follow_links = follow_links});
  }

  void read() {
    CsvReader csv(file_, kOp);
    const size_t split = csv.column("split"), filename = csv.column("filename"), y = csv.column("y");
    while (csv.next()) add(csv[split], csv[filename], csv[y], csv.line());
  }

  std::vector<ImageListing> finish(const fs::path& categories) {
    const auto classes = std::max<int64_t>(1, std::ssize(seen_));
    const auto gap = std::ranges::find(seen_, false);
    if (gap != seen_.end())
      builders_[0].problem(0, "expected rows of every class from 0 to the largest y, ", classes - 1, ", got none of ",
                           gap - seen_.begin());
    std::vector<std::string> names;  // stays empty if a class is missing: a single wrong y could make a million names
    if (gap == seen_.end()) names = read_categories(categories, classes);
    std::vector<ImageListing> listings;
    for (size_t i = 0; i < builders_.size(); i++) {
      if (builders_[i].size() == 0) builders_[i].problem(0, "expected rows of the split '", splits_[i], "', got none");
      listings.push_back(builders_[i].finish(classes, /*named=*/false));
      listings.back().class_names = names;
    }
    return listings;
  }

 private:
  void add(const std::string& split, const std::string& filename, const std::string& y, int64_t line) {
    if (std::ranges::find(kSplits, split) == kSplits.end())
      return builders_[0].problem(line, "expected a split train, val, test, id_val or id_test, got '", split, "'");
    const auto label = parse_integer(y);
    if (!label || *label < 0 || *label >= kMaxClasses)
      return builders_[0].problem(line, "expected an integer y in [0, ", kMaxClasses, "), got '", y, "'");
    if (*label >= std::ssize(seen_)) seen_.resize(static_cast<size_t>(*label) + 1, false);
    seen_[static_cast<size_t>(*label)] = true;
    const auto at = std::ranges::find(splits_, split);
    if (at == splits_.end()) return;
    ListingBuilder& builder = builders_[static_cast<size_t>(at - splits_.begin())];
    const fs::path name = fs::path(filename).lexically_normal();
    if (filename.empty() || name.is_absolute() || *name.begin() == "..")
      return builder.problem(line, "expected the name of a file in train/, got '", filename, "'");
    builder.add("train/" + filename, *label, line);
  }

  fs::path file_;
  std::vector<std::string> splits_;
  std::vector<ListingBuilder> builders_;
  std::vector<bool> seen_;  // for each class, whether a row has it
};

}  // namespace

std::vector<ImageListing> list_wilds(const fs::path& root, const std::vector<std::string>& splits, bool follow_links) {
  check(!splits.empty(), "[wilds] expected the names of splits, got none");
  Metadata metadata(root, splits, follow_links);
  metadata.read();
  return metadata.finish(root / "categories.csv");
}

}  // namespace fulcrum
