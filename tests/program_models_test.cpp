// Models in the program: their sizes, and starting from weights that somebody trained.
#include <fulcrum/layers/imagenet_resnet.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/layers/resnet.h>

#include "apps/model_summary.h"
#include "apps/pretrained.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

using apps::layer_table;
using apps::LayerRow;
using apps::load_pretrained;

int64_t multiply_adds(Module& net, int64_t size) {
  int64_t total = 0;
  for (const LayerRow& row : layer_table(net, {1, size, size, 3})) total += row.multiply_adds;
  return total;
}

int64_t parameters(const char* name) { return make_model(name)->num_parameters(); }

// Summed by hand over its layers.
TEST(ModelSizes, TheCnnOfSceHasEightLayersWithWeights) {
  const auto net = make_model("sce_cnn");
  EXPECT_EQ(net->num_parameters(), 1'639'794);
  int64_t layers = 0;
  for (const NamedTensor& p : net->named_parameters()) layers += p.name.ends_with("weight") && p.tensor.dim() > 1;
  EXPECT_EQ(layers, 8);
  EXPECT_EQ(net->state_dict().at("fc1.0.weight").shape(), (Shape{256, 3136}));
  EXPECT_EQ(head_prefix(*net), "fc2.");
  EXPECT_EQ(head_prefix(*make_model("resnet32")), "fc.");
  EXPECT_ERROR((*net)(zeros({2, 28, 28, 3})), "expected x [N, 32, 32, 3], got [2, 28, 28, 3]");
}

TEST(ModelSizes, TheMlpHasThreeProducts) {
  const auto net = make_model("mlp", {.channels = 1, .image = 28});
  EXPECT_EQ(net->num_parameters(), (784 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 10);
  EXPECT_EQ(head_prefix(*net), "fc3.");
  Tensor x = zeros({2, 28, 28, 1});
  fill_normal(x, 0, 1, /*seed=*/1, /*stream=*/1);
  const auto layer = [&](const std::string& name, const Tensor& in) {
    return linear(in, net->state_dict().at(name + ".weight"), net->state_dict().at(name + ".bias"));
  };
  const Tensor y = layer("fc3", relu(layer("fc2", relu(layer("fc1", x.reshape({2, 784}))))));
  EXPECT_EQ((*net)(x).to_vector(), y.to_vector());
  EXPECT_ERROR((*net)(zeros({2, 28, 28, 3})), "expected x [N, 28, 28, 1], got [2, 28, 28, 3]");
}

TEST(ModelSizes, AreTorchvisions) {
  EXPECT_EQ(parameters("resnet10"), 5'418'792);
  EXPECT_EQ(parameters("resnet18"), 11'689'512);
  EXPECT_EQ(parameters("resnet34"), 21'797'672);
  EXPECT_EQ(parameters("resnet101"), 44'549'160);
  EXPECT_EQ(parameters("resnet152"), 60'192'808);
}

// Of convolutions and fc, as fvcore counts; torchvision documents 4.09 and 4.23 billion.
TEST(ModelSizes, CountMultiplyAdds) {
  Resnet small = resnet32();
  EXPECT_EQ(multiply_adds(small, 32), 68'862'592);
  ImagenetResnet plain = resnet50();
  EXPECT_EQ(plain.num_parameters(), 25'557'032);
  EXPECT_EQ(multiply_adds(plain, 224), 4'089'184'256);
  ImagenetResnet grouped = resnext50_32x4d();
  EXPECT_EQ(grouped.num_parameters(), 25'028'904);
  EXPECT_EQ(multiply_adds(grouped, 224), 4'230'479'872);
}

TEST(ModelSizes, AreShownByInfo) {
  const Outcome got = run_program({"info", "--model", "resnet50", "--image-size", "224"});
  EXPECT_EQ(got.code, 0) << got.err;
  for (const char* part : {"layer4.2.conv3", "25557032", "4089184256"})
    EXPECT_NE(got.out.find(part), std::string::npos) << part << " in\n" << got.out;
}

// ---- pretrained weights ----

class Pretrained : public ::testing::Test {
 protected:
  std::filesystem::path save(const TensorMap& tensors) {
    const auto path = dir_ / "weights.safetensors";
    save_tensors(path, {tensors, {}});
    return path;
  }
  static void expect_equal_but_head(const Module& a, const Module& b) {
    const TensorMap x = a.state_dict(), y = b.state_dict();
    for (const auto& [name, tensor] : x) EXPECT_EQ(same_bits(tensor, y.at(name)), !name.starts_with("fc.")) << name;
  }
  TempDir dir_;
};

TEST_F(Pretrained, FillsBothFamilies) {
  for (const char* name : {"resnet8", "resnet10"}) {
    const auto from = make_model(name, {.classes = 3, .stem = "cifar", .seed = 1});
    const auto to = make_model(name, {.classes = 3, .stem = "cifar", .seed = 2});
    (*from)(random_tensor({2, 16, 16, 3}, 5, -1, 1, DType::kF32));  // moves running statistics
    const auto path = save(from->state_dict());
    const std::string said = load_pretrained(*to, path);
    EXPECT_EQ(said, concat_text("pretrained: ", from->state_dict().size(), " tensors of ", path.string()));
    for (const auto& [key, tensor] : to->state_dict())
      EXPECT_TRUE(same_bits(tensor, from->state_dict().at(key))) << key;
  }
}

TEST_F(Pretrained, LeavesAHeadOfOtherClassesAsItWas) {
  const Resnet from = resnet8({.classes = 7, .seed = 1});
  Resnet to = resnet8({.classes = 3, .seed = 2});
  const Tensor head = to.state_dict().at("fc.weight");
  const std::string said = load_pretrained(to, save(from.state_dict()));
  EXPECT_NE(said.find("fc starts anew: it has 7 classes in the file, 3 in the model"), std::string::npos) << said;
  EXPECT_TRUE(same_bits(to.state_dict().at("fc.weight"), head));
  expect_equal_but_head(resnet8({.classes = 3, .seed = 1}), to);
}

TEST_F(Pretrained, TakesABackboneWithoutAHead) {
  TensorMap backbone = resnet8({.seed = 1}).state_dict();
  backbone.erase("fc.weight");
  backbone.erase("fc.bias");
  Resnet to = resnet8({.seed = 2});
  const std::string said = load_pretrained(to, save(backbone));
  EXPECT_NE(said.find("fc starts anew: the file has none"), std::string::npos) << said;
  expect_equal_but_head(resnet8({.seed = 1}), to);
  Resnet normed = resnet8({.normed_head = true, .seed = 2});
  EXPECT_NE(load_pretrained(normed, save(resnet8().state_dict())).find("of another kind"), std::string::npos);
}

TEST_F(Pretrained, NamesWhatDoesNotFitAndChangesNothing) {
  TensorMap bad = resnet8({.classes = 7, .seed = 1}).state_dict();
  bad.erase("layer1.0.bn1.weight");
  bad["head.weight"] = ones({1});
  bad["conv1.weight"] = ones({16, 1, 3, 3});
  Resnet to = resnet8({.classes = 3, .seed = 2});
  const TensorMap before = to.state_dict();
  const auto path = save(bad);
  for (const char* part : {"missing (1):\n    layer1.0.bn1.weight", "unexpected (1):\n    head.weight",
                           "conv1.weight: expected floating [16, 3, 3, 3], got f32 [16, 1, 3, 3]"})
    EXPECT_ERROR(load_pretrained(to, path), part);
  EXPECT_ERROR(load_pretrained(to, path), "[pretrained] " + path.string());
  for (const auto& [name, tensor] : to.state_dict()) EXPECT_TRUE(same_bits(tensor, before.at(name))) << name;
}

// ---- in a run ----

class ProgramModels : public ProgramSuite {};

TEST_F(ProgramModels, TrainFromPretrainedWeightsAndResumeWithoutTheFile) {
  const auto file = dir() / "weights.safetensors";
  const TensorMap weights = resnet8({.classes = 4, .channels = 1, .seed = 99}).state_dict();
  save_tensors(file, {weights, {}});
  const Flags flags = {"--pretrained", file, "--lr", "0", "--model-ema-decay", "0.5"};
  const Outcome got = train("pretrained", flags);
  ASSERT_EQ(got.code, 0) << got.err;
  for (const std::string& text : {got.err, read_text(dir() / "pretrained" / "log.txt")})
    EXPECT_NE(text.find("fc starts anew: it has 4 classes in the file, 10 in the model"), std::string::npos);
  for (const char* name : {"layer3.0.conv2.weight", "ema.layer3.0.conv2.weight"})
    EXPECT_TRUE(same_bits(saved("pretrained", name), weights.at("layer3.0.conv2.weight"))) << name;

  std::filesystem::remove(file);
  const Outcome more = train("pretrained", merged(flags, {"--resume", "auto", "--epochs", "2"}));
  EXPECT_EQ(more.code, 0) << more.err;
  expect_refused(train("none", flags), 1, {"weights.safetensors"});
  EXPECT_FALSE(std::filesystem::exists(dir() / "none" / "config.toml"));
}

// Stage two of a training in two: all but the head keeps its bits, running statistics included.
TEST_F(ProgramModels, TrainTheHeadOfAFrozenBackbone) {
  ASSERT_EQ(train("stage1", {"--set", "train.limit_batches=2"}).code, 0);
  const auto stage1 = dir() / "stage1/last.safetensors";
  const TensorMap before = load_tensors(stage1).tensors;
  for (const bool reset : {false, true}) {
    const std::string run = reset ? "stage2-reset" : "stage2";
    const Outcome got = train(run, {"--pretrained", stage1, "--epochs", "2", "--set", "model.freeze=backbone", "--set",
                                    concat_text("model.reset_head=", reset ? "true" : "false"), "--set",
                                    "model.dropout=0.3", "--set", "optim.weight_decay=0.1"});
    ASSERT_EQ(got.code, 0) << got.err;
    EXPECT_EQ(got.err.find("fc starts anew: model.reset_head") != std::string::npos, reset);
    const TensorMap after = load_tensors(dir() / run / "last.safetensors").tensors;
    for (const auto& [name, tensor] : before) {
      if (name.starts_with("optim.") || name.starts_with("state.")) continue;
      EXPECT_EQ(same_bits(tensor, after.at(name)), !name.starts_with("fc.")) << name;
    }
    for (const auto& [name, tensor] : after)
      if (name.starts_with("optim.")) {
        EXPECT_TRUE(name.starts_with("optim.momentum.fc.")) << name;
      }
  }
}

TEST_F(ProgramModels, AFrozenRunResumesBitForBit) {
  const auto weights = dir() / "backbone.safetensors";
  save_tensors(weights, {resnet8({.channels = 1, .seed = 99}).state_dict(), {}});
  const Flags flags = {"--pretrained", weights, "--epochs", "3", "--set", "model.freeze=backbone"};
  ASSERT_EQ(train("frozen-whole", flags).code, 0);
  {
    Program program(train_flags(dir(), "frozen-killed", flags));
    ASSERT_TRUE(program.wait_for("epoch 2/3 step 3/")) << program.err();
    program.signal(SIGTERM);
    EXPECT_EQ(program.wait(), 143);
  }
  ASSERT_EQ(train("frozen-killed", merged(flags, {"--resume", "auto"})).code, 0);
  expect_same_run(dir() / "frozen-whole", dir() / "frozen-killed");
}

TEST_F(ProgramModels, TrainAndEvaluateTheImagenetFamily) {
  const Flags one_batch = {"--model", "resnet10", "--set", "train.limit_batches=1"};
  const Outcome got = train("resnet10", one_batch);
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(saved("resnet10", "conv1.weight").shape(), (Shape{64, 1, 7, 7}));
  EXPECT_EQ(saved("resnet10", "fc.weight").shape(), (Shape{10, 512}));
  const Outcome eval = run_program({"eval", (dir() / "resnet10").string(), "--threads", "1"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(json::parse(eval.out)["loss"], json::parse(got.out)["loss"]);
  const Outcome small = train("cifar-stem", merged(one_batch, {"--set", "model.stem=cifar"}));
  ASSERT_EQ(small.code, 0) << small.err;
  EXPECT_EQ(saved("cifar-stem", "conv1.weight").shape(), (Shape{64, 1, 3, 3}));
}

TEST_F(ProgramModels, RefuseWhatNamesNoNetwork) {
  expect_refused(train("none", {"--model", "resnet33"}), 2, {"one of resnet8,", "got 'resnet33'"});
  expect_refused(train("none", {"--set", "model.stem=imagenet"}), 2, {"expected the stem cifar"});
  expect_refused(train("none", {"--set", "model.stem=vit"}), 2, {"model.stem", "imagenet, cifar"});
  expect_refused(train("none", {"--set", "model.freeze=all"}), 2, {"model.freeze: expected one of none, backbone"});
  for (const char* assignment : {"model.freeze=backbone", "model.reset_head=true"})
    expect_refused(train("none", {"--set", assignment}), 2, {"expected a file in model.pretrained"});
}

}  // namespace
}  // namespace fulcrum::testing
