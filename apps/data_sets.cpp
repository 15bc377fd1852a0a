#include "apps/data_sets.h"

#include <algorithm>

#include <fmt/format.h>

#include <fulcrum/data/cifar.h>
#include <fulcrum/data/idx.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/image_list.h>
#include <fulcrum/data/pack.h>

namespace fulcrum::apps {

namespace {

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

DataSets image_files(const DataSettings& s) {
  auto [train_listing, test_listing] = list_images(s);
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

}  // namespace fulcrum::apps
