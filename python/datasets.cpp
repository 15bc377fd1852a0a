// Data sets: the base class, those in memory, packs, and functions on their labels.
#include "bindings.h"

#include <nanobind/trampoline.h>

#include <fulcrum/data/cifar.h>
#include <fulcrum/data/idx.h>
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/noise.h>
#include <fulcrum/data/pack.h>

namespace fulcrum::python {

namespace {

using Indices = std::vector<int64_t>;
using Labels = nb::typed<nb::tuple, int64_t, nb::ellipsis>;
using OptionalIndices = std::optional<Indices>;
using Path = std::filesystem::path;

// The image of sample `index`, u8 [H, W, C].
Tensor read_image(const Dataset& dataset, int64_t index) {
  check(index >= 0 && index < dataset.size(), "[data] expected a sample in [0, ", dataset.size(), "), got ", index);
  Tensor image = empty(dataset.image_shape(), {DType::kU8, {}});
  dataset.read(index, image.data<uint8_t>());
  return image;
}

// An immutable copy: writes to it would not reach the data set.
Labels labels_of(const Indices& labels) {
  nb::list all;
  for (const int64_t label : labels) all.append(label);
  return Labels(nb::tuple(all));
}

void bind_dataset(nb::module_& m) {
  nb::class_<Dataset>(m, "Dataset", "Images of one shape with a label each.")
      .def("__len__", &Dataset::size)
      .def(
          "__getitem__",
          [](const Dataset& dataset, int64_t index) {
            if (index >= dataset.size()) throw nb::index_error("no such sample");  // ends a for loop
            return std::make_pair(read_image(dataset, index), dataset.labels()[static_cast<size_t>(index)]);
          },
          "index"_a, "(image u8 [H, W, C], label) of a sample.")
      .def_prop_ro(
          "image_shape", [](const Dataset& dataset) { return shape_tuple(dataset.image_shape()); }, "(H, W, C).")
      .def_prop_ro("classes", &Dataset::classes, "The number of classes.")
      .def_prop_ro("class_names", &Dataset::class_names)
      .def_prop_rw(
          "labels", [](const Dataset& dataset) { return labels_of(dataset.labels()); },
          [](Dataset& dataset, Indices labels) { dataset.set_labels(std::move(labels)); },
          "The labels that training sees, noise included, as a tuple. Setting them keeps the original ones as "
          "clean_labels.")
      .def_prop_ro("clean_labels", [](const Dataset& dataset) { return labels_of(dataset.clean_labels()); })
      .def_prop_rw(
          "groups", [](const Dataset& dataset) { return labels_of(dataset.groups()); },
          [](Dataset& dataset, Indices groups) { dataset.set_groups(std::move(groups)); },
          "The group of each sample, as a tuple, for risks over groups; the labels unless set.")
      .def_prop_ro(
          "class_counts", [](const Dataset& dataset) { return class_counts(dataset.labels(), dataset.classes()); },
          "Number of samples of each class.");
  nb::class_<InMemoryDataset, Dataset>(m, "InMemoryDataset", "All images in one tensor.")
      .def(
          "__init__",
          [](InMemoryDataset* self, const Tensor& images, Indices labels, std::vector<std::string> names) {
            if (names.empty()) {
              int64_t classes = 0;
              for (const int64_t label : labels) classes = std::max(classes, label + 1);
              names = numbered_class_names(classes);
            }
            new (self) InMemoryDataset(images, std::move(labels), std::move(names));
          },
          "images"_a, "labels"_a, "class_names"_a = std::vector<std::string>(),
          "images: u8 [N, H, W, C] on the CPU, whose memory is shared; labels: one per image. Without class_names, "
          "the classes are '0', '1', … up to the largest label.")
      .def_prop_ro("images", &InMemoryDataset::images, "u8 [N, H, W, C].");
}

void bind_readers(nb::module_& m) {
  m.def(
      "load_fashion_mnist", [](const Path& dir, bool train) { return load_fashion_mnist(dir, train); },
      "dir"_a = kFashionMnistDir, "train"_a = true, Unlocked(),
      "Reads Fashion-MNIST from its IDX files, gzipped or plain.");
  m.def("load_mnist", &load_mnist, "dir"_a, "train"_a = true, Unlocked(),
        "Reads MNIST from its IDX files, gzipped or plain.");
  m.def("load_cifar10", &load_cifar10, "dir"_a, "train"_a = true, Unlocked(), "Reads the binary version of CIFAR-10.");
  m.def("load_cifar100", &load_cifar100, "dir"_a, "train"_a = true, Unlocked(),
        "Reads the binary version of CIFAR-100, with fine labels.");
  nb::class_<PackDataset, Dataset>(
      m, "PackDataset", "A data set in Fulcrum's pack format, in one file or in shards, read through memory maps.")
      .def(nb::init<const Path&>(), "path"_a)
      .def_prop_ro("shards", &PackDataset::shards);
  m.def(
      "save_pack",
      [](const Path& path, const Dataset& dataset, int threads, int64_t shard_bytes) {
        return save_pack(path, dataset, {threads, shard_bytes});
      },
      "path"_a, "dataset"_a, "threads"_a = 0, "shard_bytes"_a = 0, Unlocked(),
      "Writes every sample, decoded, with its clean label; returns the paths. shard_bytes: bytes of images per file "
      "(0: one file); threads: CPU threads (0: all cores).");
}

void bind_subsets(nb::module_& m) {
  m.def(
      "imbalanced_subset",
      [](const Indices& labels, int64_t classes, const std::string& type, double ratio, int64_t n_max, uint64_t seed) {
        return imbalanced_subset(labels, classes, {parse_imbalance(type), ratio, n_max, seed});
      },
      "labels"_a, "classes"_a, "type"_a = "exp", "ratio"_a = 0.01, "n_max"_a = 0, "seed"_a = 0,
      "Sorted indices of a long-tailed ('exp') or stepped ('step') subset. ratio, in (0, 1]: size of the smallest "
      "class over that of the largest; n_max: size of the largest class (0: all its samples).");
  m.def(
      "stratified_split",
      [](const Indices& labels, double fraction, uint64_t seed, const OptionalIndices& indices) {
        const Split split =
            indices ? stratified_split(labels, *indices, fraction, seed) : stratified_split(labels, fraction, seed);
        return std::make_pair(split.train, split.held_out);
      },
      "labels"_a, "fraction"_a, "seed"_a = 0, "indices"_a = nb::none(),
      "(train, held_out) indices; a fraction in (0, 1) of each class is held out.");
}

void bind_noise(nb::module_& m) {
  m.def("symmetric_noise", &symmetric_noise, "classes"_a, "rate"_a,
        "Transition matrix that spreads a share `rate` of each class evenly over the other classes.");
  m.def("asymmetric_cifar10_noise", &asymmetric_cifar10_noise, "rate"_a,
        "Transition matrix: truck → automobile, bird → airplane, cat ↔ dog, deer → horse, each at `rate` (Patrini et "
        "al. 2017).");
  m.def(
      "superclass_noise", [](const Indices& superclasses, double rate) { return superclass_noise(superclasses, rate); },
      "superclasses"_a, "rate"_a,
      "Transition matrix that moves a share `rate` of each class to the next class of its superclass.");
  m.def("cifar100_superclasses", &cifar100_superclasses, "The superclass, 0 to 19, of each of CIFAR-100's classes.");
  m.def(
      "add_label_noise",
      [](const Indices& labels, const TransitionMatrix& transition, uint64_t seed, const OptionalIndices& indices) {
        return indices ? add_label_noise(labels, *indices, transition, seed)
                       : add_label_noise(labels, transition, seed);
      },
      "labels"_a, "transition"_a, "seed"_a = 0, "indices"_a = nb::none(),
      "The noisy labels; transition[a][b] is the share of class a that gets label b, exactly.");
}

void bind_statistics(nb::module_& m) {
  m.def(
      "channel_statistics",
      [](const Dataset& dataset, const OptionalIndices& indices) {
        const ChannelStatistics s = indices ? channel_statistics(dataset, *indices) : channel_statistics(dataset);
        return std::make_pair(s.mean, s.stddev);
      },
      "dataset"_a, "indices"_a = nb::none(), Unlocked(), "(mean, stddev) of each channel, in units of pixel / 255.");
}

}  // namespace

void bind_datasets(nb::module_& m) {
  bind_dataset(m);
  bind_readers(m);
  bind_subsets(m);
  bind_noise(m);
  bind_statistics(m);
}

}  // namespace fulcrum::python
