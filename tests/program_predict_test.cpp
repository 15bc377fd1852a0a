// fulcrum predict, and what fulcrum export refuses; the files that it writes are run by tests/exchange.
#include <fulcrum/core/ops.h>
#include <fulcrum/layers/layers.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/layers/onnx.h>

#include "image_testing.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

// A run on a folder of two classes, images of which are larger than what the network sees.
class ProgramPredict : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
#ifdef FULCRUM_WITH_PNG
    dir_ = new TempDir;
    for (const char* part : {"train", "test"})
      for (const char* name : {"cat", "dog, wet"})
        for (uint64_t i = 0; i < (*part == 't' && part[1] == 'r' ? 24u : 6u); i++)
          write_image(concat_text("images/", part, "/", name, "/", 100 + i, ".png"),
                      2 * i + (*name == 'd') + (part[1] == 'e' ? 900 : 0));
    const Outcome run = run_program(train_flags(*dir_, "run",
                                                {"--dataset", "folder", "--data-dir", at("images"), "--set",
                                                 "data.image_size=12", "--set", "data.resize_size=14"}));
    ASSERT_EQ(run.code, 0) << run.err;
    const Outcome eval = run_program({"eval", at("run"), "--logits", at("logits")});
    ASSERT_EQ(eval.code, 0) << eval.err;
    probabilities_ = new Tensor(softmax(load_tensors(at("logits")).tensors.at("logits")));
#endif
  }
  static void TearDownTestSuite() {
    delete probabilities_;
    delete dir_;
  }
  void SetUp() override {
#ifndef FULCRUM_WITH_PNG
    GTEST_SKIP() << "a build without libpng";
#endif
  }
  static std::string at(const std::string& name) { return (*dir_ / name).string(); }
  static void write_image(const std::string& path, uint64_t seed) {
    const Bytes file = png_file(image_of(20, 16, seed));
    write_text(fs::path(at(path)), {file.begin(), file.end()});
  }
  static Outcome predict(const Flags& more, const Flags& environment = {}) {
    Flags words = {"predict", at("run")};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words, {}, environment);
  }
  static std::vector<json> rows_of(const Outcome& outcome) {
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    std::vector<json> rows;
    std::istringstream in(outcome.out);
    for (std::string line; std::getline(in, line);) rows.push_back(json::parse(line));
    return rows;
  }
  static std::string test_image(const char* name, int i) {
    return at(concat_text("images/test/", name, "/", 100 + i, ".png"));
  }

  static inline TempDir* dir_ = nullptr;
  static inline Tensor* probabilities_ = nullptr;  // of the test set, as `eval` sees it
};

TEST_F(ProgramPredict, SaysWhatEvaluationSays) {
  const auto rows = rows_of(predict({at("images/test"), "-k", "2", "--format", "json"}));
  ASSERT_EQ(rows.size(), 12u);
  EXPECT_EQ(rows[0]["image"], test_image("cat", 0));
  for (size_t i = 0; i < rows.size(); i++) {
    const json& top = rows[i]["predictions"];
    ASSERT_EQ(top.size(), 2u);
    EXPECT_GE(top[0]["probability"], top[1]["probability"]);
    for (const json& p : top) {
      EXPECT_EQ(p["label"], p["index"] == 0 ? "cat" : "dog, wet");
      const double expected = probabilities_->to_vector()[i * 2 + p["index"].get<size_t>()];
      EXPECT_NEAR(p["probability"].get<double>(), expected, 1e-5) << rows[i];
    }
  }
}

TEST_F(ProgramPredict, ColumnsCountCharactersNotBytes) {
  for (const char* name : {"columns/üöä.png", "columns/abc.png"}) write_image(name, 5);
  const Outcome got = predict({at("columns")});
  std::istringstream lines(got.out);
  std::string a, b;
  std::getline(lines, a);
  std::getline(lines, b);
  EXPECT_EQ(a.find(" % "), b.find(" % ") - 3) << got.out;  // three letters of two bytes
}

TEST_F(ProgramPredict, FromAFileAloneWithoutTheDataSet) {
  fs::copy_file(at("run/best.safetensors"), at("model.safetensors"));
  const std::string image = test_image("cat", 1);
  const auto alone = rows_of(
      run_program({"predict", at("model.safetensors"), image, "--format", "json", "--data-dir", at("nowhere")}));
  EXPECT_EQ(alone, rows_of(predict({image, "--format", "json"})));
}

TEST_F(ProgramPredict, FromAFileOfAnotherProgramWithSettings) {
  TensorFile file = load_tensors(at("run/best.safetensors"));
  const json inputs = json::parse(file.metadata.at("inputs"));
  save_tensors(at("bare.safetensors"), {file.tensors, {}});
  const std::string image = test_image("dog, wet", 3);
  const Flags flags = {"predict",
                       at("bare.safetensors"),
                       image,
                       "--format",
                       "json",
                       "-k",
                       "2",
                       "--model",
                       "resnet8",
                       "--dataset",
                       "folder",
                       "--set",
                       "data.image_size=12",
                       "--set",
                       "data.resize_size=14",
                       "--set",
                       "data.mean=" + inputs["mean"].dump(),
                       "--set",
                       "data.std=" + inputs["std"].dump()};
  const auto bare = rows_of(run_program(flags)), named = rows_of(predict({image, "--format", "json", "-k", "2"}));
  ASSERT_EQ(bare.size(), 1u);
  for (size_t i = 0; i < 2; i++) {
    const json &x = bare[0]["predictions"][i], &y = named[0]["predictions"][i];
    EXPECT_EQ(x["label"], std::to_string(y["index"].get<int>()));
    EXPECT_EQ(x["probability"], y["probability"]);
  }
  file.metadata["inputs"] = "{\"shape\": [12, 12, 3], \"mean\": [0.5], \"std\": [0.5], \"classes\": [\"cat\"]}";
  file.metadata.erase("checksum");
  save_tensors(at("nonsense.safetensors"), file);
  expect_refused(run_program({"predict", at("nonsense.safetensors"), image}), 1,
                 {"nonsense.safetensors: metadata 'inputs': expected a mean and a std for each of 3 channels"});
}

TEST_F(ProgramPredict, FilesFoldersAndLists) {
  const std::string a = test_image("cat", 0), b = test_image("dog, wet", 0);
  write_text(fs::path(at("list.txt")), b + "\r\n\n" + at("images/test/cat\n"));
  const auto rows = rows_of(predict({a, "--list", at("list.txt"), "--format", "json"}));
  ASSERT_EQ(rows.size(), 8u);
  EXPECT_EQ(rows[0]["image"], a);
  EXPECT_EQ(rows[1]["image"], b);
  EXPECT_EQ(rows[2], rows[0]);
}

TEST_F(ProgramPredict, Formats) {
  const std::string image = test_image("dog, wet", 2);
  const Outcome csv = predict({image, "--format", "csv", "-k", "2"});
  EXPECT_EQ(csv.out.substr(0, csv.out.find('\n')), "image,rank,label,index,probability");
  EXPECT_NE(csv.out.find("\"" + image + "\",1,"), std::string::npos) << csv.out;
  EXPECT_NE(csv.out.find(",\"dog, wet\",1,"), std::string::npos) << csv.out;
  EXPECT_NE(csv.out.find(",cat,0,"), std::string::npos) << csv.out;
  const Outcome text = predict({image});
  EXPECT_EQ(text.out.find(image + "  "), 0u);
  EXPECT_NE(text.out.find(" % "), std::string::npos);
}

TEST_F(ProgramPredict, BadImages) {
  const std::string good = test_image("cat", 0), bad = at("bad.png");
  write_text(fs::path(bad), read_text(good).substr(0, 200));
  const Outcome named = predict({bad, "--format", "json"});
  expect_refused(named, 1, {"bad.png"});
  const Outcome skipped = predict({good, bad, good, "--format", "json", "--skip"});
  EXPECT_EQ(rows_of(skipped).size(), 2u);
  EXPECT_NE(skipped.err.find("left out 1 of 3 images"), std::string::npos) << skipped.err;
  EXPECT_NE(skipped.err.find("bad.png"), std::string::npos) << skipped.err;
  expect_refused(predict({bad, "--skip"}), 1, {"none of 1 images can be read"});
}

TEST_F(ProgramPredict, Refusals) {
  expect_refused(predict({"--list", "/proc/self/mem"}), 1, {"/proc/self/mem: cannot read the list of images"});
  fs::create_directory(at("empty"));
  const std::string image = test_image("cat", 0);
  expect_refused(predict({}), 2, {"predict: expected images: files, folders, or --list FILE"});
  expect_refused(predict({image, "-k", "3"}), 2, {"--top: expected at most 2, the classes of", "got 3"});
  expect_refused(predict({image, "-k", "0"}), 2, {"--top"});
  expect_refused(predict({image, "--format", "xml"}), 2, {"--format"});
  expect_refused(predict({at("empty")}), 1, {"empty: expected .jpg, .jpeg or .png files in it, got none"});
  expect_refused(predict({at("nothing.png")}), 1, {"nothing.png"});
  expect_refused(predict({"--list", at("no-list")}), 1, {"no-list: cannot open the list of images"});
}

TEST_F(ProgramPredict, ExportRefusals) {
  expect_refused(run_program({"export", at("run")}), 2, {"--onnx"});
  expect_refused(run_program({"export", at("run"), "--onnx", at("no/folder.onnx")}), 1, {"folder.onnx"});
}

// ---- export_onnx, without the program ----

TEST(Onnx, EveryModelOfTheProgramCanBeExported) {
  const TempDir dir;
  for (const std::string& name : model_names()) {
    if (name == "resnet101" || name == "resnet152") continue;  // resnet50 with more blocks
    const auto model = make_model(name);
    const OnnxSummary made = export_onnx(*model, dir / name, {.image = {32, 32, 3}});
    EXPECT_GE(made.parameters, model->num_parameters()) << name;
    EXPECT_TRUE(model->training());
  }
}

// A network that recomputes has the same ops.
TEST(Onnx, ANetworkThatRecomputesGivesTheSameFile) {
  const TempDir dir;
  for (const bool recompute : {false, true})
    export_onnx(*make_model("resnet8", {.seed = 1, .recompute = recompute}), dir / (recompute ? "again" : "kept"),
                {.image = {32, 32, 3}});
  EXPECT_EQ(read_text(dir / "again"), read_text(dir / "kept"));
}

// Operator set 17 has no Gelu: it becomes what it is made of.
TEST(Onnx, ExportsBothFormsOfGelu) {
  const TempDir dir;
  const auto file_of = [&](GeluApproximation approximate) {
    Sequential net;
    net.append<Flatten>();
    net.append<Linear>(LinearOptions{.in = 12, .out = 5});
    net.append<GELU>(GELUOptions{approximate});
    EXPECT_EQ(export_onnx(net, dir / "gelu.onnx", {.image = {2, 2, 3}}).parameters, 65);
    return read_text(dir / "gelu.onnx");
  };
  EXPECT_NE(file_of(GeluApproximation::kNone).find("Erf"), std::string::npos);
  EXPECT_NE(file_of(GeluApproximation::kTanh).find("Tanh"), std::string::npos);
}

class Unexportable : public Module {
 public:
  Tensor forward(const Tensor& x) override { return slice(x, 1, 0, 1); }
};

// Ends in an op that the file cannot hold as it lies in memory.
struct EndsIn : public Module {
  explicit EndsIn(std::function<Tensor(const Tensor&)> f) : f_(std::move(f)) {}
  Tensor forward(const Tensor& x) override { return f_(x); }
  std::function<Tensor(const Tensor&)> f_;
};

// Without a graph there is nothing to record, and a copy comes from the images all the same.
TEST(Onnx, ACopyIsNoConstant) {
  const TempDir dir;
  EndsIn copies([](const Tensor& x) { return global_avg_pool2d(x.clone()); });
  EXPECT_EQ(export_onnx(copies, dir / "file", {.image = {4, 8, 3}}).parameters, 0);
  EXPECT_NE(read_text(dir / "file").find("Identity"), std::string::npos);
}

// The axis is that of [B, C, H, W].
TEST(Onnx, ConcatenatesChannelsPixelsAndFeatures) {
  const TempDir dir;
  const auto axis_of = [&](int dim) {
    EndsIn joins([dim](const Tensor& x) { return global_avg_pool2d(concat({relu(x), x}, dim)); });
    export_onnx(joins, dir / "file", {.image = {4, 8, 3}});
    const std::string bytes = read_text(dir / "file"), name = "axis\x18";  // AttributeProto: name, then i = 3
    EXPECT_NE(bytes.find("Concat"), std::string::npos);
    const size_t at = bytes.find(name);
    return at == std::string::npos ? -1 : static_cast<int>(bytes[at + name.size()]);
  };
  EXPECT_EQ(axis_of(3), 1);
  EXPECT_EQ(axis_of(1), 2);
  EXPECT_EQ(axis_of(2), 3);
  EndsIn features([](const Tensor& x) {
    const Tensor mean = global_avg_pool2d(x);
    return concat({mean, relu(mean), mean}, 1);
  });
  EXPECT_EQ(export_onnx(features, dir / "file", {.image = {4, 8, 3}}).parameters, 0);
  EndsIn constant([](const Tensor& x) { return concat({global_avg_pool2d(x), zeros({1, 2})}, 1); });
  EXPECT_ERROR(export_onnx(constant, dir / "file", {.image = {4, 8, 3}}),
               "[onnx] cannot export 'concat' with a constant [1, 2]");
}

TEST(Onnx, RefusesWhatWouldMixUpChannelsAndPixels) {
  const TempDir dir;
  EndsIn images([](const Tensor& x) { return reshape(x, {x.size(0), 2, 8, 6}); });
  EXPECT_ERROR(export_onnx(images, dir / "file", {.image = {4, 8, 3}}),
               "[onnx] cannot export a reshape of [1, 4, 8, 3] to [1, 2, 8, 6]");
  EXPECT_TRUE(images.training());  // whatever happens
}

TEST(Onnx, NamesWhatItCannotExport) {
  const TempDir dir;
  Unexportable model;
  EXPECT_ERROR(export_onnx(model, dir / "file", {.image = {8, 8, 3}}),
               "[onnx] cannot export the op 'slice' on [1, 8, 8, 3]");
  EXPECT_FALSE(fs::exists(dir / "file"));
  const auto net = make_model("resnet8");
  EXPECT_ERROR(export_onnx(*net, dir / "file", {.image = {8, 8, 3}, .mean = {0.5}, .stddev = {0.2}}),
               "expected a mean and a std for each of 3 channels, got 1 and 1");
}

}  // namespace
}  // namespace fulcrum::testing
