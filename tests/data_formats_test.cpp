// IDX and CIFAR files made by hand, byte by byte, and the real Fashion-MNIST where it is installed.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cmath>

#include <fulcrum/data/cifar.h>
#include <fulcrum/data/file.h>
#include <fulcrum/data/idx.h>

#include "data_testing.h"

namespace fulcrum {
namespace {

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Two images of 2×3 with pixels 0 to 11, and their labels.
const Bytes kImages =
    Bytes{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3} + Bytes{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
const Bytes kLabels = {0, 0, 8, 1, 0, 0, 0, 2, 9, 4};

// kLabels as `printf … | gzip -n` writes it.
const Bytes kLabelsGz = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x63, 0x60, 0xe0, 0x60, 0x64,
                         0x60, 0x60, 0x60, 0xe2, 0x64, 0x01, 0x00, 0x49, 0xd3, 0x33, 0x43, 0x0a, 0x00, 0x00, 0x00};

Bytes first(const Bytes& bytes, size_t n) { return {bytes.begin(), bytes.begin() + static_cast<long>(n)}; }

Bytes with(Bytes bytes, size_t at, uint8_t value) {
  bytes[at] = value;
  return bytes;
}

TEST(Idx, ReadsImages) {
  const TemporaryDirectory dir;
  const Tensor images = load_idx_images(dir.write("images", kImages));
  EXPECT_EQ(images.shape(), Shape({2, 2, 3, 1}));
  EXPECT_EQ(images.dtype(), DType::kU8);
  EXPECT_EQ(images.to_vector(), (std::vector<double>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
}

TEST(Idx, ReadsLabelsPlainAndGzipped) {
  const TemporaryDirectory dir;
  const std::vector<int64_t> expected = {9, 4};
  EXPECT_EQ(load_idx_labels(dir.write("labels", kLabels)), expected);
#ifdef FULCRUM_WITH_ZLIB
  EXPECT_EQ(load_idx_labels(dir.write("labels.gz", kLabelsGz)), expected);
  // The content decides, not the name.
  EXPECT_EQ(load_idx_labels(dir.write("zipped", kLabelsGz)), expected);
  EXPECT_EQ(load_idx_labels(dir.write("plain.gz", kLabels)), expected);
#else
  expect_error([&] { load_idx_labels(dir.write("labels.gz", kLabelsGz)); },
               {"labels.gz", "is gzipped and this build has no zlib"});
#endif
}

TEST(Idx, RefusesBadHeaders) {
  const TemporaryDirectory dir;
  const auto images = [&](const Bytes& bytes) {
    return [&dir, bytes] { load_idx_images(dir.write("bad-images", bytes)); };
  };
  expect_error(images({}), {"[idx] ", "bad-images", "the file is empty, expected the magic number"});
  expect_error(images(kLabels), {"bad-images", "expected magic 0x00000803 (images) at byte 0", "got 0x00000801"});
  expect_error(images(first(kImages, 2)), {"truncated", "the magic number", "ends at byte 2"});
  expect_error(images(first(kImages, 14)),
               {"truncated: expected 4 bytes of the width from byte 12, the file ends at byte 14"});
  expect_error(images(with(kImages, 7, 0)), {"expected the number of images of at least 1 at byte 4, got 0"});
  expect_error(images(with(kImages, 15, 0)), {"expected the width of at least 1 at byte 12, got 0"});
  // Sizes that no memory holds are refused before any is asked for.
  expect_error(images(with(with(kImages, 4, 255), 8, 255)),
               {"truncated: the number of images at byte 4 is 4278190082"});
  expect_error([&] { load_idx_labels(dir.write("bad-labels", kImages)); },
               {"bad-labels", "expected magic 0x00000801 (labels) at byte 0, got 0x00000803"});
}

TEST(Idx, RefusesBadLengths) {
  const TemporaryDirectory dir;
  expect_error([&] { load_idx_images(dir.write("short", first(kImages, 27))); },
               {"short", "truncated: expected 12 bytes of pixels from byte 16", "ends at byte 27"});
  expect_error([&] { load_idx_images(dir.write("long", kImages + Bytes{1})); },
               {"long", "expected the end at byte 28, got more bytes"});
  expect_error([&] { load_idx_labels(dir.write("short", first(kLabels, 9))); },
               {"short", "truncated: expected 2 bytes of labels from byte 8", "ends at byte 9"});
  expect_error([&] { load_idx_labels(dir.write("long", kLabels + Bytes{1})); },
               {"long", "expected the end at byte 10, got more bytes"});
}

#ifdef FULCRUM_WITH_ZLIB
TEST(Idx, RefusesDamagedGzip) {
  const TemporaryDirectory dir;
  const auto labels = [&](const Bytes& bytes) {
    return [&dir, bytes] { load_idx_labels(dir.write("bad.gz", bytes)); };
  };
  expect_error(labels(with(kLabelsGz, kLabelsGz.size() - 8, 0)), {"bad.gz", "corrupt gzip data"});
  expect_error(labels(with(kLabelsGz, 12, 0xff)), {"bad.gz", "corrupt gzip data"});
  for (size_t n = 2; n < kLabelsGz.size(); n++) {
    SCOPED_TRACE(concat_text("the first ", n, " bytes"));
    expect_error(labels(first(kLabelsGz, n)), {"bad.gz", "truncated"});
  }
}
#endif

TEST(Idx, RefusesWhatIsNotAReadableFile) {
  const TemporaryDirectory dir;
  expect_error([&] { load_idx_labels(dir.path() / "none"); }, {"none: expected a file, there is none"});
  expect_error([&] { load_idx_labels(dir.path()); }, {"expected a file, got a directory"});
}

TEST(Idx, RefusesAFileThatMayNotBeRead) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read every file";
  const TemporaryDirectory dir;
  const auto path = dir.write("locked", kLabels);
  chmod(path.c_str(), 0);
  expect_error([&] { load_idx_labels(path); }, {"locked", "cannot be opened: Permission denied"});
}

TEST(FashionMnist, ReadsBothNamesAndTorchvisionsLayout) {
  const TemporaryDirectory dir;
  dir.write("FashionMNIST/raw/train-images-idx3-ubyte", kImages);
  dir.write("FashionMNIST/raw/train-labels-idx1-ubyte", kLabels);
  const InMemoryDataset train = load_fashion_mnist(dir.path(), true);
  EXPECT_EQ(train.size(), 2);
  EXPECT_EQ(train.image_shape(), Shape({2, 3, 1}));
  EXPECT_EQ(train.labels(), (std::vector<int64_t>{9, 4}));
  EXPECT_EQ(train.class_names()[9], "Ankle boot");
  std::array<uint8_t, 6> image;
  train.read(1, image.data());
  EXPECT_EQ(image, (std::array<uint8_t, 6>{6, 7, 8, 9, 10, 11}));
  expect_error([&] { train.read(2, image.data()); }, {"index 2 is outside [0, 2)"});

#ifdef FULCRUM_WITH_ZLIB
  dir.write("t10k-images-idx3-ubyte.gz", kImages);
  dir.write("t10k-labels-idx1-ubyte.gz", kLabelsGz);
  EXPECT_EQ(load_fashion_mnist(dir.path(), false).size(), 2);
#endif
  dir.write("MNIST/raw/t10k-images-idx3-ubyte", kImages);
  dir.write("MNIST/raw/t10k-labels-idx1-ubyte", kLabels);
  EXPECT_EQ(load_mnist(dir.path(), false).size(), 2);
  EXPECT_EQ(load_mnist(dir.path() / "MNIST/raw", false).size(), 2);
}

TEST(FashionMnist, SaysWhereItLookedAndHowToGetIt) {
  const TemporaryDirectory dir;
  expect_error(
      [&] { load_fashion_mnist(dir.path(), true); },
      {"[fashion-mnist] found no train-images-idx3-ubyte", (dir.path() / "train-images-idx3-ubyte.gz").string(),
       (dir.path() / "FashionMNIST/raw/train-images-idx3-ubyte").string(), "apt-get install dataset-fashion-mnist",
       "--data-dir"});
  dir.write("t10k-images-idx3-ubyte", kImages);
  expect_error([&] { load_fashion_mnist(dir.path(), false); }, {"found no t10k-labels-idx1-ubyte"});
}

TEST(FashionMnist, RefusesFilesThatDoNotBelongTogether) {
  const TemporaryDirectory dir;
  dir.write("train-images-idx3-ubyte", kImages);
  dir.write("train-labels-idx1-ubyte", with(kLabels, 9, 10));
  expect_error([&] { load_fashion_mnist(dir.path(), true); },
               {"train-labels-idx1-ubyte: sample 1: expected a label in [0, 10), got 10"});
  dir.write("train-labels-idx1-ubyte", with(first(kLabels, 9), 7, 1));
  expect_error([&] { load_fashion_mnist(dir.path(), true); },
               {"expected as many labels as images, got 2 images in ", "train-images-idx3-ubyte", "and 1 labels in ",
                "train-labels-idx1-ubyte"});
}

TEST(FashionMnist, TheRealOne) {
#ifndef FULCRUM_WITH_ZLIB
  GTEST_SKIP() << "this build reads no gzipped files (FULCRUM_ZLIB=OFF)";
#endif
  if (!std::filesystem::exists(kFashionMnistDir))
    GTEST_SKIP() << kFashionMnistDir << " is not installed (package dataset-fashion-mnist)";
  const InMemoryDataset train = load_fashion_mnist(kFashionMnistDir, true);
  const InMemoryDataset test = load_fashion_mnist(kFashionMnistDir, false);
  EXPECT_EQ(train.images().shape(), Shape({60000, 28, 28, 1}));
  EXPECT_EQ(test.images().shape(), Shape({10000, 28, 28, 1}));
  EXPECT_EQ(class_counts(train.labels(), 10), std::vector<int64_t>(10, 6000));
  EXPECT_EQ(class_counts(test.labels(), 10), std::vector<int64_t>(10, 1000));
  const ChannelStatistics got = channel_statistics(train), published = fashion_mnist_statistics();
  EXPECT_NEAR(got.mean[0], published.mean[0], 1e-4);
  EXPECT_NEAR(got.stddev[0], published.stddev[0], 1e-4);
}

// A CIFAR record: labels, then planes in which pixel i of channel c is 85·c + (i + salt) mod 85.
Bytes record(const Bytes& labels, int salt) {
  Bytes bytes = labels;
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < 1024; i++) bytes.push_back(static_cast<uint8_t>(85 * c + (i + salt) % 85));
  return bytes;
}

void expect_record(const Dataset& dataset, int64_t index, int salt) {
  Bytes image(3072);
  dataset.read(index, image.data());
  for (size_t i = 0; i < 1024; i++)
    for (size_t c = 0; c < 3; c++)
      ASSERT_EQ(image[3 * i + c], 85 * c + (i + static_cast<size_t>(salt)) % 85)
          << "image " << index << ", pixel " << i << ", channel " << c;
}

void write_cifar10(const TemporaryDirectory& dir, const std::string& prefix = "") {
  for (int f = 1; f <= 5; f++)
    dir.write(concat_text(prefix, "data_batch_", f, ".bin"),
              record({static_cast<uint8_t>(f)}, f) + (f == 2 ? record({9}, 20) : Bytes{}));
  dir.write(prefix + "test_batch.bin", record({3}, 7));
}

TEST(Cifar10, ReadsFixturesOfAnySize) {
  const TemporaryDirectory dir;
  write_cifar10(dir);
  const InMemoryDataset train = load_cifar10(dir.path(), true);
  EXPECT_EQ(train.images().shape(), Shape({6, 32, 32, 3}));
  EXPECT_EQ(train.labels(), (std::vector<int64_t>{1, 2, 9, 3, 4, 5}));
  expect_record(train, 0, 1);
  expect_record(train, 2, 20);
  expect_record(train, 5, 5);
  EXPECT_EQ(train.class_names()[9], "truck");
  const InMemoryDataset test = load_cifar10(dir.path(), false);
  EXPECT_EQ(test.labels(), (std::vector<int64_t>{3}));
  expect_record(test, 0, 7);
}

TEST(Cifar10, FindsTheDirectoryOfTheArchiveAndItsClassNames) {
  const TemporaryDirectory dir;
  write_cifar10(dir, "cifar-10-batches-bin/");
  dir.write("cifar-10-batches-bin/batches.meta.txt", std::string("a\r\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n"));
  const InMemoryDataset train = load_cifar10(dir.path(), true);
  EXPECT_EQ(train.class_names(), (std::vector<std::string>{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}));
  dir.write("cifar-10-batches-bin/batches.meta.txt", std::string("a\nb\n"));
  expect_error([&] { load_cifar10(dir.path(), true); },
               {"batches.meta.txt: expected 10 class names, one a line, got 2"});
}

TEST(Cifar10, RefusesDamagedFiles) {
  const TemporaryDirectory dir;
  const auto load = [&] { load_cifar10(dir.path(), true); };
  expect_error(load, {"[cifar10] found no data_batch_1.bin", dir.path().string(), "cifar-10-batches-bin",
                      "cs.toronto.edu/~kriz/cifar.html", "--data-dir"});
  write_cifar10(dir);
  dir.write("data_batch_3.bin", record({1}, 0) + first(record({2}, 0), 100));
  expect_error(load, {"data_batch_3.bin", "truncated", "expected a multiple of 3073 bytes, got 3173",
                      "record 1 at byte 3073 has 100 bytes"});
  dir.write("data_batch_3.bin", Bytes{});
  expect_error(load, {"data_batch_3.bin", "the file is empty"});
  dir.write("data_batch_3.bin", record({1}, 0) + record({10}, 0));
  expect_error(load, {"data_batch_3.bin", "record 1: expected a label in [0, 10), got 10"});
  std::filesystem::remove(dir.path() / "data_batch_3.bin");
  expect_error(load, {"data_batch_3.bin", "expected a file, there is none"});
}

TEST(Cifar100, ReadsFineLabels) {
  const TemporaryDirectory dir;
  dir.write("cifar-100-binary/train.bin", record({4, 0}, 1) + record({19, 99}, 2));
  dir.write("cifar-100-binary/test.bin", record({1, 1}, 3));
  const InMemoryDataset train = load_cifar100(dir.path(), true);
  EXPECT_EQ(train.classes(), 100);
  EXPECT_EQ(train.labels(), (std::vector<int64_t>{0, 99}));
  EXPECT_EQ(train.class_names()[17], "17");
  expect_record(train, 0, 1);
  expect_record(train, 1, 2);
  std::string names;
  for (int k = 0; k < 100; k++) names += concat_text("name", k, "\n");
  dir.write("cifar-100-binary/fine_label_names.txt", names);
  EXPECT_EQ(load_cifar100(dir.path(), false).class_names()[17], "name17");
}

TEST(Cifar100, RefusesDamagedFiles) {
  const TemporaryDirectory dir;
  const auto load = [&] { load_cifar100(dir.path(), false); };
  expect_error(load, {"[cifar100] found no test.bin", "cifar-100-binary"});
  dir.write("test.bin", record({1, 1}, 0) + record({20, 1}, 0));
  expect_error(load, {"test.bin", "record 1: expected a coarse label in [0, 20), got 20"});
  dir.write("test.bin", record({1, 100}, 0));
  expect_error(load, {"test.bin", "record 0: expected a label in [0, 100), got 100"});
  dir.write("test.bin", record({1}, 0));
  expect_error(load, {"expected a multiple of 3074 bytes, got 3073"});
}

TEST(Cifar100, SuperclassesHaveFiveClassesEach) {
  EXPECT_EQ(class_counts(cifar100_superclasses(), 20), std::vector<int64_t>(20, 5));
}

TEST(Dataset, RefusesBadLabelsAndShapes) {
  const Tensor images = zeros({2, 3, 3, 1}, {.dtype = DType::kU8, .device = {}});
  expect_error(
      [&] {
        InMemoryDataset(images, {0, 2}, {"a", "b"});
      },
      {"[dataset] sample 1: expected a label in [0, 2), got 2"});
  expect_error([&] { InMemoryDataset(images, {0, -1}, {"a", "b"}); }, {"sample 1", "got -1"});
  expect_error([&] { InMemoryDataset(images, {0}, {"a"}); }, {"one label for each of 2 images, got 1"});
  expect_error([&] { InMemoryDataset(images, {}, {"a"}); }, {"at least one sample"});
  expect_error([&] { InMemoryDataset(images, {0, 0}, {}); }, {"at least one class"});
  expect_error([&] { InMemoryDataset(zeros({2, 3, 3, 1}), {0, 0}, {"a"}); }, {"u8 [N, H, W, C]"});
  expect_error([&] { InMemoryDataset(Tensor(), {0, 0}, {"a"}); }, {"u8 [N, H, W, C]"});
}

TEST(Dataset, KeepsCleanLabelsAndGroups) {
  InMemoryDataset data = small_dataset(4);
  EXPECT_FALSE(data.has_noise());
  EXPECT_EQ(data.clean_labels(), data.labels());
  EXPECT_EQ(data.groups(), data.labels());
  const std::vector<int64_t> clean = data.labels(), one = {2}, three = {3};
  data.set_labels({1, 1, 1, 1});
  data.set_labels(one, three);
  EXPECT_TRUE(data.has_noise());
  EXPECT_EQ(data.labels(), (std::vector<int64_t>{1, 1, 3, 1}));
  EXPECT_EQ(data.clean_labels(), clean);
  data.set_groups({0, 1, 0, 9});
  EXPECT_EQ(data.groups(), (std::vector<int64_t>{0, 1, 0, 9}));
  expect_error([&] { data.set_labels({0, 1}); }, {"expected 4 labels, got 2"});
  expect_error([&] { data.set_labels({0, 1, 2, 4}); }, {"sample 3: expected a label in [0, 4), got 4"});
  expect_error([&] { data.set_labels(std::vector<int64_t>{4}, one); }, {"index 4 is outside [0, 4)"});
  expect_error([&] { data.set_labels(clean, one); }, {"a label for each of 4 indices, got 1"});
  expect_error([&] { data.set_groups({0}); }, {"expected 4 groups, got 1"});
  expect_error([&] { data.set_groups({0, 0, -2, 0}); }, {"sample 2: expected a group of 0 or more"});
}

TEST(Dataset, ChannelStatistics) {
  // Two pixels an image, two channels: channel 0 is 0, 51, 102, 153 and channel 1 is 255
  // throughout.
  Tensor images = from_vector({2, 1, 2, 2}, {0, 255, 51, 255, 102, 255, 153, 255}, {.dtype = DType::kU8, .device = {}});
  const InMemoryDataset data(images, {0, 0}, {"a"});
  const ChannelStatistics all = channel_statistics(data);
  EXPECT_NEAR(all.mean[0], 0.3, 1e-12);
  EXPECT_NEAR(all.stddev[0], 0.2 * std::sqrt(1.25), 1e-12);
  EXPECT_NEAR(all.mean[1], 1, 1e-12);
  EXPECT_NEAR(all.stddev[1], 0, 1e-12);
  EXPECT_NEAR(channel_statistics(data, std::vector<int64_t>{1}).mean[0], 0.5, 1e-12);
  expect_error([&] { channel_statistics(data, {}); }, {"at least one sample"});
}

}  // namespace
}  // namespace fulcrum
