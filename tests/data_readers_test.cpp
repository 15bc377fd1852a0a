// Readers of published annotations: Clothing1M, iNaturalist, iWildCam, Tiny ImageNet; on files in their formats.
#include <algorithm>

#include <fulcrum/data/clothing1m.h>
#include <fulcrum/data/csv.h>
#include <fulcrum/data/inaturalist.h>
#include <fulcrum/data/tiny_imagenet.h>
#include <fulcrum/data/wilds.h>

#include "data_testing.h"

namespace fulcrum {
namespace {

using Ints = std::vector<int64_t>;
using Names = std::vector<std::string>;

class Readers : public ::testing::Test {
 protected:
  const std::filesystem::path& root() const { return dir_.path(); }
  TemporaryDirectory dir_;
};
using Csv = Readers;
using Clothing1m = Readers;
using Inaturalist = Readers;
using Wilds = Readers;
using TinyImagenet = Readers;

// ---- CSV ----

TEST_F(Csv, FieldsMayBeQuoted) {
  const auto file = dir_.write(
      "a.csv", "\xEF\xBB\xBFname,y,\"the note\"\r\n\"a, b\",1,\r\n\n\"say \"\"x\"\"\",2,\"two\nlines\"\nc,3,x");
  CsvReader csv(file, "csv");
  EXPECT_EQ(csv.column("name"), 0u);
  const size_t note = csv.column("the note");
  ASSERT_TRUE(csv.next());
  EXPECT_EQ(csv[0], "a, b");
  EXPECT_EQ(csv[note], "");
  ASSERT_TRUE(csv.next());
  EXPECT_EQ(csv[0], "say \"x\"");
  EXPECT_EQ(csv[note], "two\nlines");
  EXPECT_EQ(csv.line(), 4);
  ASSERT_TRUE(csv.next());
  EXPECT_EQ(csv[0] + csv[1] + csv[2], "c3x");
  EXPECT_EQ(csv.line(), 6);
  EXPECT_FALSE(csv.next());
}

TEST_F(Csv, AnotherLetterThanTheByteOrderMarkIsKept) {
  for (const std::string name : {"\xEF\xBC\xA1", "\xEF", "ab"}) {  // a wide A, half a mark
    CsvReader csv(dir_.write("a.csv", name + ",b\n1,2\n"), "csv");
    EXPECT_EQ(csv.column(name), 0u);
    ASSERT_TRUE(csv.next());
    EXPECT_EQ(csv[0], "1");
  }
}

TEST_F(Csv, ACarriageReturnWithinQuotesIsKept) {
  CsvReader csv(dir_.write("a.csv", "a,b\r\n1,\"x\r\"\r\n2,\"y\"\r\n"), "csv");
  ASSERT_TRUE(csv.next());
  EXPECT_EQ(csv[1], "x\r");
  ASSERT_TRUE(csv.next());
  EXPECT_EQ(csv[1], "y");
}

TEST_F(Csv, WhatIsMalformedIsNamedWithItsLine) {
  const std::pair<const char*, Names> cases[] = {
      {"a,b\n1,\"2\"\r3\n", {"line 2: expected a comma after a closing quote"}},
      {"a,b\n1,2\n3\n", {"line 3: expected 2 fields, as the header has, got 1"}},
      {"a,b\n1,2,3\n", {"line 2: expected 2 fields", "got 3"}},
      {"a,b\n\"1,2\n3,4\n", {"line 2: expected a closing quote, got the end of the file"}},
      {"a,b\n\"1\"2,3\n", {"line 2: expected a comma after a closing quote"}},
      {"a,b\n1\"2\",3\n", {"line 2: expected quotes around a whole field"}},
      {"", {"expected a header of column names, got an empty file"}},
      {"a,c\n1,2\n", {"line 1: expected one column 'b', got 'a', 'c'"}},
      {"a,b,b\n1,2,3\n", {"line 1: expected one column 'b', got 'a', 'b', 'b'"}}};
  for (const auto& [text, parts] : cases)
    expect_error(
        [&, file = dir_.write("a.csv", text)] {
          CsvReader csv(file, "csv");
          for (csv.column("b"); csv.next();) EXPECT_EQ(csv[0].size(), 1u);
        },
        parts);
  expect_error([&] { CsvReader(root() / "no.csv", "csv"); }, {"[csv]", "no.csv: expected a file, there is none"});
}

// ---- Clothing1M ----

struct ClothingFiles {
  std::string keys = "images/0/00/a,1.jpg\nimages/1/b.jpg\nimages/0/00/c.jpg\n";
  std::string labels = "images/1/b.jpg 13\nimages/9/other.jpg 3\nimages/0/00/a,1.jpg 0\nimages/0/00/c.jpg 5\n";
  std::string names =
      "T-Shirt\nShirt\nKnitwear\nChiffon\nSweater\nHoodie\nWindbreaker\nJacket\nDowncoat\nSuit\n"
      "Shawl\nDress\nVest\nUnderwear\n";
  void write(const TemporaryDirectory& dir, const std::string& folder = "") const {
    dir.write(folder + "noisy_train_key_list.txt", keys);
    dir.write(folder + "noisy_label_kv.txt", labels);
    dir.write(folder + "clean_test_key_list.txt", "images/3/t.jpg\n");
    dir.write(folder + "clean_label_kv.txt", "images/1/b.jpg 12\nimages/3/t.jpg 1\n");
    dir.write(folder + "category_names_eng.txt", names);
  }
};

TEST_F(Clothing1m, JoinsKeysAndLabels) {
  for (const char* folder : {"", "annotations/"}) {
    const TemporaryDirectory dir;
    ClothingFiles().write(dir, folder);
    const ImageListing train = list_clothing1m(dir.path(), "noisy_train");
    EXPECT_EQ(train.problems, Names{});
    EXPECT_EQ(train.paths, (Names{"images/0/00/a,1.jpg", "images/1/b.jpg", "images/0/00/c.jpg"}));
    EXPECT_EQ(train.labels, (Ints{0, 13, 5}));
    EXPECT_EQ(train.class_names.size(), 14u);
    EXPECT_EQ(train.class_names[13], "Underwear");
    const ImageListing test = list_clothing1m(dir.path(), "clean_test");
    EXPECT_EQ(test.labels, Ints{1});
    EXPECT_EQ(test.class_names, train.class_names);
  }
}

TEST_F(Clothing1m, WhatIsWrong) {
  const auto expect = [&](const ClothingFiles& files, const Names& parts) {
    files.write(dir_);
    expect_problem(list_clothing1m(root(), "noisy_train"), parts);
  };
  const ClothingFiles good;
  expect(
      {good.keys + "images/2/d.jpg\n", good.labels, good.names},
      {"noisy_train_key_list.txt: line 4: expected a label in", "noisy_label_kv.txt, got none, of 'images/2/d.jpg'"});
  expect({good.keys + "images/1/b.jpg\n", good.labels, good.names},
         {"noisy_train_key_list.txt: line 4: 'images/1/b.jpg' has label 13 here and 13 in line 2"});
  expect({good.keys + "\n", good.labels, good.names}, {"key_list.txt: line 4: expected a key"});
  expect({good.keys + "../d.jpg\n", good.labels, good.names}, {"line 4: expected a path below", "'../d.jpg'"});
  expect({good.keys + "/d.jpg\n", good.labels, good.names}, {"line 4: expected a path relative to"});
  expect({"", good.labels, good.names}, {"key_list.txt: expected keys, one a line, got none"});
  expect({good.keys, good.labels + "images/2/d.jpg\n", good.names},
         {"noisy_label_kv.txt: line 5: expected 'key label', got 'images/2/d.jpg'"});
  expect({good.keys, good.labels + "images/2/d.jpg 14\n", good.names},
         {"noisy_label_kv.txt: line 5: expected a label in [0, 14), got '14'"});
  expect({good.keys, good.labels + "images/1/b.jpg 2\n", good.names},
         {"noisy_label_kv.txt: line 5: 'images/1/b.jpg' has label 2 here and 13 above"});
  expect({good.keys, good.labels, good.names + "Suit\n"}, {"category_names_eng.txt: line 15"});
  std::filesystem::remove(root() / "noisy_label_kv.txt");
  expect_error([&] { list_clothing1m(root(), "noisy_train"); },
               {"[clothing1m]", "noisy_label_kv.txt", "there is none"});
}

// ---- iNaturalist ----

const char* const kInfo = R"({"info": {"year": 2018, "images": [{"id": 1}]}, "licenses": [{"id": 0, "url": "x"}], )";

std::string inat(const std::string& images, const std::string& annotations,
                 const std::string& categories = R"({"id": 1, "name": "B b", "supercategory": "Aves"},
                                                    {"id": 0, "name": "A a", "supercategory": "Aves"})") {
  return concat_text(kInfo, R"("images": [)", images, R"(], "categories": [)", categories, R"(], "annotations": [)",
                     annotations, "]}");
}

const char* const kImages = R"({"id": 7, "width": 800, "height": 600, "file_name": "train_val2018/Aves/1/a.jpg",
                                "license": 0, "rights_holder": "\u00e9"},
                               {"id": 3, "file_name": "train_val2018/Aves/0/b.jpg", "extra": {"id": 99}})";
const char* const kAnnotations =
    R"({"id": 1, "image_id": 3, "category_id": 0}, {"id": 2, "image_id": 7, "category_id": 1})";

class InaturalistData : public Inaturalist {
 protected:
  void SetUp() override {
#ifndef FULCRUM_WITH_JSON
    GTEST_SKIP() << "a build without nlohmann-json";
#endif
    dir_.write("val.json", inat(kImages, kAnnotations));
  }
  ImageListing train(const std::string& text) const {
    return list_inaturalist(root(), dir_.write("train.json", text), root() / "val.json").first;
  }
};

TEST_F(InaturalistData, JoinsImagesAndAnnotations) {
  const auto [train, test] = list_inaturalist(root(), root() / "val.json", root() / "val.json");
  EXPECT_EQ(train.problems, Names{});
  EXPECT_EQ(train.paths, (Names{"train_val2018/Aves/1/a.jpg", "train_val2018/Aves/0/b.jpg"}));
  EXPECT_EQ(train.labels, (Ints{1, 0}));
  EXPECT_EQ(train.class_names, (Names{"A a", "B b"}));
  EXPECT_EQ(test.paths, train.paths);
  // Names that are not unique, as in the file of the competition, are of no use.
  const std::string same = R"({"id": 0, "name": "x"}, {"id": 1, "name": "x"})";
  EXPECT_EQ(this->train(inat(kImages, kAnnotations, same)).class_names, (Names{"0", "1"}));
}

TEST_F(InaturalistData, WhatIsWrong) {
  const std::string images = kImages, annotations = kAnnotations;
  const std::pair<std::string, Names> cases[] = {
      {inat(images + R"(, {"id": 8})", annotations), {"train.json: image 3: expected an integer 'id' and a string"}},
      {inat(images + R"(, {"id": 8, "file_name": "c.jpg"})", annotations),
       {"train.json: image 3: expected an annotation, got none, of 'c.jpg'"}},
      {inat(images + R"(, {"id": 7, "file_name": "c.jpg"})", annotations), {"got 7 twice, of", "'c.jpg'"}},
      {inat(images, annotations + R"(, {"image_id": 5, "category_id": 0})"),
       {"annotation 3: expected the id of an image, got image_id 5"}},
      {inat(images, annotations + R"(, {"image_id": 3, "category_id": 1})"),
       {"annotation 3: 'train_val2018/Aves/0/b.jpg' has category_id 1 here and 0 in another"}},
      {inat(images, annotations + R"(, {"image_id": 3})"), {"annotation 3: expected integers 'image_id'"}},
      {inat(R"({"id": 7, "file_name": "../a.jpg"})", R"({"image_id": 7, "category_id": 0})"),
       {"image 1: expected a path below"}},
      {inat(R"({"id": 7, "file_name": "a.jpg"})", R"({"image_id": 7, "category_id": 2})"),
       {"image 1: expected a label in [0, 2), got 2"}},
      {inat(R"({"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "./a.jpg"})",
            R"({"image_id": 7, "category_id": 0}, {"image_id": 8, "category_id": 0})"),
       {"image 2: 'a.jpg' has label 0 here and 0 in image 1"}},
      {inat("", ""), {"train.json: expected images, got none"}}};
  for (const auto& [text, parts] : cases) expect_problem(train(text), parts);
  const std::pair<std::string, Names> errors[] = {
      {"{\"images\": [\n{\"id\": }]}", {"train.json: expected JSON, got a parse error at line 2"}},
      {inat(images, annotations).substr(0, 300), {"train.json: expected JSON, got a parse error"}},
      {"[]", {"train.json: expected an object", "got an array"}},
      {R"({"images": [], "annotations": []})", {"train.json: expected a list 'categories', got none"}},
      {inat(images, annotations, R"({"id": 0}, {"id": 2})"),
       {"expected categories with the ids 0 to 1, each once, got 2 in place of 1"}},
      {inat(images, annotations, ""), {"expected categories, got none"}},
      {"", {"expected JSON"}},
      {"3", {"expected"}}};
  for (const auto& [text, parts] : errors) expect_error([&] { train(text); }, parts);
}

// ---- iWildCam ----

const char* const kHeader =
    "split,location_remapped,location,sequence_remapped,sequence,datetime,y,filename,image_id\n";
std::string row(const std::string& split, const std::string& filename, const std::string& y) {
  return split + ",12,287,4,\"a,b\",2013-07-02 08:30:12.000," + y + "," + filename + ",x\n";
}
std::string rows() {
  return row("train", "a.jpg", "0") + row("test", "b.jpg", "2") + row("train", "c.jpg", "1") +
         row("val", "d.jpg", "1") + row("id_val", "e.jpg", "0") + row("id_test", "f.jpg", "2");
}

TEST_F(Wilds, SplitsOfTheMetadata) {
  dir_.write("metadata.csv", kHeader + rows());
  auto parts = list_wilds(root(), {"train", "test", "id_test"});
  ASSERT_EQ(parts.size(), 3u);
  for (const ImageListing& part : parts) EXPECT_EQ(part.problems, Names{});
  EXPECT_EQ(parts[0].paths, (Names{"train/a.jpg", "train/c.jpg"}));
  EXPECT_EQ(parts[0].labels, (Ints{0, 1}));
  EXPECT_EQ(parts[1].paths, Names{"train/b.jpg"});
  EXPECT_EQ(parts[2].labels, Ints{2});
  EXPECT_EQ(parts[0].class_names, (Names{"0", "1", "2"}));
  dir_.write("categories.csv", "category_id,name,y\n372,empty,0\n3,\"tayassu, x\",1\n9,lynx,2\n8,unknown,99999\n");
  EXPECT_EQ(list_wilds(root(), {"train"})[0].class_names, (Names{"empty", "tayassu, x", "lynx"}));
}

TEST_F(Wilds, WhatIsWrong) {
  const std::pair<std::string, Names> cases[] = {
      {row("test2", "g.jpg", "0"),
       {"metadata.csv: line 8: expected a split train, val, test, id_val or id_test, got 'test2'"}},
      {row("train", "g.jpg", "x"), {"line 8: expected an integer y", "got 'x'"}},
      {row("train", "g.jpg", "-1"), {"line 8: expected an integer y in [0,", "got '-1'"}},
      {row("train", "g.jpg", "4"), {"expected rows of every class from 0 to the largest y, 4, got none of 3"}},
      {row("train", "../g.jpg", "0"), {"line 8: expected the name of a file in train/, got '../g.jpg'"}},
      {row("train", "/g.jpg", "0"), {"line 8: expected the name of a file in train/"}},
      {row("train", "", "0"), {"line 8: expected the name of a file in train/, got ''"}},
      {row("train", "a.jpg", "0"), {"line 8: 'train/a.jpg' has label 0 here and 0 in line 2"}}};
  for (const auto& [text, parts] : cases) {
    dir_.write("metadata.csv", kHeader + rows() + text);
    expect_problem(list_wilds(root(), {"train"})[0], parts);
  }
  dir_.write("metadata.csv", kHeader + row("train", "a.jpg", "0"));
  expect_problem(list_wilds(root(), {"train", "test"})[1], {"expected rows of the split 'test', got none"});
  dir_.write("metadata.csv", "split,filename\ntrain,a.jpg\n");
  expect_error([&] { list_wilds(root(), {"train"}); },
               {"[wilds]", "line 1: expected one column 'y', got 'split', 'filename'"});
  dir_.write("metadata.csv", kHeader + rows() + "train,a.jpg\n");
  expect_error([&] { list_wilds(root(), {"train"}); }, {"metadata.csv: line 8: expected 9 fields"});
}

// ---- Tiny ImageNet ----

TEST_F(TinyImagenet, FoldersAndAnnotations) {
  for (const char* path : {"train/n02/images/n02_0.JPEG", "train/n02/n02_boxes.txt", "train/n01/images/n01_0.JPEG",
                           "train/n01/images/n01_1.JPEG", "test/images/test_0.JPEG"})
    dir_.write(path, "");
  dir_.write("val/val_annotations.txt", "val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t0\t0\t1\t1\n");
  const auto [train, test] = list_tiny_imagenet(root());
  EXPECT_EQ(train.problems, Names{});
  EXPECT_EQ(train.class_names, (Names{"n01", "n02"}));
  EXPECT_EQ(train.labels, (Ints{0, 0, 1}));
  EXPECT_EQ(train.paths[2], "n02/images/n02_0.JPEG");
  EXPECT_EQ(test.problems, Names{});
  EXPECT_EQ(test.paths, (Names{"val/images/val_0.JPEG", "val/images/val_1.JPEG"}));
  EXPECT_EQ(test.labels, (Ints{1, 0}));
  EXPECT_EQ(test.class_names, train.class_names);
}

TEST_F(TinyImagenet, WhatIsWrong) {
  dir_.write("train/n01/images/n01_0.JPEG", "");
  const std::string good = "val_0.JPEG\tn01\t0\t1\t2\t3\n";
  const std::pair<std::string, Names> cases[] = {
      {"val_1.JPEG n01\n", {"val_annotations.txt: line 2: expected 'file<tab>class<tab>box', got 'val_1.JPEG n01'"}},
      {"val_1.JPEG\tn03\t0\n", {"line 2: expected a class of train, got 'n03'"}},
      {"../x.JPEG\tn01\t0\n", {"line 2: expected the name of a file in val/images, got '../x.JPEG'"}},
      {"val_0.JPEG\tn01\n", {"line 2: 'val/images/val_0.JPEG' has label 0 here and 0 in line 1"}}};
  for (const auto& [text, parts] : cases) {
    dir_.write("val/val_annotations.txt", good + text);
    expect_problem(list_tiny_imagenet(root()).second, parts);
  }
  dir_.write("val/val_annotations.txt", "");
  expect_problem(list_tiny_imagenet(root()).second, {"expected lines", "got none"});
  std::filesystem::remove(root() / "val/val_annotations.txt");
  expect_error([&] { list_tiny_imagenet(root()); }, {"[tiny_imagenet]", "val_annotations.txt", "there is none"});
}

}  // namespace
}  // namespace fulcrum
