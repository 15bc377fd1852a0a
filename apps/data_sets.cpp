#include "apps/data_sets.h"

#include <algorithm>

#include <fmt/format.h>

#include <fulcrum/data/cifar.h>
#include <fulcrum/data/file.h>
#include <fulcrum/data/idx.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/image_list.h>
#include <fulcrum/data/pack.h>

#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

// A setting that only some data sets look at must not be given for another.
void only_for(const DataSettings& d, const std::vector<std::string>& names, const char* key, bool given) {
  if (!given || std::ranges::find(names, d.name) != names.end()) return;
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : " or ") + name;
  usage(key, ": only data.name = ", list, " has it, got data.name = ", d.name);
}

using Load = InMemoryDataset (*)(const std::filesystem::path&, bool train);

DataSets in_memory(Load load, const std::filesystem::path& dir, ChannelStatistics published) {
  return {std::make_unique<InMemoryDataset>(load(dir, true)),
          std::make_unique<InMemoryDataset>(load(dir, false)),
          std::move(published),
          {}};
}

void note_skipped(const ImageDataset& data, const char* part, std::vector<std::string>& all) {
  constexpr size_t kShown = 10;
  const auto& skipped = data.skipped();
  if (skipped.empty()) return;
  fmt::print(stderr,
             "{}: left out {} of {} images that cannot be read (data.on_bad_image = skip)\n", part,
             skipped.size(), skipped.size() + static_cast<size_t>(data.size()));
  for (size_t i = 0; i < skipped.size(); i++) {
    all.push_back(skipped[i].path + ": " + skipped[i].reason);
    if (i < kShown) fmt::print(stderr, "  {}\n", skipped[i].reason);
  }
  if (skipped.size() > kShown) fmt::print(stderr, "  and {} more\n", skipped.size() - kShown);
}

void check_class_names(const DataSettings& s, int64_t classes) {
  if (s.class_names.empty()) return;
  const int64_t names = std::ssize(read_lines(s.class_names, "list"));
  if (names != classes)
    usage("data.class_names: expected ", classes, " names, one a line, as many as the labels of data.train_list say; got ",
          names, " in ", s.class_names);
}

DataSets image_files(const DataSettings& s) {
  auto [train_listing, test_listing] = list_images(s);
  check_class_names(s, std::ssize(train_listing.class_names));
  const ImageOptions options = image_options(s);
  auto train = std::make_unique<ImageDataset>(std::move(train_listing), options);
  auto test = std::make_unique<ImageDataset>(std::move(test_listing), options);
  DataSets sets;
  note_skipped(*train, "train", sets.skipped);
  note_skipped(*test, "test", sets.skipped);
  sets.train = std::move(train);
  sets.test = std::move(test);
  return sets;
}

DataSets packs(const std::filesystem::path& dir) {
  return {std::make_unique<PackDataset>(dir / "train.pack"),
          std::make_unique<PackDataset>(dir / "test.pack"),
          {},
          {}};
}

DataSets open(const DataSettings& s) {
  const auto dir = data_dir(s);
  if (s.name == "fashion-mnist")
    return in_memory(load_fashion_mnist, dir, fashion_mnist_statistics());
  if (s.name == "mnist") return in_memory(load_mnist, dir, mnist_statistics());
  if (s.name == "cifar10") return in_memory(load_cifar10, dir, cifar10_statistics());
  if (s.name == "cifar100") return in_memory(load_cifar100, dir, cifar100_statistics());
  if (s.name == "pack") return packs(dir);
  return image_files(s);
}

}  // namespace

std::filesystem::path data_dir(const DataSettings& s) {
  if (!s.dir.empty()) return s.dir;
  if (s.name == "fashion-mnist") return kFashionMnistDir;
  throw UsageError("data.dir: say where " + s.name + " lies (--data-dir or FULCRUM_DATA_DIR)");
}

bool is_image_files(const DataSettings& s) {
  return s.name == "folder" || s.name == "list";
}

ImageOptions image_options(const DataSettings& s) {
  return {.channels = s.channels, .image_size = s.image_size, .skip_bad = s.on_bad_image == "skip"};
}

std::pair<ImageListing, ImageListing> list_images(const DataSettings& s) {
  if (s.name == "folder") return list_image_folders(data_dir(s));
  return list_image_lists(data_dir(s), s.train_list, s.test_list, s.class_names);
}

DataSets open_data_sets(const DataSettings& s) {
  DataSets sets = open(s);
  check(sets.train->image_shape() == sets.test->image_shape(), "[data] ", data_dir(s).string(),
        ": expected test images of the training images' shape, ", sets.train->image_shape(),
        ", got ", sets.test->image_shape());
  check(sets.train->class_names() == sets.test->class_names(), "[data] ", data_dir(s).string(),
        ": expected the same classes in train and test, got ", sets.train->classes(), " and ",
        sets.test->classes(), " or other names");
  return sets;
}

void check_data(const DataSettings& d) {
  one_of("data.name", d.name, {"fashion-mnist", "mnist", "cifar10", "cifar100", "folder", "list", "pack"});
  one_of("data.imb_type", d.imb_type, {"none", "exp", "step"});
  one_of("data.noise_type", d.noise_type, {"none", "symmetric", "asymmetric", "matrix"});
  one_of("data.sampler", d.sampler, {"shuffle", "class-balanced"});
  one_of("data.on_bad_image", d.on_bad_image, {"error", "skip"});
  if (!(d.imb_factor > 0 && d.imb_factor <= 1))
    usage("data.imb_factor: expected a number in (0, 1], got ", d.imb_factor);
  in_range("data.noise_rate", d.noise_rate, 0, 1, "[0, 1)");
  if (!(d.val_fraction >= 0 && d.val_fraction < 1))
    usage("data.val_fraction: expected a number in [0, 1), got ", d.val_fraction);
  at_least("data.n_max", static_cast<double>(d.n_max), 0);
  at_least("data.pad", static_cast<double>(d.pad), 0);
  in_range("data.rotation", d.rotation, 0, 180, "[0, 180]");
  at_least("data.workers", static_cast<double>(d.workers), 0);
  at_least("data.image_size", static_cast<double>(d.image_size), 0);
  if (d.channels != 1 && d.channels != 3) usage("data.channels: expected 1 or 3, got ", d.channels);
  only_for(d, {"folder", "list"}, "data.image_size", d.image_size != 0);
  only_for(d, {"folder", "list"}, "data.channels", d.channels != 3);
  only_for(d, {"folder", "list"}, "data.on_bad_image", d.on_bad_image != "error");
  only_for(d, {"list"}, "data.train_list", !d.train_list.empty());
  only_for(d, {"list"}, "data.test_list", !d.test_list.empty());
  only_for(d, {"list"}, "data.class_names", !d.class_names.empty());
  if (d.name == "list" && (d.train_list.empty() || d.test_list.empty()))
    usage("data.train_list, data.test_list: data.name = list needs both");
  if ((d.noise_type == "matrix") == d.noise_matrix.empty())
    usage("data.noise_matrix: expected a file with data.noise_type = matrix, and only with it");
  if (d.noise_type == "matrix" && d.noise_rate != 0)
    usage("data.noise_rate: the rates are those of data.noise_matrix");
  if (d.mean.size() != d.stddev.size())
    usage("data.mean, data.std: expected as many of each, got ", d.mean.size(), " and ", d.stddev.size());
  for (const double s : d.stddev)
    if (!(s > 0)) usage("data.std: expected numbers above 0, got ", s);
}

std::vector<std::string> data_warnings(const DataSettings& d) {
  std::vector<std::string> warnings;
  if (d.noise_type == "none" && d.noise_rate != 0)
    warnings.push_back(concat_text("data.noise_rate = ", d.noise_rate, " has no effect with data.noise_type = none"));
  if (d.imb_type == "none" && d.imb_factor != 1)
    warnings.push_back(concat_text("data.imb_factor = ", d.imb_factor, " has no effect with data.imb_type = none"));
  return warnings;
}

}  // namespace fulcrum::apps
