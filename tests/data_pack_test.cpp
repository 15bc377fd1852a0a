// Packs: what they hold, and what is refused.
#include <functional>
#include <iterator>

#include <fulcrum/core/serialize.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/pack.h>

#include "image_testing.h"

namespace fulcrum {
namespace {

using Ints = std::vector<int64_t>;
using Names = std::vector<std::string>;
using Pack = ImageData;

Bytes bytes_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(Pack, HoldsTheDataSet) {
  add_folders();
  ImageDataset data(list_image_folder(root() / "train"), {});
  data.set_labels(Ints(12, 0));  // noise is for training: a pack has the labels before it
  save_pack(root() / "a.pack", data, {.threads = 3});
  const PackDataset pack(root() / "a.pack");
  EXPECT_EQ(pack.size(), 12);
  EXPECT_EQ(pack.image_shape(), data.image_shape());
  EXPECT_EQ(pack.labels(), data.clean_labels());
  EXPECT_EQ(pack.class_names(), data.class_names());
  for (int64_t i = 0; i < 12; i++) EXPECT_EQ(pixels_of(pack, i), pixels_of(data, i)) << i;
  for (int workers : {0, 2}) EXPECT_EQ(batches_of(pack, workers), batches_of(data, 0));
  expect_error([&] { pixels_of(pack, 12); }, {"[pack] index 12 is outside [0, 12)"});
  // An ordinary safetensors file.
  const TensorFile file = load_tensors(root() / "a.pack");
  EXPECT_EQ(file.tensors.at("images").shape(), Shape({12, 4, 6, 3}));
  EXPECT_EQ(file.metadata.at("classes"), R"(["a b", "cat", "dog"])");
  EXPECT_FALSE(std::filesystem::exists(root() / "a.pack.tmp"));
}

TEST_F(Pack, ManyPiecesAndStrangeNames) {
  const int64_t n = 500;  // at 4 KB an image, two pieces
  Tensor images = empty({n, 36, 38, 3}, {.dtype = DType::kU8, .device = {}});
  Ints labels;
  for (int64_t i = 0; i < images.numel(); i++) images.data<uint8_t>()[i] = static_cast<uint8_t>(i * 7 / 5);
  for (int64_t i = 0; i < n; i++) labels.push_back(i % 2);
  const InMemoryDataset data(images, labels, {"\"quoted\" \\ \n", "ünï, [code]"});
  save_pack(root() / "b.pack", data);
  const PackDataset pack(root() / "b.pack");
  EXPECT_EQ(pack.class_names(), data.class_names());
  for (int64_t i = 0; i < n; i++) ASSERT_EQ(pixels_of(pack, i), pixels_of(data, i)) << i;
}

TEST_F(Pack, RefusesWhatIsNoPack) {
  save_pack(root() / "good.pack", small_dataset(6));
  const TensorFile good = load_tensors(root() / "good.pack");
  const auto with = [&](const std::function<void(TensorFile&)>& change, const Names& parts) {
    TensorFile file = good;
    change(file);
    save_tensors(root() / "bad.pack", file);
    expect_error([&] { PackDataset(root() / "bad.pack"); }, parts);
  };
  EXPECT_EQ(PackDataset(root() / "good.pack").size(), 6);
  with([](TensorFile& f) { f.metadata["version"] = "2"; },
       {"bad.pack: expected version 1 of the format", "got 2", "pack the data again"});
  with([](TensorFile& f) { f.metadata.erase("format"); }, {"expected metadata 'format'"});
  with([](TensorFile& f) { f.metadata["format"] = "pt"; }, {"'fulcrum-pack', got 'pt'"});
  with([](TensorFile& f) { f.metadata["classes"] = "[\"a\""; }, {"metadata 'classes'"});
  with([](TensorFile& f) { f.metadata["classes"] = "[]"; }, {"label"});
  with([](TensorFile& f) { f.metadata["classes"] = "[\"a\"]"; }, {"sample 1: expected a label in [0, 1), got 1"});
  with([](TensorFile& f) { f.tensors.erase("images"); }, {"expected a tensor images"});
  with(
      [](TensorFile& f) {
        f.tensors["images"] = zeros({6, 2, 3, 2});
      },
      {"tensor images: expected u8 of 4 dimensions, got f32"});
  with(
      [](TensorFile& f) {
        f.tensors["labels"] = from_vector({2}, Ints{0, 1});
      },
      {"expected a label for each of 6 images, got 2"});
  std::filesystem::resize_file(root() / "good.pack", 300);
  expect_error([&] { PackDataset(root() / "good.pack"); }, {"good.pack", "truncated?"});
  expect_error([&] { PackDataset(root() / "no.pack"); }, {"no.pack"});
}

// ---- shards ----

class PackShards : public Pack {
 protected:
  /// 11 images of 12 bytes, three a shard.
  void save(const std::string& name, uint8_t change = 0) {
    Tensor images = empty({11, 2, 3, 2}, {.dtype = DType::kU8, .device = {}});
    for (int64_t i = 0; i < images.numel(); i++) images.data<uint8_t>()[i] = static_cast<uint8_t>(3 * i + change);
    Ints labels;
    for (int64_t i = 0; i < 11; i++) labels.push_back(i % 4);
    const InMemoryDataset data(images, labels, numbered_class_names(4));
    paths_ = save_pack(root() / name, data, {.threads = 2, .shard_bytes = 40});
  }
  void expect_refused(const std::string& name, const Names& parts) {
    expect_error([&] { PackDataset(root() / name); }, parts);
  }
  std::vector<std::filesystem::path> paths_;
};

TEST_F(PackShards, HoldTheDataSetInTheirOrder) {
  save("train.pack");
  Names names;
  for (const auto& path : paths_) names.push_back(path.filename().string());
  EXPECT_EQ(names, (Names{"train-00000-of-00004.pack", "train-00001-of-00004.pack", "train-00002-of-00004.pack",
                          "train-00003-of-00004.pack"}));
  const PackDataset pack(root() / "train.pack");
  EXPECT_EQ(pack.shards(), 4);
  ASSERT_EQ(pack.size(), 11);
  EXPECT_EQ(pack.labels(), (Ints{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2}));
  for (int64_t i = 0; i < 11; i++)
    for (int64_t k = 0; k < 12; k++)
      ASSERT_EQ(pixels_of(pack, i)[static_cast<size_t>(k)], static_cast<uint8_t>(3 * (12 * i + k))) << i << " " << k;
  EXPECT_EQ(batches_of(pack, 3), batches_of(pack, 0));
  expect_error([&] { pixels_of(pack, 11); }, {"[pack] index 11 is outside [0, 11)"});
  // Each shard is a pack by itself, as other programs see it.
  EXPECT_EQ(load_tensors(paths_[3]).tensors.at("images").shape(), Shape({2, 2, 3, 2}));
  EXPECT_EQ(load_tensors(paths_[3]).metadata.at("shard"), "3 of 4");
}

TEST_F(PackShards, AreTheSameFilesForTheSameData) {
  save("a.pack");
  const Bytes first = bytes_of_file(paths_[1]);
  save("a.pack");
  EXPECT_EQ(bytes_of_file(paths_[1]), first);
  save("a.pack", 1);
  EXPECT_NE(bytes_of_file(paths_[1]), first);
}

TEST_F(PackShards, TakeThePlaceOfAnEarlierPack) {
  const auto in_one = [&](const InMemoryDataset& data) { save_pack(root() / "a.pack", data); };
  in_one(small_dataset(6));
  save("a.pack");
  EXPECT_FALSE(std::filesystem::exists(root() / "a.pack"));
  EXPECT_EQ(PackDataset(root() / "a.pack").size(), 11);
  save_pack(root() / "a.pack", small_dataset(6), {.shard_bytes = 1});  // less than an image: one each
  EXPECT_EQ(PackDataset(root() / "a.pack").shards(), 6);
  EXPECT_FALSE(std::filesystem::exists(paths_[0]));
  in_one(small_dataset(6));
  EXPECT_EQ(PackDataset(root() / "a.pack").shards(), 1);
  save_pack(root() / "a.pack", small_dataset(6), {.shard_bytes = 1'000'000});
  EXPECT_TRUE(std::filesystem::exists(root() / "a.pack"));
}

TEST_F(PackShards, NameTheOneThatIsMissingDamagedOrOfAnotherSet) {
  save("other.pack", 7);
  const auto others = paths_;
  save("train.pack");
  const auto with = [&](size_t k, const std::function<void(const std::filesystem::path&)>& change, const Names& parts) {
    const auto beside = root() / "kept";
    std::filesystem::copy_file(paths_[k], beside);
    change(paths_[k]);
    expect_refused("train.pack", parts);
    std::filesystem::remove(paths_[k]);
    std::filesystem::rename(beside, paths_[k]);
    EXPECT_EQ(PackDataset(root() / "train.pack").size(), 11);
  };
  const auto overwrite = std::filesystem::copy_options::overwrite_existing;
  with(2, [](const auto& path) { std::filesystem::remove(path); },
       {"train-00002-of-00004.pack: expected the shards 0 to 3, this one is not there"});
  with(1, [](const auto& path) { std::filesystem::resize_file(path, 300); },
       {"train-00001-of-00004.pack", "truncated?"});
  with(3, [&](const auto& path) { std::filesystem::copy_file(others[3], path, overwrite); },
       {"train-00003-of-00004.pack: expected a shard of the data set ", ", as the first, got one of "});
  with(1, [&](const auto& path) { std::filesystem::copy_file(paths_[2], path, overwrite); },
       {"train-00001-of-00004.pack: expected shard 1 of 4 of a pack, got 2 of 4"});
  with(0, [&](const auto& path) { save_pack(path, small_dataset(3)); },
       {"train-00000-of-00004.pack: expected shard 0 of 4 of a pack, got a pack in one file"});
  std::filesystem::copy_file(paths_[0], root() / "train-00004-of-00005.pack");
  expect_refused(
      "train.pack",
      {"train-00004-of-00005.pack: expected shards of one pack, got this one of 5 beside train-00000-of-00004.pack"});
  std::filesystem::remove(root() / "train-00004-of-00005.pack");
  std::filesystem::copy_file(paths_[0], root() / "train-00007-of-00004.pack");
  expect_refused("train.pack", {"train-00007-of-00004.pack: expected the shards 0 to 3, got number 7"});
  std::filesystem::remove(root() / "train-00007-of-00004.pack");
  std::filesystem::copy_file(paths_[0], root() / "train.pack");
  expect_refused("train.pack", {"train.pack: expected one file or shards, got both", "train-00000-of-00004.pack"});
  std::filesystem::remove(root() / "train.pack");
  std::filesystem::copy_file(paths_[0], root() / "train-1-of-4.pack");  // not a name of ours
  EXPECT_EQ(PackDataset(root() / "train.pack").size(), 11);
}

TEST_F(PackShards, AFailureLeavesTheOldOnes) {
  save("a.pack");
  add_folders();
  const ImageDataset data(list_image_folder(root() / "train"), {});
  dir_.write("train/cat/2.png", "");
  expect_error([&] { save_pack(root() / "a.pack", data, {.shard_bytes = 100}); }, {"train/cat/2.png"});
  EXPECT_EQ(PackDataset(root() / "a.pack").size(), 11);
  for (const auto& entry : std::filesystem::directory_iterator(root()))
    EXPECT_NE(entry.path().extension(), ".tmp") << entry;
  expect_error([&] { save_pack(root() / "b.pack", data, {.shard_bytes = -1}); },
               {"[pack] expected a shard size of 0 or more bytes, got -1"});
}

TEST_F(Pack, AFailureLeavesNoFile) {
  add_folders();
  const ImageDataset data(list_image_folder(root() / "train"), {});
  dir_.write("a.pack", "the old one");
  dir_.write("train/cat/2.png", "");
  expect_error([&] { save_pack(root() / "a.pack", data, {.threads = 2}); }, {"train/cat/2.png"});
  EXPECT_EQ(std::filesystem::file_size(root() / "a.pack"), 11u);
  EXPECT_FALSE(std::filesystem::exists(root() / "a.pack.tmp"));
  expect_error([&] { save_pack(root() / "no/a.pack", data); }, {"no/a.pack.tmp: cannot create"});
}

}  // namespace
}  // namespace fulcrum
