#include <fulcrum/data/image_list.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include <fulcrum/data/file.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

// More classes than any data set has: a label with a digit too many must not allocate by itself.
constexpr int64_t kMaxClasses = int64_t{1} << 20;

/// Reads the lines of one list into a listing.
class ListReader {
 public:
  ListReader(const fs::path& root, const fs::path& list, int64_t classes)
      : list_(list), limit_(classes > 0 ? classes : kMaxClasses) {
    listing_.root = root;
  }

  ImageListing read(int64_t classes) {
    for (const std::string& line : read_lines(list_, "list")) {
      line_++;
      add(line);
    }
    if (line_ == 0) listing_.problems.push_back(where("expected lines 'path label', got none"));
    const auto& labels = listing_.labels;
    const int64_t largest = labels.empty() ? 0 : std::ranges::max(labels);
    listing_.class_names = numbered_class_names(classes > 0 ? classes : largest + 1);
    return std::move(listing_);
  }

 private:
  std::string where(const std::string& reason) const {
    return concat_text("[list] ", list_.string(), ": ",
                       line_ > 0 ? concat_text("line ", line_, ": ") : "", reason);
  }
  template <class... Parts>
  void problem(const Parts&... parts) {
    listing_.problems.push_back(where(concat_text(parts...)));
  }

  void add(std::string_view line) {
    line = line.substr(0, line.find_last_not_of(" \t") + 1);
    const size_t gap = line.find_last_of(" \t");
    if (line.empty() || gap == std::string_view::npos || gap == 0)
      return problem("expected 'path label', got '", line, "'");
    const std::string_view number = line.substr(gap + 1);
    int64_t label = 0;
    const auto [end, error] = std::from_chars(number.begin(), number.end(), label);
    if (error != std::errc{} || end != number.end())
      return problem("expected an integer label after the last space, got '", number, "'");
    if (label < 0 || label >= limit_)
      return problem("expected a label in [0, ", limit_, "), got ", label);
    add(std::string(line.substr(0, line.find_last_not_of(" \t", gap) + 1)), label);
  }

  void add(const std::string& text, int64_t label) {
    const fs::path path = fs::path(text).lexically_normal();
    if (path.is_absolute())
      return problem("expected a path relative to ", listing_.root.string(), ", got '", text, "'");
    if (path.begin() != path.end() && *path.begin() == "..")
      return problem("expected a path below ", listing_.root.string(), ", got '", text, "'");
    const auto [seen, fresh] = seen_.emplace(path.string(), std::pair(label, line_));
    if (!fresh && seen->second.first != label)
      return problem("'", text, "' has label ", label, " here and ", seen->second.first,
                     " in line ", seen->second.second);
    listing_.paths.push_back(path.string());
    listing_.labels.push_back(label);
  }

  fs::path list_;
  int64_t limit_;
  int64_t line_ = 0;
  ImageListing listing_;
  std::map<std::string, std::pair<int64_t, int64_t>> seen_;  // label and line of each path
};

std::vector<std::string> read_class_names(const fs::path& file, int64_t classes,
                                          std::vector<std::string>& problems) {
  std::vector<std::string> names = read_lines(file, "list");
  const std::string where = concat_text("[list] ", file.string(), ": ");
  if (std::ssize(names) != classes)
    problems.push_back(concat_text(where, "expected ", classes,
                                   " class names, one a line, as many as the training list has "
                                   "classes; got ",
                                   names.size()));
  std::set<std::string> seen;
  for (size_t i = 0; i < names.size(); i++)
    if (names[i].empty() || !seen.insert(names[i]).second)
      problems.push_back(concat_text(where, "line ", i + 1, ": expected a class name that does ",
                                     "not stand above, got '", names[i], "'"));
  return names;
}

}  // namespace

ImageListing list_image_list(const fs::path& root, const fs::path& list, int64_t classes) {
  return ListReader(root, list, classes).read(classes);
}

std::pair<ImageListing, ImageListing> list_image_lists(const fs::path& root,
                                                       const fs::path& train_list,
                                                       const fs::path& test_list,
                                                       const fs::path& class_names) {
  ImageListing train = list_image_list(root, train_list);
  const int64_t classes = std::ssize(train.class_names);
  ImageListing test = list_image_list(root, test_list, classes);
  if (!class_names.empty()) {
    train.class_names = read_class_names(class_names, classes, train.problems);
    // With a wrong number of names the listing is refused; until then labels and names must agree.
    train.class_names.resize(static_cast<size_t>(classes));
    test.class_names = train.class_names;
  }
  return {std::move(train), std::move(test)};
}

}  // namespace fulcrum
