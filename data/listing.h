// ListingBuilder: builds an ImageListing from the entries of a file and checks each of them. Internal to data/.
//
//   ListingBuilder builder("list", root, "train.txt", "line", {});
//   builder.add("cat/1.jpg", 0, /*entry=*/1);                 // from line 1
//   builder.problem(2, "expected 'path label', got 'x'");     // "[list] train.txt: line 2: expected …"
//   ImageListing listing = builder.finish(/*classes=*/0);
//
// Paths are relative to the root and must stay below it, also through links to folders. Duplicates are
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

/// More classes than any data set has. The limit keeps a label with a digit too many from causing a huge allocation.
inline constexpr int64_t kMaxClasses = int64_t{1} << 20;

/// The label of a path until its label is read from a second file.
inline constexpr int64_t kNoLabel = -1;

struct ListingRules {
  bool follow_links = false;    // links may lead out of the root
  bool repeated_paths = false;  // a path may occur again with the same label
};

class ListingBuilder {
 public:
  /// `unit` is what the file's entries are called: "line", "annotation".
  ListingBuilder(std::string op, std::filesystem::path root, std::filesystem::path file, const char* unit,
                 const ListingRules& rules);

  /// Adds a path; one that leaves the root becomes a problem instead. Labels are checked in finish().
  void add(std::string_view path, int64_t label, int64_t entry);
  /// Adds a problem of one entry, or of the whole file if `entry` is 0.
  template <class... Parts>
  void problem(int64_t entry, const Parts&... parts) {
    problems_.emplace_back(entry, where(entry) + concat_text(parts...));
  }
  /// Adds a problem of another file; the text is used as it is.
  void problem_elsewhere(std::string problem) { problems_.emplace_back(0, std::move(problem)); }
  int64_t size() const { return std::ssize(listing_.paths); }
  const std::vector<std::string>& paths() const { return listing_.paths; }
  void set_label(int64_t i, int64_t label) { listing_.labels[static_cast<size_t>(i)] = label; }
  int64_t label(int64_t i) const { return listing_.labels[static_cast<size_t>(i)]; }
  /// Removes the paths that still have kNoLabel. Each becomes a problem: `expected`, then the path.
  void drop_unlabelled(const std::string& expected);

  /// Checks everything and returns the listing, with its problems in the order of the entries, then those of the classes
  /// as a whole. There are `classes` classes; 0: the largest label + 1. They are named
  /// "0", "1", … If not `named`, which requires classes > 0, class_names stays empty, for a caller that has better
  /// names. Problems: labels outside the classes, classes without samples (if classes is 0), repeated paths, links out
  /// of the root.
  ImageListing finish(int64_t classes, bool named = true);

 private:
  std::string where(int64_t entry) const;
  /// Removes the entries for which keep(i) is false.
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
  std::vector<int64_t> entries_;                           // the entry of each path
  std::vector<std::pair<int64_t, std::string>> problems_;  // entry and text
};

/// Parses a text that consists of an integer and nothing else; nullopt otherwise.
std::optional<int64_t> parse_integer(std::string_view text);

}  // namespace fulcrum
