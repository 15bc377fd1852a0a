#include <fulcrum/data/clothing1m.h>

#include <algorithm>
#include <string_view>

#include <fulcrum/data/file.h>
#include <fulcrum/data/image_list.h>
#include <fulcrum/data/listing.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;
constexpr const char* kOp = "clothing1m";

fs::path text_file(const fs::path& root, const std::string& name) {
  std::error_code ignored;
  const fs::path inner = root / "annotations" / name;
  return !fs::exists(root / name, ignored) && fs::exists(inner, ignored) ? inner : root / name;
}

/// Finds keys by binary search in a sorted order of their indices, which takes 8 bytes per key.
class KeyOrder {
 public:
  explicit KeyOrder(const std::vector<std::string>& keys) : keys_(keys), order_(keys.size()) {
    for (size_t i = 0; i < order_.size(); i++) order_[i] = static_cast<int64_t>(i);
    std::ranges::sort(order_, {}, [&](int64_t i) -> std::string_view { return at(i); });
  }
  /// Calls found(i) for each i with keys[i] = key.
  template <class Found>
  void find(const std::string& key, const Found& found) const {
    const auto same = std::ranges::equal_range(order_, std::string_view(key), {},
                                               [&](int64_t i) -> std::string_view { return at(i); });
    for (const int64_t i : same) found(i);
  }

 private:
  const std::string& at(int64_t i) const { return keys_[static_cast<size_t>(i)]; }
  const std::vector<std::string>& keys_;
  std::vector<int64_t> order_;
};

void read_labels(ListingBuilder& builder, const fs::path& file, int64_t classes) {
  const KeyOrder keys(builder.paths());
  const auto problem = [&](int64_t line, const auto&... parts) {
    builder.problem_elsewhere(concat_text("[", kOp, "] ", file.string(), ": line ", line, ": ", parts...));
  };
  for_each_line(file, kOp, [&](std::string_view line, int64_t number) {
    line = line.substr(0, line.find_last_not_of(" \t") + 1);
    const size_t gap = line.find_last_of(" \t");
    if (gap == std::string_view::npos || gap == 0) return problem(number, "expected 'key label', got '", line, "'");
    const auto label = parse_integer(line.substr(gap + 1));
    if (!label || *label < 0 || *label >= classes)
      return problem(number, "expected a label in [0, ", classes, "), got '", line.substr(gap + 1), "'");
    const std::string key = fs::path(line.substr(0, line.find_last_not_of(" \t", gap) + 1)).lexically_normal().string();
    keys.find(key, [&](int64_t i) {
      if (builder.label(i) != kNoLabel && builder.label(i) != *label)
        return problem(number, "'", key, "' has label ", *label, " here and ", builder.label(i), " above");
      builder.set_label(i, *label);
    });
  });
}

}  // namespace

ImageListing list_clothing1m(const fs::path& root, const std::string& part, bool follow_links) {
  const fs::path keys = text_file(root, part + "_key_list.txt");
  const fs::path labels = text_file(root, part.substr(0, part.find('_')) + "_label_kv.txt");
  std::vector<std::string> problems;
  const std::vector<std::string> names = read_class_names(text_file(root, "category_names_eng.txt"), problems);
  ListingBuilder builder(kOp, root, keys, "line", {.follow_links = follow_links});
  for (const std::string& problem : problems) builder.problem_elsewhere(problem);
  for_each_line(keys, kOp, [&](std::string_view line, int64_t number) {
    const size_t end = line.find_last_not_of(" \t") + 1;
    if (end == 0) return builder.problem(number, "expected a key, the path of an image, got an empty line");
    builder.add(line.substr(0, end), kNoLabel, number);
  });
  if (builder.size() == 0) builder.problem(0, "expected keys, one a line, got none");
  read_labels(builder, labels, std::ssize(names));
  builder.drop_unlabelled("expected a label in " + labels.string() + ", got none, of");
  ImageListing listing = builder.finish(std::max<int64_t>(1, std::ssize(names)));
  if (!names.empty()) listing.class_names = names;
  return listing;
}

}  // namespace fulcrum
