// fulcrum bench: a step with each risk.
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

Outcome bench(const Flags& more, const std::string& model = "resnet8") {
  Flags flags = {"bench", "--model",   model, "--batch-size", "4", "--image-size",
                 "8",     "--threads", "1",   "--steps",      "1", "--no-profile"};
  flags.insert(flags.end(), more.begin(), more.end());
  return run_program(flags);
}

json last_line_of(const Outcome& got) {
  const size_t end = got.out.find_last_not_of('\n');
  return json::parse(got.out.substr(got.out.rfind('\n', end) + 1));
}

TEST(ProgramBench, TimesAStepWithEachRisk) {
  for (const std::string risk : {"mean", "kl", "kl_ball", "cvar", "chi2", "rgd", "group"}) {
    const Outcome got = bench({"--risk", risk});
    ASSERT_EQ(got.code, 0) << risk << ": " << got.err;
    const json row = last_line_of(got);
    EXPECT_EQ(row["risk"], risk);
    EXPECT_EQ(row["optimizer"], "sgd");
    EXPECT_GT(row["risk_ms"], 0) << risk;
    EXPECT_GT(row["step_ms"], row["risk_ms"]) << risk;
  }
  EXPECT_EQ(last_line_of(bench({"--opt", "sgd"}))["risk"], "mean");
  const json absgd = last_line_of(bench({}));
  EXPECT_EQ(absgd["risk"], "kl");
  EXPECT_EQ(absgd["optimizer"], "absgd");
}

TEST(ProgramBench, ProfilesWorkAgainstTheRoof) {
  const Outcome got = run_program({"bench", "--model", "resnet8", "--batch-size", "4", "--image-size", "8", "--threads",
                                   "1", "--steps", "1", "--by-shape"});
  ASSERT_EQ(got.code, 0) << got.err;
  const json profile = last_line_of(got)["profile"];
  EXPECT_GT(profile["roof"]["gflop_per_s"], 0);
  EXPECT_GT(profile["roof"]["gb_per_s"], 0);
  double share = 0;
  bool stem = false;
  for (const json& op : profile["ops"]) {
    share += op["share"].get<double>();
    EXPECT_GE(op["of_roof"], 0) << op;
    if (op["op"] != "conv2d [4, 8, 8, 16]") continue;
    stem = true;
    EXPECT_EQ(op["calls"], 3);  // the stem and a block
    EXPECT_NEAR(op["gflop"], 2 * 4 * 64 * 16 * 9 * (3 + 16 + 16) / 1e9, 1e-9);
  }
  EXPECT_TRUE(stem) << got.out;
  EXPECT_NEAR(share, 1, 1e-6);
}

TEST(ProgramBench, TimesInference) {
  const Outcome got = bench({"--inference"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(last_line_of(got)["inference"], true);
  EXPECT_FALSE(last_line_of(got).contains("risk"));
  expect_refused(bench({"--inference", "--risk", "kl"}), 2, {"--inference", "excludes", "--risk"});
}

TEST(ProgramBench, RecomputingNeedsLessMemoryForTheSameSteps) {
  const Outcome kept = bench({}, "resnet32"), recomputed = bench({"--recompute"}, "resnet32");
  ASSERT_EQ(recomputed.code, 0) << recomputed.err;
  const json a = last_line_of(kept), b = last_line_of(recomputed);
  EXPECT_EQ(a["recompute"], false);
  EXPECT_EQ(b["recompute"], true);
  EXPECT_EQ(a["loss"], b["loss"]);
  EXPECT_LT(b["tensor_peak_mb"], a["tensor_peak_mb"]);
  EXPECT_NE(recomputed.out.find("MB of tensors at most, recomputing"), std::string::npos) << recomputed.out;
  expect_refused(bench({"--inference", "--recompute"}), 2, {"--inference", "excludes", "--recompute"});
  expect_refused(bench({"--recompute"}, "mlp"), 2, {"recompute", "residual blocks"});
}

TEST(ProgramBench, RefusesRisksThatDoNotExistAndTwoAtOnce) {
  expect_refused(bench({"--risk", "max"}), 2, {"risk.name: expected one of mean, kl", "got 'max'"});
  expect_refused(bench({"--risk", "kl", "--opt", "sgd"}), 2, {"--risk", "excludes", "--opt"});
}

}  // namespace
}  // namespace fulcrum::testing
