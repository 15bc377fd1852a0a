// Packs: what they hold, and what is refused.
#include <functional>

#include <fulcrum/core/serialize.h>
#include <fulcrum/data/image_folder.h>
#include <fulcrum/data/pack.h>

#include "image_testing.h"

namespace fulcrum {
namespace {

using Ints = std::vector<int64_t>;
using Names = std::vector<std::string>;
using Pack = ImageData;

TEST_F(Pack, HoldsTheDataSet) {
  add_folders();
  ImageDataset data(list_image_folder(root() / "train"), {});
  data.set_labels(Ints(12, 0));  // noise is for training: a pack has the labels before it
  save_pack(root() / "a.pack", data, 3);
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
  for (int64_t i = 0; i < images.numel(); i++)
    images.data<uint8_t>()[i] = static_cast<uint8_t>(i * 7 / 5);
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
  with([](TensorFile& f) { f.metadata["classes"] = "[\"a\"]"; },
       {"sample 1: expected a label in [0, 1), got 1"});
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

TEST_F(Pack, AFailureLeavesNoFile) {
  add_folders();
  const ImageDataset data(list_image_folder(root() / "train"), {});
  dir_.write("a.pack", "the old one");
  dir_.write("train/cat/2.png", "");
  expect_error([&] { save_pack(root() / "a.pack", data, 2); }, {"train/cat/2.png"});
  EXPECT_EQ(std::filesystem::file_size(root() / "a.pack"), 11u);
  EXPECT_FALSE(std::filesystem::exists(root() / "a.pack.tmp"));
  expect_error([&] { save_pack(root() / "no/a.pack", data); }, {"no/a.pack.tmp: cannot create"});
}

}  // namespace
}  // namespace fulcrum
