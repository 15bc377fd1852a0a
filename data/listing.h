// ListingBuilder: an ImageListing out of the entries of a file, each checked. Internal to data/.
//
//   ListingBuilder builder("list", root, "train.txt", "line", {});
//   builder.add("cat/1.jpg", 0, /*entry=*/1);                 // of line 1
//   builder.problem(2, "expected 'path label', got 'x'");     // "[list] train.txt: line 2: expected …"
//   ImageListing listing = builder.finish(/*classes=*/0);
//
// Paths are relative to the root and stay below it, also through links to folders; duplicates are
// found without a second copy of the paths.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fulcrum/core/check.h>
#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

/// More classes than any data set has: a label with a digit too many must not allocate by itself.
inline constexpr int64_t kMaxClasses = int64_t{1} << 20;

/// Of a path whose label a second file has.
inline constexpr int64_t kNoLabel = -1;

struct ListingRules {
  bool follow_links = false;    // links may lead out of the root
  bool repeated_paths = false;  // a path may come again, with the same label
};

class ListingBuilder {
 public:
  /// `unit` is what the file's entries are called: "line", "annotation".
  ListingBuilder(std::string op, std::filesystem::path root, std::filesystem::path file, const char* unit,
                 const ListingRules& rules);

  /// A path that leaves the root is a problem, and not added. Labels are looked at in finish().
  void add(std::string_view path, int64_t label, int64_t entry);
  /// Of one entry, or with 0 of the whole file.
  template <class... Parts>
  void problem(int64_t entry, const Parts&... parts) {
    problems_.emplace_back(entry, where(entry) + concat_text(parts...));
  }
  /// Of another file, as it is.
  void problem_elsewhere(std::string problem) { problems_.emplace_back(0, std::move(problem)); }
  int64_t size() const { return std::ssize(listing_.paths); }
  const std::vector<std::string>& paths() const { return listing_.paths; }
  void set_label(int64_t i, int64_t label) { listing_.labels[static_cast<size_t>(i)] = label; }
  int64_t label(int64_t i) const { return listing_.labels[static_cast<size_t>(i)]; }
  /// Takes out what still has kNoLabel; each is a problem: `expected` and the path.
  void drop_unlabelled(const std::string& expected);

  /// Classes "0", "1", …, as many as `classes` or, with 0, as the largest label says. Problems: labels
  /// outside of them, classes without samples where classes is 0, repeated paths, links out of the root. Not `named`,
  /// with classes > 0 alone: without names, for a caller that has better ones.
  ImageListing finish(int64_t classes, bool named = true);

 private:
  std::string where(int64_t entry) const;
  /// Takes out the entries of which keep(i) is false.
  template <class Keep>
  void filter(const Keep& keep);
  void check_labels(int64_t classes);
  void check_classes();
  void check_repeated();
  void check_links();

  std::string op_;
  std::filesystem::path file_;
  const char* unit_;
  ListingRules rules_;
  ImageListing listing_;
  std::vector<int64_t> entries_;                           // of each path
  std::vector<std::pair<int64_t, std::string>> problems_;  // with their entries
};

/// An integer and nothing else; nothing where it is none.
std::optional<int64_t> parse_integer(std::string_view text);

}  // namespace fulcrum
