#include "apps/image_sets.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include <fulcrum/data/clothing1m.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/image_list.h>
#include <fulcrum/data/inaturalist.h>
#include <fulcrum/data/tiny_imagenet.h>
#include <fulcrum/data/wilds.h>

#include "apps/data_sets.h"
#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

// A data set of image files: how its parts are listed, which settings it takes, and what is known about its labels.
struct ImageSet {
  const char* name;
  ImageParts (*list)(const DataSettings&);
  std::vector<std::string> eval_splits = {};  // what data.eval_splits may name
  const char* lists = nullptr;  // prefix of its published lists in data.dir; "": the settings always name them
  bool annotations = false;     // data.train_list and data.test_list name files of another format
  bool links = true;            // its lists name paths, which may be links: data.follow_links
  LabelsKnown labels = {};
};
const ImageSet* find_set(const std::string& name);

// The list that the setting names, relative to the working directory, or the published list in data.dir.
fs::path list_file(const DataSettings& s, const std::string& part) {
  const std::string& given = part == "train" ? s.train_list : part == "test" ? s.test_list : s.val_list;
  if (!given.empty()) return given;
  return data_dir(s) / (find_set(s.name)->lists + part + ".txt");
}

ImageParts train_and_test(std::pair<ImageListing, ImageListing> listings) {
  ImageParts parts;
  parts.push_back({"train", std::move(listings.first)});
  parts.push_back({"test", std::move(listings.second)});
  return parts;
}

ImageParts list_lists(const DataSettings& s) {
  const fs::path dir = data_dir(s);
  ImageParts parts =
      train_and_test(list_image_lists(dir, list_file(s, "train"), list_file(s, "test"), s.class_names, s.follow_links));
  const ImageListing& train = parts[0].listing;
  const std::vector<std::string> names = train.class_names;
  const int64_t used = train.labels.empty() ? 0 : *std::max_element(train.labels.begin(), train.labels.end()) + 1;
  if (!s.class_names.empty() && train.problems.empty() && std::ssize(names) != used)
    usage("data.class_names: expected ", used, " names, one a line, as many as the labels of data.train_list say; got ",
          names.size(), " in ", s.class_names);
  for (const std::string& split : eval_splits(s)) {
    parts.push_back({split, list_image_list(dir, list_file(s, split), std::ssize(names), s.follow_links)});
    parts.back().listing.class_names = names;
  }
  return parts;
}

// Whether a list's only problem is that its labels are not those of the classes.
bool has_other_classes(const ImageListing& listing, const fs::path& list, bool follow_links) {
  constexpr int64_t kAny = int64_t{1} << 20;  // the most classes that a list may have
  // Problems of the file of class names are among the training list's.
  const auto of_list = [&](const std::string& p) { return p.find(list.filename().string()) != std::string::npos; };
  if (!std::ranges::all_of(listing.problems, of_list)) return false;
  return list_image_list(listing.root, list, kAny, follow_links).problems.empty();
}

ImageParts list_inat(const DataSettings& s) {
  const fs::path dir = data_dir(s);
  const fs::path train_json = s.train_list.empty() ? dir / "train2018.json" : fs::path(s.train_list);
  const fs::path test_json = s.test_list.empty() ? dir / "val2018.json" : fs::path(s.test_list);
  return train_and_test(list_inaturalist(dir, train_json, test_json, s.follow_links));
}

ImageParts list_clothing(const DataSettings& s) {
  ImageParts parts;
  parts.push_back({"train", list_clothing1m(data_dir(s), s.train_split, s.follow_links)});
  parts.push_back({"test", list_clothing1m(data_dir(s), "clean_test", s.follow_links)});
  for (const std::string& split : eval_splits(s))
    parts.push_back({split, list_clothing1m(data_dir(s), "clean_" + split, s.follow_links)});
  return parts;
}

ImageParts list_iwildcam(const DataSettings& s) {
  std::vector<std::string> names = {"train", "test"};
  for (const std::string& split : eval_splits(s)) names.push_back(split);
  std::vector<ImageListing> listings = list_wilds(data_dir(s), names, s.follow_links);
  ImageParts parts;
  for (size_t i = 0; i < names.size(); i++) parts.push_back({names[i], std::move(listings[i])});
  return parts;
}

ImageParts list_folders(const DataSettings& s) {
  const fs::path dir = data_dir(s);
  ImageParts parts = train_and_test(list_image_folders(dir));
  for (const std::string& split : eval_splits(s)) {
    if (!fs::is_directory(dir / "test"))
      usage("data.eval_splits: ", (dir / split).string(), " is the test set where there is no folder test");
    parts.push_back({split, list_image_folder_part(dir, split, parts[0].listing)});
  }
  return parts;
}

ImageParts list_tiny(const DataSettings& s) { return train_and_test(list_tiny_imagenet(data_dir(s), s.follow_links)); }

const std::vector<ImageSet>& image_sets() {
  static const std::vector<ImageSet> sets = {
      {.name = "folder",
       .list = list_folders,
       .eval_splits = {"val"},
       .links = false,
       .labels = {.every_class_trained = false}},
      {.name = "list", .list = list_lists, .eval_splits = {"val"}, .lists = ""},
      {.name = "imagenet-lt",
       .list = list_lists,
       .eval_splits = {"val"},
       .lists = "ImageNet_LT_",
       .labels = {.long_tailed = true}},
      {.name = "places-lt",
       .list = list_lists,
       .eval_splits = {"val"},
       .lists = "Places_LT_",
       .labels = {.long_tailed = true}},
      {.name = "inaturalist18", .list = list_inat, .annotations = true, .labels = {.long_tailed = true}},
      {.name = "clothing1m", .list = list_clothing, .eval_splits = {"val"}, .labels = {.wrong = true}},
      {.name = "iwildcam",  // some of its classes have no training images
       .list = list_iwildcam,
       .eval_splits = {"val", "id_val", "id_test"},
       .labels = {.long_tailed = true, .every_class_trained = false}},
      {.name = "tiny-imagenet", .list = list_tiny}};
  return sets;
}

// The names of the data sets for which a condition holds.
template <class Condition>
std::vector<std::string> sets_with(Condition condition) {
  std::vector<std::string> names;
  for (const ImageSet& set : image_sets())
    if (condition(set)) names.emplace_back(set.name);
  return names;
}

const ImageSet* find_set(const std::string& name) {
  const auto& sets = image_sets();
  const auto found = std::ranges::find_if(sets, [&](const ImageSet& set) { return set.name == name; });
  return found == sets.end() ? nullptr : &*found;
}

}  // namespace

const std::vector<std::string>& image_file_sets() {
  static const std::vector<std::string> names = sets_with([](const ImageSet&) { return true; });
  return names;
}

bool is_image_files(const DataSettings& s) { return find_set(s.name) != nullptr; }

LabelsKnown known_of_labels(const DataSettings& s) {
  const ImageSet* set = find_set(s.name);
  return set == nullptr ? LabelsKnown{} : set->labels;
}

ImageParts list_images(const DataSettings& s) { return find_set(s.name)->list(s); }

void check_list_classes(const DataSettings& s, const ImageParts& parts) {
  if (find_set(s.name)->lists == nullptr) return;
  const std::string source = s.class_names.empty() ? "data.train_list" : "data.class_names";
  for (const auto& [part, listing] : parts) {
    if (listing.problems.empty()) continue;
    if (!has_other_classes(listing, list_file(s, part), s.follow_links)) return;  // the classes are not certain then
    const std::string key = "data." + part + "_list";
    const auto more = listing.problems.size() - 1;
    usage(key, ": ", listing.problems[0], key == source ? "" : "; the classes are those of " + source,
          more == 0 ? "" : concat_text("\nand ", more, " more; `fulcrum data check` lists them"));
  }
}

std::vector<std::string> shared_paths(const ImageListing& train, const ImageListing& other) {
  const std::unordered_set<std::string_view> seen(train.paths.begin(), train.paths.end());
  std::vector<std::string> shared;
  for (const std::string& path : other.paths)
    if (seen.contains(path)) shared.push_back(path);
  return shared;
}

ImageOptions image_options(const DataSettings& s) {
  return {.channels = s.channels,
          .image_size = s.image_size,
          .resize_size = s.resize_size,
          .squash = s.crop_mode == "squash",
          .exif_orientation = s.exif_orientation,
          .fast_decode = s.fast_decode,
          .skip_bad = s.on_bad_image == "skip",
          .cache_mb = s.cache_mb};
}

std::vector<std::string> eval_splits_of(const DataSettings& s) {
  if (s.name == "pack") return {"val", "id_val", "id_test"};
  const ImageSet* set = find_set(s.name);
  return set != nullptr ? set->eval_splits : std::vector<std::string>{};
}

std::vector<std::string> eval_splits(const DataSettings& s) {
  if (s.name == "list" && !s.val_list.empty()) return {"val"};
  return s.eval_splits;
}

bool has_val_part(const DataSettings& s) {
  const std::vector<std::string> splits = eval_splits(s);
  return std::ranges::find(splits, "val") != splits.end();
}

namespace {

void check_eval_splits(const DataSettings& d) {
  const std::vector<std::string> possible = eval_splits_of(d);
  std::vector<std::string> seen;
  for (const std::string& split : d.eval_splits) {
    if (possible.empty()) usage("data.eval_splits: data.name = ", d.name, " has no parts but train and test");
    one_of("data.eval_splits", split, possible);
    if (std::ranges::find(seen, split) != seen.end())
      usage("data.eval_splits: expected each part once, got '", split, "' twice");
    seen.push_back(split);
  }
  if (d.name == "list" && !d.eval_splits.empty() && d.val_list.empty())
    usage("data.val_list: data.eval_splits = val needs it");
  if (d.val_fraction > 0 && has_val_part(d))
    usage("data.val_fraction: the part val chooses the best epoch; expected 0 beside it, got ", d.val_fraction);
}

}  // namespace

void check_image_settings(const DataSettings& d) {
  const std::vector<std::string>& all = image_file_sets();
  const auto lists = sets_with([](const ImageSet& set) { return set.lists != nullptr; });
  const auto files = sets_with([](const ImageSet& set) { return set.lists != nullptr || set.annotations; });
  const auto linked = sets_with([](const ImageSet& set) { return set.links; });
  one_of("data.on_bad_image", d.on_bad_image, {"error", "skip"});
  one_of("data.crop_mode", d.crop_mode, {"center", "squash"});
  one_of("data.train_split", d.train_split, {"noisy_train", "clean_train"});
  count("data.image_size", d.image_size, 0, 16384);
  if (d.channels != 1 && d.channels != 3) usage("data.channels: expected 1 or 3, got ", d.channels);
  only_for(d, all, "data.image_size", d.image_size != 0);
  only_for(d, all, "data.resize_size", d.resize_size != 0);
  only_for(d, all, "data.crop_mode", d.crop_mode != "center");
  only_for(d, all, "data.exif_orientation", d.exif_orientation);
  only_for(d, all, "data.fast_decode", d.fast_decode);
  only_for(d, all, "data.channels", d.channels != 3);
  only_for(d, all, "data.cache_mb", d.cache_mb != DataSettings().cache_mb);
  in_range("data.cache_mb", static_cast<double>(d.cache_mb), 0, kMaxCacheMb, concat_text("[0, ", kMaxCacheMb, "]"));
  only_for(d, all, "data.on_bad_image", d.on_bad_image != "error");
  only_for(d, files, "data.train_list", !d.train_list.empty());
  only_for(d, files, "data.test_list", !d.test_list.empty());
  only_for(d, lists, "data.val_list", !d.val_list.empty());
  only_for(d, lists, "data.class_names", !d.class_names.empty());
  only_for(d, {"clothing1m"}, "data.train_split", d.train_split != "noisy_train");
  only_for(d, linked, "data.follow_links", d.follow_links);
  if (d.resize_size != 0 && (d.resize_size < d.image_size || d.image_size == 0 || d.crop_mode == "squash"))
    usage("data.resize_size: expected at least data.image_size, with data.crop_mode = center, got ", d.resize_size);
  if (d.image_size == 0 && (d.crop_mode == "squash" || d.fast_decode))
    usage(d.fast_decode ? "data.fast_decode" : "data.crop_mode", ": expected a data.image_size beside it, got 0");
  if (d.name == "list" && (d.train_list.empty() || d.test_list.empty()))
    usage("data.train_list, data.test_list: data.name = list needs both");
  check_eval_splits(d);
}

}  // namespace fulcrum::apps
