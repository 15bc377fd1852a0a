#include <fulcrum/core/check.h>
#include <fulcrum/data/inaturalist.h>

#ifdef FULCRUM_WITH_JSON

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include <fulcrum/data/file.h>
#include <fulcrum/data/listing.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr const char* kOp = "inaturalist";

/// The fields of an entry that are used; others are ignored.
struct Entry {
  std::optional<int64_t> id, image_id, category_id;
  std::optional<std::string> file_name, name;
};

enum Section { kImages, kAnnotations, kCategories, kSections };
constexpr std::array<const char*, kSections> kSectionNames = {"images", "annotations", "categories"};

struct Labelled {
  int64_t image_id, category_id, entry;
};

/// The contents of one file, before the join.
struct Document {
  std::vector<std::string> problems;
  std::vector<int64_t> image_ids;
  std::vector<std::string> file_names;  // of each image
  std::vector<int64_t> image_entries;
  std::vector<Labelled> annotations;
  std::vector<std::pair<int64_t, std::string>> categories;  // id and name
  std::array<bool, kSections> has{};
};

/// Receives the parser's events and keeps the entries of the three sections.
class Handler : public nlohmann::json_sax<json> {
 public:
  Handler(Document& document, std::string where) : document_(document), where_(std::move(where)) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool number_integer(number_integer_t value) override { return number(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return number(static_cast<int64_t>(std::min<uint64_t>(value, INT64_MAX)));
  }
  bool string(string_t& value) override {
    if (!in_entry()) return true;
    if (key_ == "file_name") entry_.file_name = std::move(value);
    else if (key_ == "name") entry_.name = std::move(value);
    return true;
  }
  bool key(string_t& value) override {
    if (depth_ == 1) {
      const auto found = std::ranges::find(kSectionNames, value);
      section_ = static_cast<Section>(found - kSectionNames.begin());
      count_ = 0;
      if (section_ != kSections) document_.has[section_] = true;
    }
    if (in_entry()) key_ = std::move(value);
    return true;
  }
  bool start_object(std::size_t) override {
    check(depth_ > 0 || !started_, where_, ": expected one object");
    started_ = true;
    if (++depth_ == 3) entry_ = {}, key_.clear();
    return true;
  }
  bool end_object() override {
    if (depth_-- == 3 && section_ != kSections) add();
    return true;
  }
  bool start_array(std::size_t) override {
    check(depth_ > 0, where_, ": expected an object with images, annotations and categories, got an array");
    depth_++;
    return true;
  }
  bool end_array() override {
    depth_--;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    const std::string text = error.what();  // "[json.exception.parse_error.101] parse error at line …"
    fail(where_, ": expected JSON, got a ", text.substr(text.find(']') + 2));
  }

 private:
  bool in_entry() const { return depth_ == 3 && section_ != kSections; }
  bool number(int64_t value) {
    if (!in_entry()) return true;
    if (key_ == "id") entry_.id = value;
    if (key_ == "image_id") entry_.image_id = value;
    if (key_ == "category_id") entry_.category_id = value;
    return true;
  }
  void missing(const char* field) {
    constexpr std::array<const char*, kSections> kOne = {"image", "annotation", "category"};
    document_.problems.push_back(concat_text(where_, ": ", kOne[section_], " ", count_, ": expected ", field));
  }
  void add() {
    count_++;
    if (section_ == kImages) {
      if (!entry_.id || !entry_.file_name) return missing("an integer 'id' and a string 'file_name'");
      document_.image_ids.push_back(*entry_.id);
      document_.file_names.push_back(std::move(*entry_.file_name));
      document_.image_entries.push_back(count_);
    } else if (section_ == kAnnotations) {
      if (!entry_.image_id || !entry_.category_id) return missing("integers 'image_id' and 'category_id'");
      document_.annotations.push_back({*entry_.image_id, *entry_.category_id, count_});
    } else {
      if (!entry_.id) return missing("an integer 'id'");
      document_.categories.emplace_back(*entry_.id, entry_.name.value_or(std::to_string(*entry_.id)));
    }
  }

  Document& document_;
  std::string where_, key_;
  Entry entry_;
  Section section_ = kSections;
  int depth_ = 0;
  int64_t count_ = 0;
  bool started_ = false;
};

Document read_document(const fs::path& file) {
  check_regular(file, kOp);
  std::ifstream in(file, std::ios::binary);
  const std::string where = concat_text("[", kOp, "] ", file.string());
  check(in.is_open(), where, ": cannot be opened");
  Document document;
  Handler handler(document, where);
  json::sax_parse(in, &handler);
  for (size_t s = 0; s < kSections; s++)
    check(document.has[s], where, ": expected a list '", kSectionNames[s], "', got none");
  return document;
}

/// The categories' names in the order of their ids.
std::vector<std::string> class_names(Document& document, const fs::path& file) {
  auto& categories = document.categories;
  std::ranges::sort(categories);
  std::vector<std::string> names;
  for (size_t k = 0; k < categories.size(); k++) {
    check(categories[k].first == static_cast<int64_t>(k), "[", kOp, "] ", file.string(),
          ": expected categories with the ids 0 to ", categories.size() - 1, ", each once, got ", categories[k].first,
          " in place of ", k);
    names.push_back(categories[k].second);
  }
  check(!names.empty(), "[", kOp, "] ", file.string(), ": expected categories, got none");
  std::vector<std::string> sorted = names;
  std::ranges::sort(sorted);
  const bool unique = std::ranges::adjacent_find(sorted) == sorted.end();
  return unique ? names : numbered_class_names(std::ssize(names));
}

/// Gives each image the label of its annotation.
void join(Document& document, ListingBuilder& builder, const fs::path& file) {
  const auto& ids = document.image_ids;
  std::vector<size_t> order(ids.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = i;
  std::ranges::sort(order, {}, [&](size_t i) { return std::pair(ids[i], i); });
  for (size_t i = 1; i < order.size(); i++)
    if (ids[order[i]] == ids[order[i - 1]])
      builder.problem(0, "expected images with an id each, got ", ids[order[i]], " twice, of '",
                      document.file_names[order[i - 1]], "' and '", document.file_names[order[i]], "'");
  std::vector<int64_t> labels(ids.size(), kNoLabel);
  for (const Labelled& a : document.annotations) {
    const auto at = std::ranges::lower_bound(order, a.image_id, {}, [&](size_t i) { return ids[i]; });
    const auto problem = [&](const auto&... parts) {
      builder.problem_elsewhere(concat_text("[", kOp, "] ", file.string(), ": annotation ", a.entry, ": ", parts...));
    };
    if (at == order.end() || ids[*at] != a.image_id) {
      problem("expected the id of an image, got image_id ", a.image_id);
      continue;
    }
    if (labels[*at] != kNoLabel && labels[*at] != a.category_id)
      problem("'", document.file_names[*at], "' has category_id ", a.category_id, " here and ", labels[*at],
              " in another annotation");
    labels[*at] = a.category_id;
  }
  for (size_t i = 0; i < ids.size(); i++) builder.add(document.file_names[i], labels[i], document.image_entries[i]);
}

ImageListing listing_of(Document document, const fs::path& root, const fs::path& file, int64_t classes,
                        bool follow_links) {
  ListingBuilder builder(kOp, root, file, "image", {.follow_links = follow_links});
  for (const std::string& problem : document.problems) builder.problem_elsewhere(problem);
  if (document.image_ids.empty()) builder.problem(0, "expected images, got none");
  join(document, builder, file);
  builder.drop_unlabelled("expected an annotation, got none, of");
  return builder.finish(classes);
}

}  // namespace

std::pair<ImageListing, ImageListing> list_inaturalist(const fs::path& root, const fs::path& train_json,
                                                       const fs::path& test_json, bool follow_links) {
  Document document = read_document(train_json);
  const std::vector<std::string> names = class_names(document, train_json);
  const auto classes = std::ssize(names);
  ImageListing train = listing_of(std::move(document), root, train_json, classes, follow_links);
  ImageListing test = listing_of(read_document(test_json), root, test_json, classes, follow_links);
  train.class_names = test.class_names = names;
  return {std::move(train), std::move(test)};
}

}  // namespace fulcrum

#else

namespace fulcrum {

std::pair<ImageListing, ImageListing> list_inaturalist(const std::filesystem::path&,
                                                       const std::filesystem::path& train_json,
                                                       const std::filesystem::path&, bool) {
  fail("[inaturalist] ", train_json.string(),
       ": is JSON, and this build cannot read it: build with -DFULCRUM_JSON=ON (Debian's package "
       "nlohmann-json3-dev)");
}

}  // namespace fulcrum

#endif
