// Image folders and list files: what is read, in which order, and what is refused.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <thread>

#include <fulcrum/core/serialize.h>
#include <fulcrum/data/file.h>
#include <fulcrum/data/file_cache.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/image_list.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/data/noise.h>
#include <fulcrum/data/pack.h>
#include <fulcrum/data/resize.h>

#include "image_testing.h"

namespace fulcrum {
namespace {

using Ints = std::vector<int64_t>;
using Names = std::vector<std::string>;

using ImageFolder = ImageData;
using ImageList = ImageData;

// It is in the list, and opening the data set fails.
void expect_refused(const ImageListing& listing, const Names& parts) {
  expect_error([&] { ImageDataset(listing, {}); }, parts);
  expect_problem(listing, parts);
}

// ---- folders ----

TEST_F(ImageFolder, ClassesAndFilesInTorchvisionsOrder) {
  for (const char* name : {"train/b/2.png", "train/b/10.png", "train/b/sub/1.png", "train/b-c/z.png",
                           "train/b/sub-2/0.PNG", "train/B/x.png", "train/a/deep/er/1.png"})
    add(name, ++seed_);
  dir_.write("train/b/notes.txt", "no image");
  dir_.write("train/readme.md", "beside the classes");
  const ImageListing listing = list_image_folder(root() / "train");
  EXPECT_EQ(listing.class_names, (Names{"B", "a", "b", "b-c"}));
  // As sorted(os.walk("b")) gives them: by folder, then by name.
  EXPECT_EQ(listing.paths,
            (Names{"B/x.png", "a/deep/er/1.png", "b/10.png", "b/2.png", "b/sub/1.png", "b/sub-2/0.PNG", "b-c/z.png"}));
  EXPECT_EQ(listing.labels, (Ints{0, 1, 2, 2, 2, 2, 3}));
  EXPECT_EQ(listing.problems, Names{});
}

TEST_F(ImageFolder, ReadsPixelsFromAnyThread) {
  add_folders();
  auto [train_listing, test_listing] = list_image_folders(root() / "");
  const ImageDataset train(train_listing, {}), test(test_listing, {.channels = 1});
  EXPECT_EQ(train.size(), 12);
  EXPECT_EQ(train.image_shape(), Shape({4, 6, 3}));
  EXPECT_EQ(test.image_shape(), Shape({4, 6, 1}));
  EXPECT_EQ(train.class_names(), (Names{"a b", "cat", "dog"}));
  EXPECT_EQ(train.paths()[4], "train/cat/0.png");
  EXPECT_FALSE(train.images());
  EXPECT_EQ(pixels_of(train, 4), image_of(4, 6, 5).pixels);  // cat was written after dog
  EXPECT_EQ(pixels_of(test, 0), decode_image(png_file(image_of(4, 6, 21)), {.channels = 1}, "").pixels);
  EXPECT_EQ(train.identity(4), concat_text("train/cat/0.png:", png_file(image_of(4, 6, 5)).size()));
}

TEST_F(ImageFolder, ValStandsInForTestAndLinksAreFollowed) {
  add_folders();
  std::filesystem::rename(root() / "test", root() / "elsewhere");
  expect_error([&] { list_image_folders(root()); }, {"expected a folder test or val"});
  std::filesystem::create_directory_symlink(root() / "elsewhere", root() / "val");
  EXPECT_EQ(list_image_folders(root()).second.paths.size(), 12u);
  EXPECT_EQ(list_image_folders(root()).second.paths[0], "val/a b/0.png");
}

TEST_F(ImageFolder, LayoutsThatAreWrong) {
  add_folders();
  expect_error([&] { list_image_folder(root() / "no"); }, {"/no: expected a folder", "there is none"});
  dir_.write("file", "");
  expect_error([&] { list_image_folder(root() / "file"); }, {"got a file"});
  std::filesystem::create_directories(root() / "empty");
  expect_refused(list_image_folder(root() / "empty"), {"/empty: expected a folder for each class"});
  std::filesystem::create_directories(root() / "train/eel/deep");
  expect_refused(list_image_folder(root() / "train"), {"train/eel: expected images of class 'eel', got none"});
  expect_refused(list_image_folders(root()).second, {"/test: expected the classes of", "missing: 'eel'"});
  std::filesystem::remove_all(root() / "train/eel");
  add("test/fox/1.png", 1);
  expect_refused(list_image_folders(root()).second, {"not in train: 'fox'"});
  dir_.write("train/cat/9.WebP", "RIFF");
  expect_refused(list_image_folder(root() / "train"), {"cat/9.WebP: expected .jpg, .jpeg or .png"});
}

TEST_F(ImageFolder, SizesMustAgreeOrBeMadeToAgree) {
  add_folders();
  add("train/cat/1.png", 50, 8, 5);
  add("train/dog/0.png", 51, 9, 9);
  const ImageListing listing = list_image_folder(root() / "train");
  // The first in the order of the list, whatever the threads do.
  for (int threads : {1, 4})
    expect_error([&] { ImageDataset(listing, {.threads = threads}); },
                 {"cat/1.png: expected 4x6 (height x width)", "got 8x5", "data.image_size"});
  const ImageDataset data(listing, {.image_size = 3});
  EXPECT_EQ(data.image_shape(), Shape({3, 3, 3}));
  EXPECT_EQ(pixels_of(data, 5), center_crop(resize_shorter(image_of(8, 5, 50), 3), 3).pixels);
  expect_error([&] { ImageDataset(listing, {.channels = 4}); }, {"1 or 3 channels, got 4"});
  expect_error([&] { ImageDataset(listing, {.image_size = -1}); }, {"image_size of 0 to 16384"});
}

TEST_F(ImageFolder, BadImagesAreErrorsOrLeftOut) {
  add_folders();
  const ImageListing good = list_image_folder(root() / "train");
  Bytes cut = png_file(image_of(4, 6, 5));
  cut.resize(60);
  dir_.write("train/cat/0.png", cut);
  dir_.write("train/dog/3.png", "");
  dir_.write("train/dog/4.jpg", "not at all");
  const ImageListing listing = list_image_folder(root() / "train");
  expect_error([&] { ImageDataset(listing, {}); }, {"dog/3.png", "an empty one"});  // has no header
  const ImageDataset strict(listing, {.image_size = 4});
  expect_error([&] { pixels_of(strict, 4); }, {"train/cat/0.png: corrupt PNG"});
  const Loader loader(strict, {.batch_size = 3, .workers = 2});
  expect_error(
      [&] {
        for (const Batch& batch : loader.epoch(0)) EXPECT_LE(batch.size, 3);
      },
      {"train/cat/0.png: corrupt PNG"});
  for (int threads : {1, 3}) {
    const ImageDataset data(listing, {.skip_bad = true, .threads = threads});
    ASSERT_EQ(data.skipped().size(), 3u);
    EXPECT_EQ(data.skipped()[0].path, "cat/0.png");
    EXPECT_EQ(data.skipped()[0].index, 4);
    EXPECT_NE(data.skipped()[0].reason.find("corrupt PNG"), std::string::npos);
    EXPECT_EQ(data.skipped()[2].path, "dog/4.jpg");
    EXPECT_EQ(data.paths(), (Names{"a b/0.png", "a b/1.png", "a b/2.png", "a b/3.png", "cat/1.png", "cat/2.png",
                                   "cat/3.png", "dog/0.png", "dog/1.png", "dog/2.png"}));
    EXPECT_EQ(data.labels(), (Ints{0, 0, 0, 0, 1, 1, 1, 2, 2, 2}));
  }
  EXPECT_EQ(ImageDataset(good, {.skip_bad = true}).size(),
            10);  // 0.png and 3.png are bad there, too
  for (int i = 1; i < 4; i++) dir_.write(concat_text("train/cat/", i, ".png"), "");
  expect_error([&] { ImageDataset(list_image_folder(root() / "train"), {.skip_bad = true}); },
               {"class 'cat': none of its 4 images can be read"});
}

TEST_F(ImageFolder, FilesStayInMemoryOnceTheyAreRead) {
  add_folders();
  const ImageListing listing = list_image_folder(root() / "train");
  const ImageDataset keeps(listing, {}), reads(listing, {.cache_mb = 0});
  const std::vector<uint8_t> before = pixels_of(keeps, 9);
  EXPECT_EQ(pixels_of(reads, 9), before);
  std::filesystem::remove(root() / "train/dog/1.png");
  EXPECT_EQ(pixels_of(keeps, 9), before);
  expect_error([&] { pixels_of(reads, 9); }, {"dog/1.png: cannot open: No such file"});
  expect_error([&] { ImageDataset(listing, {.cache_mb = -1}); }, {"expected a cache_mb of 0 to", "got -1"});
}

TEST(FileCache, KeepsWhatFits) {
  const FileCache files(4, 10);
  int reads = 0;
  const auto get = [&](size_t index, const std::vector<uint8_t>& content) {
    const auto file = files.get(index, [&] { return reads++, std::span<const uint8_t>(content); });
    return std::vector<uint8_t>(file.begin(), file.end());
  };
  const std::vector<uint8_t> six(6, 1), five(5, 2), four(4, 3), none;
  for (int again = 0; again < 2; again++) {
    EXPECT_EQ(get(0, six), six);
    EXPECT_EQ(get(1, five), five);  // 4 are left
    EXPECT_EQ(get(2, four), four);
    EXPECT_EQ(get(3, none), none);
  }
  EXPECT_EQ(reads, 5);
  EXPECT_EQ(get(0, five), six);
}

// Under ThreadSanitizer, too (tests/threads).
TEST(FileCache, ThreadsMayAskForTheSameFileAtOnce) {
  const FileCache files(64, 64 * 100 / 2);
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&] {
      for (size_t i = 0; i < 640; i++) {
        const std::vector<uint8_t> content(100, static_cast<uint8_t>(i % 64));
        const auto file = files.get(i % 64, [&] { return std::span<const uint8_t>(content); });
        if (!std::ranges::equal(file, content)) wrong++;
      }
    });
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST_F(ImageFolder, FilesThatChangeAreNoticed) {
  add_folders();
  const ImageDataset data(list_image_folder(root() / "train"), {.cache_mb = 0});
  add("train/dog/1.png", 9, 5, 5);
  expect_error([&] { pixels_of(data, 9); }, {"dog/1.png: expected 4x6", "got 5x5"});
  std::filesystem::remove(root() / "train/dog/1.png");
  expect_error([&] { pixels_of(data, 9); }, {"dog/1.png: cannot open: No such file"});
  expect_error([&] { pixels_of(data, 12); }, {"index 12 is outside [0, 12)"});
}

TEST_F(ImageFolder, BatchesAreThoseOfTheSameDataInMemory) {
  add_folders();
  const ImageDataset data(list_image_folder(root() / "train"), {});
  Tensor images = empty({data.size(), 4, 6, 3}, {.dtype = DType::kU8, .device = {}});
  for (int64_t i = 0; i < data.size(); i++) data.read(i, images.data<uint8_t>() + i * 72);
  const InMemoryDataset memory(images, data.labels(), data.class_names());
  for (int workers : {0, 1, 3}) EXPECT_EQ(batches_of(data, workers), batches_of(memory, 0));
  const ChannelStatistics a = channel_statistics(data), b = channel_statistics(memory);
  EXPECT_EQ(a.mean, b.mean);
  EXPECT_EQ(a.stddev, b.stddev);
}

TEST_F(ImageFolder, RandomPartsDependOnTheSeedAndNotOnTheWorkers) {
  add_folders();
  add("train/cat/1.png", 50, 12, 9);
  const ImageDataset data(list_image_folder(root() / "train"), {.image_size = 4});
  const auto batches = [&](int workers, uint64_t seed, int64_t epoch, ResizedCropOptions crop) {
    const Loader loader(data, {.batch_size = 5, .augment = {.seed = seed}, .resized_crop = crop, .workers = workers});
    std::vector<std::vector<double>> all;
    for (const Batch& batch : loader.epoch(epoch)) all.push_back(batch.images.to_vector());
    return all;
  };
  const auto first = batches(0, 1, 0, {});
  EXPECT_EQ(first, batches(3, 1, 0, {}));
  EXPECT_NE(first, batches(0, 2, 0, {}));
  EXPECT_NE(first, batches(0, 1, 1, {}));
  // The whole image of 4x6: nothing to choose, and its shape is not kept.
  const auto whole = batches(0, 1, 0, {1, 1, 1.5, 1.5});
  const Image squashed = resize(image_of(4, 6, 9), 4, 4);
  for (size_t i = 0; i < squashed.pixels.size(); i++)
    ASSERT_NEAR(whole[0][i], static_cast<double>(squashed.pixels[i]) / 255, 1e-6);
  expect_error([&] { batches(0, 1, 0, {0.5, 0.2, 1, 1}); }, {"[loader] expected a resized_crop with"});
  const InMemoryDataset memory = small_dataset(4);  // of an image in memory, too
  const Loader loader(memory, {.batch_size = 4, .resized_crop = ResizedCropOptions{1, 1, 1.5, 1.5}});
  for (const Batch& batch : loader.epoch(0)) EXPECT_NEAR(batch.images.to_vector()[13], 13.0 / 255, 1e-6);
}

TEST_F(ImageFolder, SquashAndResizeSize) {
  add("train/cat/1.png", 50, 12, 9);
  const ImageListing listing = list_image_folder(root() / "train");
  const Image original = image_of(12, 9, 50);
  EXPECT_EQ(pixels_of(ImageDataset(listing, {.image_size = 4, .squash = true}), 0), resize(original, 4, 4).pixels);
  EXPECT_EQ(pixels_of(ImageDataset(listing, {.image_size = 4, .resize_size = 6}), 0),
            center_crop(resize_shorter(original, 6), 4).pixels);
  expect_error([&] { ImageDataset(listing, {.image_size = 4, .resize_size = 3}); }, {"resize_size of image_size, 4"});
}

// ---- lists ----

TEST_F(ImageList, PathsMayHaveSpaces) {
  const auto list = dir_.write("list.txt", "a/1.png 2\nmy cat, 7 years.png\t0\r\n./a/2.png  1  \na/1.png 2\n");
  const ImageListing listing = list_image_list(root(), list);
  EXPECT_EQ(listing.problems, Names{});
  EXPECT_EQ(listing.paths, (Names{"a/1.png", "my cat, 7 years.png", "a/2.png", "a/1.png"}));
  EXPECT_EQ(listing.labels, (Ints{2, 0, 1, 2}));
  EXPECT_EQ(listing.class_names, (Names{"0", "1", "2"}));
}

TEST_F(ImageList, LinesThatAreWrong) {
  const std::pair<const char*, Names> cases[] = {
      {"a.png 0\nb.png\n", {"list.txt: line 2: expected 'path label', got 'b.png'"}},
      {"my cat.png\n", {"line 1: expected an integer label after the last space, got 'cat.png'"}},
      {"a.png 1.5\n", {"line 1", "got '1.5'"}},
      {"a.png 99999999999999999999\n", {"line 1: expected an integer label"}},
      {"a.png 7000000\n", {"line 1: expected a label in [0, 1048576), got 7000000"}},
      {"a.png -1\n", {"line 1: expected a label in [0, 1048576), got -1"}},
      {"a.png 0\n\nb.png 1\n", {"line 2: expected 'path label', got ''"}},
      {" 3\n", {"line 1: expected 'path label', got ' 3'"}},
      {"/etc/a.png 0\n", {"line 1: expected a path relative to", "got '/etc/a.png'"}},
      {"a/../../b.png 0\n", {"line 1: expected a path below", "got 'a/../../b.png'"}},
      {"a.png 0\nb.png 1\n./a.png 1\n", {"line 3: 'a.png' has label 1 here and 0 in line 1"}},
      {"", {"list.txt: expected lines 'path label', got none"}}};
  for (const auto& [text, parts] : cases) expect_refused(list_image_list(root(), dir_.write("list.txt", text)), parts);
  expect_error([&] { list_image_list(root(), root() / "no.txt"); }, {"[list]", "no.txt"});
  const ImageListing many = list_image_list(root(), dir_.write("list.txt", "a\nb\nc\n"));
  EXPECT_EQ(many.problems.size(), 3u);
  expect_error([&] { ImageDataset(many, {}); }, {"line 1", "and 2 more", "data check"});
}

// A wrong label may be why a class has no samples: the cause comes first.
TEST_F(ImageList, LinesComeBeforeTheClasses) {
  for (const char* bad : {"a.png -1", "a.png 5000000", "/a.png 0"}) {
    const auto list = dir_.write("list.txt", concat_text("b.png 1\n", bad, "\n"));
    const ImageListing listing = list_image_list(root(), list);
    ASSERT_EQ(listing.problems.size(), 2u) << bad;
    EXPECT_NE(listing.problems[0].find("line 2: expected a "), std::string::npos) << listing.problems[0];
    EXPECT_NE(listing.problems[1].find("got none of 0"), std::string::npos) << listing.problems[1];
  }
}

TEST_F(ImageList, ALineHasAtMostTheBytesThatItMayHave) {
  const std::string most(kMaxLineBytes, 'x'), more = most + "x";
  for (const std::string end : {"\n", "\r\n", ""}) {
    EXPECT_EQ(read_lines(dir_.write("list.txt", most + end), "list"), Names{most});
    expect_error([&] { read_lines(dir_.write("list.txt", more + end), "list"); },
                 {"list.txt: line 1: expected at most 65536 bytes, got more"});
  }
}

TEST_F(ImageList, ClassesAreThoseOfTheTrainingListOrOfTheNames) {
  const auto train = dir_.write("train.txt", "a.png 0\nb.png 2\n");
  const auto test = dir_.write("test.txt", "c.png 1\nd.png 3\n");
  const auto names = dir_.write("names.txt", "cat\ndog\neel\n");
  // A gap, unless the names say that there is such a class.
  expect_refused(list_image_lists(root(), train, test, "").first,
                 {"train.txt: expected samples of every class from 0 to the largest label, 2, got none of 1"});
  expect_refused(list_image_lists(root(), train, test, "").second,
                 {"test.txt: line 2: expected a label in [0, 3), got 3"});
  dir_.write("test.txt", "c.png 1\n");
  const auto [a, b] = list_image_lists(root(), train, test, names);
  EXPECT_EQ(a.class_names, (Names{"cat", "dog", "eel"}));
  EXPECT_EQ(b.class_names, a.class_names);
  EXPECT_EQ(a.problems, Names{});
  dir_.write("names.txt", "cat\ndog\n");
  expect_refused(list_image_lists(root(), train, test, names).first,
                 {"train.txt: line 2: expected a label in [0, 2), got 2"});
  dir_.write("names.txt", "cat\ndog\ncat\n");
  expect_refused(list_image_lists(root(), train, test, names).first,
                 {"names.txt: line 3: expected a class name that does not stand above, got 'cat'"});
  dir_.write("train.txt", "a.png 0\nb.png 30\n");
  expect_refused(list_image_list(root(), train), {"got none of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 19 more"});
}

TEST_F(ImageList, LinksStayBelowTheRootUnlessTheyAreFollowed) {
  namespace fs = std::filesystem;
  const TemporaryDirectory outside;
  outside.write("x.png", png_file(image_of(4, 6, 7)));
  add("in/x.png", 1);
  fs::create_directory_symlink(outside.path(), root() / "out");
  fs::create_directory_symlink(root() / "in", root() / "inner");
  fs::create_symlink(outside.path() / "x.png", root() / "link.png");
  fs::create_symlink(root() / "in/x.png", root() / "good.png");
  const auto list = dir_.write("list.txt", "inner/x.png 0\nout/x.png 1\nout/y.png 1\n");
  expect_refused(list_image_list(root(), list), {"list.txt: line 2: expected a path below", "got 'out/x.png'",
                                                 outside.path().filename(), "data.follow_links"});
  EXPECT_EQ(list_image_list(root(), list).problems.size(), 1u);  // once a folder
  EXPECT_EQ(list_image_list(root(), list, 0, /*follow_links=*/true).problems, Names{});
  // A file that is a link is noticed when it is read.
  const auto files = dir_.write("list.txt", "good.png 0\nlink.png 1\n");
  const ImageDataset data(list_image_list(root(), files), {.image_size = 4});
  EXPECT_EQ(pixels_of(data, 0).size(), 48u);
  expect_error([&] { pixels_of(data, 1); }, {"link.png: expected a file below", "got a link to"});
  const ImageDataset followed(list_image_list(root(), files, 0, true), {});
  EXPECT_EQ(pixels_of(followed, 1), image_of(4, 6, 7).pixels);
}

TEST_F(ImageList, LongListsTakeLittleMemory) {
  // Beside the paths themselves some bytes an entry, and never a line without an end.
  const auto line = dir_.write("list.txt", std::string(size_t{1} << 20, 'a'));
  expect_error([&] { list_image_list(root(), line); }, {"list.txt: line 1: expected at most 65536 bytes"});
  std::string text;
  for (int i = 0; i < 100'000; i++) text += concat_text("train/n0", i % 1000, "/n_", i, ".JPEG ", i % 1000, "\n");
  const ImageListing listing = list_image_list(root(), dir_.write("list.txt", text));
  EXPECT_EQ(listing.problems, Names{});
  EXPECT_EQ(listing.paths.size(), 100'000u);
  EXPECT_EQ(listing.class_names.size(), 1000u);
}

TEST_F(ImageList, ReadsWhatItLists) {
  add_folders();
  const auto list = dir_.write("list.txt", "train/dog/2.png 1\ntrain/a b/0.png 0\n");
  const ImageDataset data(list_image_list(root(), list), {});
  EXPECT_EQ(pixels_of(data, 0), image_of(4, 6, 3).pixels);
  EXPECT_EQ(pixels_of(data, 1), image_of(4, 6, 9).pixels);
  const auto missing = dir_.write("list.txt", "train/dog/2.png 1\ntrain/dog/no.png 0\n");
  expect_error([&] { ImageDataset(list_image_list(root(), missing), {}); },
               {"train/dog/no.png: cannot open: No such file"});
}

}  // namespace
}  // namespace fulcrum
