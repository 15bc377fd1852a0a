#include "apps/data_sets.h"

#include <algorithm>

#include <fulcrum/data/cifar.h>
#include <fulcrum/data/idx.h>
#include <fulcrum/data/pack.h>

#include "apps/augmentation.h"
#include "apps/image_sets.h"
#include "apps/ranges.h"
#include "apps/say.h"
#include "apps/world.h"

namespace fulcrum::apps {

void only_for(const DataSettings& d, const std::vector<std::string>& names, const char* key, bool given) {
  if (!given || std::ranges::find(names, d.name) != names.end()) return;
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : " or ") + name;
  usage(key, ": only data.name = ", list, " has it, got data.name = ", d.name);
}

namespace {

using Load = InMemoryDataset (*)(const std::filesystem::path&, bool train);

DataSets in_memory(Load load, const std::filesystem::path& dir, ChannelStatistics published) {
  return {std::make_unique<InMemoryDataset>(load(dir, true)),
          std::make_unique<InMemoryDataset>(load(dir, false)),
          {},
          std::move(published),
          {}};
}

void note_skipped(const ImageDataset& data, const std::string& part, std::vector<std::string>& all) {
  constexpr size_t kShown = 10;
  const auto& skipped = data.skipped();
  if (skipped.empty()) return;
  const bool shown = first_process();
  if (shown)
    say("{}: left out {} of {} images that cannot be read (data.on_bad_image = skip)\n", part, skipped.size(),
        skipped.size() + static_cast<size_t>(data.size()));
  for (size_t i = 0; i < skipped.size(); i++) {
    all.push_back(skipped[i].path + ": " + skipped[i].reason);
    if (shown && i < kShown) say("  {}\n", skipped[i].reason);
  }
  if (shown && skipped.size() > kShown) say("  and {} more\n", skipped.size() - kShown);
}

DataSets image_files(const DataSettings& s) {
  ImageParts parts = list_images(s);
  check_list_classes(s, parts);
  DataSets sets;
  for (size_t i = 1; i < parts.size(); i++) {
    const int64_t shared = std::ssize(shared_paths(parts[0].listing, parts[i].listing));
    if (shared > 0)
      sets.leaks.push_back(concat_text(shared, " of the ", parts[i].listing.paths.size(), " images of ", parts[i].name,
                                       " are training images, too; `fulcrum data check` names them"));
  }
  for (ImagePart& part : parts) {
    auto data = std::make_unique<ImageDataset>(std::move(part.listing), image_options(s));
    note_skipped(*data, part.name, sets.skipped);
    if (part.name == "train") sets.train = std::move(data);
    else if (part.name == "test") sets.test = std::move(data);
    else sets.splits.push_back({part.name, std::move(data)});
  }
  return sets;
}

DataSets packs(const DataSettings& s) {
  const auto open_pack = [&](const std::string& part) {
    return std::make_unique<PackDataset>(data_dir(s) / (part + ".pack"));
  };
  DataSets sets;
  sets.train = open_pack("train");
  sets.test = open_pack("test");
  for (const std::string& split : eval_splits(s)) sets.splits.push_back({split, open_pack(split)});
  return sets;
}

DataSets open(const DataSettings& s) {
  const auto dir = data_dir(s);
  if (s.name == "fashion-mnist") return in_memory(load_fashion_mnist, dir, fashion_mnist_statistics());
  if (s.name == "mnist") return in_memory(load_mnist, dir, mnist_statistics());
  if (s.name == "cifar10") return in_memory(load_cifar10, dir, cifar10_statistics());
  if (s.name == "cifar100") return in_memory(load_cifar100, dir, cifar100_statistics());
  if (s.name == "pack") return packs(s);
  return image_files(s);
}

}  // namespace

std::filesystem::path data_dir(const DataSettings& s) {
  if (!s.dir.empty()) return s.dir;
  if (s.name == "fashion-mnist") return kFashionMnistDir;
  throw UsageError("data.dir: say where " + s.name + " lies (--data-dir or FULCRUM_DATA_DIR)");
}

namespace {

void check_match(const DataSettings& s, const Dataset& train, const Dataset& other, const std::string& name) {
  check(train.image_shape() == other.image_shape(), "[data] ", data_dir(s).string(), ": expected ", name,
        " images of the training images' shape, ", train.image_shape(), ", got ", other.image_shape());
  check(train.class_names() == other.class_names(), "[data] ", data_dir(s).string(),
        ": expected the same classes in train and ", name, ", got ", train.classes(), " and ", other.classes(),
        " or other names");
}

}  // namespace

DataSets open_data_sets(const DataSettings& s) {
  DataSets sets = open(s);
  check_match(s, *sets.train, *sets.test, "test");
  for (const DataSplit& split : sets.splits) check_match(s, *sets.train, *split.data, split.name);
  return sets;
}

void check_data(const DataSettings& d) {
  std::vector<std::string> names = {"fashion-mnist", "mnist", "cifar10", "cifar100", "pack"};
  names.insert(names.end(), image_file_sets().begin(), image_file_sets().end());
  one_of("data.name", d.name, names);
  check_image_settings(d);
  one_of("data.imb_type", d.imb_type, {"none", "exp", "step"});
  one_of("data.noise_type", d.noise_type, {"none", "symmetric", "asymmetric", "matrix"});
  one_of("data.sampler", d.sampler, {"shuffle", "class-balanced"});
  if (!(d.imb_factor > 0 && d.imb_factor <= 1))
    usage("data.imb_factor: expected a number in (0, 1], got ", d.imb_factor);
  in_range("data.noise_rate", d.noise_rate, 0, 1, "[0, 1)");
  if (!(d.val_fraction >= 0 && d.val_fraction < 1))
    usage("data.val_fraction: expected a number in [0, 1), got ", d.val_fraction);
  at_least("data.n_max", static_cast<double>(d.n_max), 0);
  check_augmentation(d);
  count("data.workers", d.workers, 0, 1024);
  if ((d.noise_type == "matrix") == d.noise_matrix.empty())
    usage("data.noise_matrix: expected a file with data.noise_type = matrix, and only with it");
  if (d.noise_type == "matrix" && d.noise_rate != 0) usage("data.noise_rate: the rates are those of data.noise_matrix");
  if (d.mean.size() != d.stddev.size())
    usage("data.mean, data.std: expected as many of each, got ", d.mean.size(), " and ", d.stddev.size());
  const char* hint = "; statistics of pixels from 0 to 255 are to be divided by 255";
  for (const double m : d.mean)
    if (!(m >= 0 && m <= 1)) usage("data.mean: expected numbers in [0, 1], got ", m, hint);
  for (const double s : d.stddev)
    if (!(s > 0 && s <= 1)) usage("data.std: expected numbers in (0, 1], got ", s, s > 1 ? hint : "");
}

std::vector<std::string> data_warnings(const DataSettings& d) {
  std::vector<std::string> warnings;
  if (d.noise_type == "none" && d.noise_rate != 0)
    warnings.push_back(concat_text("data.noise_rate = ", d.noise_rate, " has no effect with data.noise_type = none"));
  if (d.imb_type == "none" && d.imb_factor != 1)
    warnings.push_back(concat_text("data.imb_factor = ", d.imb_factor, " has no effect with data.imb_type = none"));
  if (d.noise_type != "none" && d.noise_type != "matrix" && d.noise_rate == 0)
    warnings.push_back("data.noise_type = " + d.noise_type +
                       " changes no label with data.noise_rate = 0; give the rate");
  if (d.imb_type != "none" && d.imb_factor == 1)
    warnings.push_back("data.imb_type = " + d.imb_type +
                       " leaves all classes as large as the largest with data.imb_factor = 1; give the factor");
  const std::filesystem::path dir = d.dir;
  std::error_code ignored;
  const bool has_both =
      std::filesystem::is_directory(dir / "test", ignored) && std::filesystem::is_directory(dir / "val", ignored);
  if (d.name == "folder" && has_both && d.eval_splits.empty())
    warnings.push_back((dir / "val").string() +
                       R"( is not used; data.eval_splits=["val"] makes it choose the best epoch)");
  return warnings;
}

}  // namespace fulcrum::apps
