#include <fulcrum/data/listing.h>

#include <algorithm>
#include <charconv>
#include <unordered_set>
#include <utility>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

constexpr size_t kShownClasses = 10;

bool is_below(const fs::path& path, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

}  // namespace

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

ListingBuilder::ListingBuilder(std::string op, fs::path root, fs::path file, const char* unit,
                               const ListingRules& rules)
    : op_(std::move(op)), file_(std::move(file)), unit_(unit), rules_(rules) {
  listing_.root = std::move(root);
  listing_.confined = !rules.follow_links;
}

std::string ListingBuilder::where(int64_t entry) const {
  return concat_text("[", op_, "] ", file_.string(), ": ", entry > 0 ? concat_text(unit_, " ", entry, ": ") : "");
}

void ListingBuilder::add(std::string_view text, int64_t label, int64_t entry) {
  const fs::path path = fs::path(text).lexically_normal();
  if (path.is_absolute())
    return problem(entry, "expected a path relative to ", listing_.root.string(), ", got '", text, "'");
  if (path.begin() != path.end() && *path.begin() == "..")
    return problem(entry, "expected a path below ", listing_.root.string(), ", got '", text, "'");
  listing_.paths.push_back(path.string());
  listing_.labels.push_back(label);
  entries_.push_back(entry);
}

ImageListing ListingBuilder::finish(int64_t classes, bool named) {
  check_labels(classes > 0 ? classes : kMaxClasses);
  check_repeated();
  if (!rules_.follow_links) check_links();
  const auto& labels = listing_.labels;
  const int64_t largest = labels.empty() ? 0 : std::max(int64_t{0}, std::ranges::max(labels));
  if (named) listing_.class_names = numbered_class_names(classes > 0 ? classes : largest + 1);
  std::ranges::stable_sort(problems_, {}, [](const auto& p) { return p.first; });
  // Last: a class may be missing only because of the entries above.
  if (classes == 0 && !labels.empty()) check_classes();
  for (auto& [entry, text] : problems_) listing_.problems.push_back(std::move(text));
  return std::move(listing_);
}

template <class Keep>
void ListingBuilder::filter(const Keep& keep) {
  size_t kept = 0;
  for (size_t i = 0; i < entries_.size(); i++) {
    if (!keep(i)) continue;
    if (kept != i) listing_.paths[kept] = std::move(listing_.paths[i]);
    listing_.labels[kept] = listing_.labels[i];
    entries_[kept++] = entries_[i];
  }
  listing_.paths.resize(kept);
  listing_.labels.resize(kept);
  entries_.resize(kept);
}

void ListingBuilder::drop_unlabelled(const std::string& expected) {
  filter([&](size_t i) {
    if (listing_.labels[i] != kNoLabel) return true;
    problem(entries_[i], expected, " '", listing_.paths[i], "'");
    return false;
  });
}

// Removes entries whose labels are outside the classes, so that the rest can be counted by class.
void ListingBuilder::check_labels(int64_t classes) {
  filter([&](size_t i) {
    if (listing_.labels[i] >= 0 && listing_.labels[i] < classes) return true;
    problem(entries_[i], "expected a label in [0, ", classes, "), got ", listing_.labels[i]);
    return false;
  });
}

void ListingBuilder::check_classes() {
  const auto counts = class_counts(listing_.labels, std::ssize(listing_.class_names));
  std::string missing;
  size_t n = 0;
  for (size_t k = 0; k < counts.size(); k++)
    if (counts[k] == 0 && ++n <= kShownClasses) missing += (n > 1 ? ", " : "") + std::to_string(k);
  if (n > kShownClasses) missing += concat_text(" and ", n - kShownClasses, " more");
  if (n > 0)
    problem(0, "expected samples of every class from 0 to the largest label, ", counts.size() - 1, ", got none of ",
            missing);
}

void ListingBuilder::check_repeated() {
  std::vector<size_t> order(entries_.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  const auto& paths = listing_.paths;
  std::ranges::sort(order, [&](size_t a, size_t b) {
    const int compared = paths[a].compare(paths[b]);
    return compared != 0 ? compared < 0 : a < b;
  });
  std::vector<std::pair<size_t, size_t>> repeated;  // the later one, the one that it repeats
  for (size_t i = 1, first = 0; i < order.size(); i++) {
    if (paths[order[i]] != paths[order[first]]) {
      first = i;
    } else if (!rules_.repeated_paths || listing_.labels[order[i]] != listing_.labels[order[first]]) {
      repeated.emplace_back(order[i], order[first]);
    }
  }
  std::ranges::sort(repeated);
  for (const auto& [again, first] : repeated)
    problem(entries_[again], "'", paths[again], "' has label ", listing_.labels[again], " here and ",
            listing_.labels[first], " in ", unit_, " ", entries_[first]);
}

// Checks only folders, of which there are few. A file that is a link is checked when it is read.
void ListingBuilder::check_links() {
  std::error_code error;
  const fs::path root = fs::canonical(listing_.root, error);
  if (error) return;  // the root does not exist: reading any of its files will fail
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < entries_.size(); i++) {
    const std::string& path = listing_.paths[i];
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos || !seen.insert(path.substr(0, slash)).second) continue;
    const fs::path target = fs::canonical(root / path.substr(0, slash), error);
    if (!error && !is_below(target, root))
      problem(entries_[i], "expected a path below ", listing_.root.string(), ", got '", path,
              "', which a link leads to ", target.string(), "; data.follow_links = true permits it");
  }
}

}  // namespace fulcrum
