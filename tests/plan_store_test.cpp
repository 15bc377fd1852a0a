// The plans of cuDNN's as text and in the user's cache. No CUDA in here.
#include <cstdlib>
#include <fstream>

#include <fulcrum/core/cuda_options.h>
#include <fulcrum/core/plan_store.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

using cuda::PlanKey;
using cuda::PlanStore;

const PlanKey kKey{"sm_90 132SM cudnn 9.19.0", "conv2d bf16, x [128, 32, 32, 16], weight [16, 3, 3, 16]"};

TEST(PlanStore, KeepsItsPlansAsText) {
  PlanStore plans;
  plans.put(kKey, "eng45_k2=4_k5=3");
  plans.put({"sm_80 108SM cudnn 9.19.0", kKey.problem}, "eng0");
  PlanStore again;
  again.load(plans.text());
  EXPECT_EQ(again.find(kKey), "eng45_k2=4_k5=3");
  EXPECT_EQ(again.text(), plans.text());
  EXPECT_EQ(again.find({"sm_100 148SM cudnn 9.19.0", kKey.problem}), std::nullopt);
  EXPECT_EQ(again.environment_of(kKey.problem), "sm_80 108SM cudnn 9.19.0");  // any that has a plan
  EXPECT_EQ(again.environment_of("another"), std::nullopt);
}

TEST(PlanStore, LoadedPlansWin) {
  PlanStore plans, loaded;
  plans.put(kKey, "old");
  plans.put({kKey.environment, "another"}, "kept");
  loaded.put(kKey, "new");
  plans.load(loaded.text());
  EXPECT_EQ(plans.find(kKey), "new");
  EXPECT_EQ(plans.find({kKey.environment, "another"}), "kept");
}

TEST(PlanStore, RefusesOtherTextAndKeepsWhatItHas) {
  PlanStore plans;
  plans.put(kKey, "eng0");
  const std::string good = plans.text();
  const std::string first = good.substr(0, good.find('\n') + 1);
  for (const std::string& bad : {std::string(), std::string("{}"), good.substr(3), first + "one\ttwo\n",
                                 first + "one\ttwo\tthree\tfour\n", first + "\ttwo\tthree\n", first + "one\ttwo\t\n"}) {
    EXPECT_THROW(plans.load(bad), Error) << bad;
    EXPECT_EQ(plans.text(), good) << bad;
  }
}

TEST(PlanStore, ServesThePublicFunctions) {
  PlanStore plans;
  plans.put(kKey, "eng7");
  load_cudnn_plans(plans.text());
  EXPECT_EQ(cuda::run_plans().find(kKey), "eng7");
  EXPECT_NE(cudnn_plans().find("\teng7\n"), std::string::npos);
  EXPECT_THROW(load_cudnn_plans("nonsense"), Error);
}

class PlanCache : public ::testing::Test {
 protected:
  PlanCache() { ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1); }
  ~PlanCache() override { ::unsetenv("XDG_CACHE_HOME"); }

  std::filesystem::path only_file() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "cache/fulcrum"))
      files.push_back(entry.path());
    EXPECT_EQ(files.size(), 1u);
    return files.at(0);
  }

  TempDir folder_;
};

TEST_F(PlanCache, FindsWhatWasKept) {
  EXPECT_EQ(cuda::find_cached_plan(kKey), std::nullopt);
  cuda::cache_plan(kKey, "eng3");
  cuda::cache_plan({kKey.environment, "another"}, "eng4");
  EXPECT_EQ(cuda::find_cached_plan(kKey), "eng3");
  EXPECT_EQ(cuda::find_cached_plan({kKey.environment, "another"}), "eng4");
  EXPECT_NE(only_file().filename().string().find("sm_90"), std::string::npos);
}

TEST_F(PlanCache, IgnoresAFileThatIsNoSuchText) {
  cuda::cache_plan(kKey, "eng3");
  std::ofstream(only_file()) << "fulcrum-cudnn-plans 1\ngarbage\n";
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(cuda::find_cached_plan(kKey), std::nullopt);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("warning: ignoring"), std::string::npos);
  ::testing::internal::CaptureStderr();
  cuda::cache_plan(kKey, "eng5");  // and replaces it
  ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(cuda::find_cached_plan(kKey), "eng5");
}

TEST_F(PlanCache, DoesWithoutAFolderThatCannotBe) {
  std::ofstream(folder_ / "file") << "not a folder";
  ::setenv("XDG_CACHE_HOME", (folder_ / "file").c_str(), 1);
  cuda::cache_plan(kKey, "eng3");
  EXPECT_EQ(cuda::find_cached_plan(kKey), std::nullopt);
}

}  // namespace
}  // namespace fulcrum::testing
