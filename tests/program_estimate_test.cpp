// What a run will cost, before it begins: memory from shapes against the peak of real steps.
#include "apps/dry_run.h"
#include "apps/memory_estimate.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

using apps::Config;
using apps::MemoryEstimate;

// docs/recipes.md states it.
constexpr double kFactor = 1.3;

class MemoryEstimateOf : public ProgramSuite {
 protected:
  static Config config_of(const Flags& settings) {
    Config config;
    apps::set_key(config, "data.dir=" + (dir() / "data").string(), "test");
    for (const std::string& s : settings) apps::set_key(config, s, "test");
    apps::finish(config);
    return config;
  }
  static void expect_close(const Flags& settings) {
    const Config config = config_of(settings);
    const apps::ExperimentData data = apps::load_data(config.data);
    const auto model = apps::make_model(config, *data.train);
    const MemoryEstimate e = apps::estimate_memory(config, *model, data.train->image_shape(), config.train.batch_size);
    const auto measured = static_cast<double>(apps::measure_cost(config, data).peak_bytes);
    const double ratio = static_cast<double>(e.total()) / measured;
    std::string what;
    for (const std::string& s : settings) what += s + " ";
    EXPECT_GT(ratio, 1 / kFactor) << what << e.total() << " for " << measured;
    EXPECT_LT(ratio, kFactor) << what << e.total() << " for " << measured;
    std::printf("%-70s %6.1f MiB estimated, %6.1f measured: %.2f\n", what.c_str(),
                static_cast<double>(e.total()) / 1048576, measured / 1048576, ratio);
  }
};

TEST_F(MemoryEstimateOf, RunsIsNearTheMeasuredPeak) {
  expect_close({"model.name=resnet8", "train.batch_size=64"});
  expect_close({"model.name=resnet32", "train.batch_size=32"});
  expect_close({"model.name=resnet20", "train.batch_size=64", "train.amp=bf16"});
  expect_close({"model.name=resnet10", "train.batch_size=64", "optim.name=adamw", "model.stem=cifar"});
  expect_close({"model.name=resnet50", "train.batch_size=32", "model.stem=cifar"});
  expect_close({"model.name=resnet32", "train.batch_size=32", "train.recompute=true"});
  expect_close({"model.name=resnet50", "train.batch_size=32", "model.stem=cifar", "train.recompute=true"});
  expect_close({"model.name=sce_cnn", "train.batch_size=64", "optim.momentum=0"});
  expect_close(
      {"model.name=resnet18", "model.stem=cifar", "model.freeze=backbone", "model.pretrained=first.safetensors"});
}

TEST_F(MemoryEstimateOf, ARunIsSaidWhenItBegins) {
  const Outcome got = train("run", {"-b", "8", "--log-interval", "25"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_NE(got.err.find("memory: about "), std::string::npos) << got.err;
  EXPECT_NE(got.err.find("time left: about "), std::string::npos) << got.err;
  EXPECT_NE(got.err.find("ms per step, without evaluations"), std::string::npos) << got.err;
  EXPECT_LT(got.err.find("memory: about"), got.err.find("epoch 1/1"));
}

}  // namespace
}  // namespace fulcrum::testing
