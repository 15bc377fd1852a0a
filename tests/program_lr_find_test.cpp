// The learning rate range test: its suggestions on curves with known answers, and the command.
#include "apps/lr_find.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

using apps::LrCurve;

// lr = 10^(i/10 − 5), i < n, with the losses of f(i).
template <class F>
LrCurve curve_of(int n, const F& f) {
  LrCurve c;
  for (int i = 0; i < n; i++) {
    c.lr.push_back(std::pow(10.0, i / 10.0 - 5));
    c.loss.push_back(f(i));
  }
  c.smoothed = c.loss;
  return c;
}

TEST(LrSuggestions, OnCurvesWithKnownAnswers) {
  // Falls from 40 on, fastest between 50 and 51, least at 60, rises from there.
  const LrCurve c = curve_of(70, [](int i) {
    return i < 40    ? 2.0
           : i <= 50 ? 2 - 0.05 * (i - 40)
           : i == 51 ? 1.0
           : i <= 60 ? 1 - 0.02 * (i - 51)
                     : 0.82 + 0.5 * (i - 60);
  });
  EXPECT_NEAR(*apps::lr_minimum(c), c.lr[60] / 10, 1e-12);
  EXPECT_NEAR(*apps::lr_steep(c), c.lr[50], 1e-12);
  // The longest fall: 40 (or one of the equal ones before) to 60, 21 values; fastai counts its start at 60 − 21.
  EXPECT_NEAR(*apps::lr_valley(c), c.lr[39 + 7 + 3], 1e-12);
  // A straight fall has slopes that do not differ: the first position, 15 steps before the end, stays.
  const LrCurve straight = curve_of(40, [](int i) { return 3 - 0.05 * i; });
  EXPECT_NEAR(*apps::lr_slide(straight), straight.lr[24], 1e-12);
  // Flat, then rising faster and faster: the interval slides down until both of its ends are flat, which the
  // slope of 0.004 at 30 is; the step before had its left end at 16.
  const LrCurve turn = curve_of(60, [](int i) { return i <= 30 ? 1.0 : 1 + 0.008 * (i - 30) * (i - 30); });
  EXPECT_NEAR(*apps::lr_slide(turn), turn.lr[16], 1e-12);
}

TEST(LrSuggestions, NothingForShortCurves) {
  const LrCurve none, one = curve_of(1, [](int) { return 1.0; });
  for (const LrCurve& c : {none, one}) {
    EXPECT_FALSE(apps::lr_valley(c));
    EXPECT_FALSE(apps::lr_slide(c));
    EXPECT_FALSE(apps::lr_steep(c));
  }
  EXPECT_FALSE(apps::lr_minimum(none));
  const LrCurve c = curve_of(100, [](int i) { return 100.0 - i; });
  EXPECT_EQ(apps::lr_core(c, 100).lr.size(), 85u);
  EXPECT_EQ(apps::lr_core(c, 100).lr.front(), c.lr[10]);
  EXPECT_EQ(apps::lr_core(curve_of(3, [](int) { return 1.0; }), 100).lr.size(), 0u);
}

class ProgramLrFind : public ProgramSuite {
 protected:
  static Outcome lr_find(const Flags& more) {
    const Flags base = {"--data-dir", dir() / "data", "--model", "resnet8", "-b",
                        "32",         "--threads",    "1",       "--steps", "40"};
    Flags flags = merged(base, more);
    flags.insert(flags.begin(), "lr-find");
    return run_program(flags);
  }
};

TEST_F(ProgramLrFind, FindsARateThatTrains) {
  const Outcome got = lr_find({"--curve", dir() / "curve.json", "--html", dir() / "lr.html", "--end-lr", "1000"});
  ASSERT_EQ(got.code, 0) << got.err;
  const json said = json::parse(got.out), curve = json::parse(read_text(dir() / "curve.json"));
  EXPECT_TRUE(said["diverged"].get<bool>()) << "at a learning rate of up to 1000";
  const auto lr = curve["lr"].get<std::vector<double>>();
  EXPECT_EQ(lr.size(), said["steps"].get<size_t>());
  EXPECT_LT(lr.size(), 40u);
  EXPECT_NEAR(lr.front(), 1e-7, 1e-12);
  EXPECT_NEAR(lr[1] / lr[0], std::pow(1e10, 1.0 / 39), 1e-6);
  for (const char* rule : {"valley", "minimum", "steep"}) {
    ASSERT_TRUE(said[rule].is_number()) << said;
    EXPECT_GT(said[rule], 1e-7);
    EXPECT_LT(said[rule], 1000);
  }
  // Debiased exponential average: the first is the first loss itself.
  EXPECT_NEAR(curve["smoothed"][0].get<double>(), curve["loss"][0].get<double>(), 1e-6);
  const std::string page = read_text(dir() / "lr.html");
  for (const char* part : {"<svg", "Learning rate range test", "valley", "until the loss diverged"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
}

TEST_F(ProgramLrFind, WorksWithEveryOptimiserAndRisk) {
  for (const char* optimiser : {"sgd", "adam", "adamw"})
    for (const char* risk : {"mean", "kl", "tilted", "cvar", "chi2", "rgd", "group", "kl_ball"}) {
      const bool tempered = risk == std::string("kl") || risk == std::string("tilted");
      Flags flags = {"--opt",   optimiser,           "--risk",   risk,  "--steps", "6",
                     "--curve", dir() / "curve.csv", "--end-lr", "0.01"};
      if (tempered) flags.insert(flags.end(), {"--lambda", "2"});
      const Outcome got = lr_find(flags);
      EXPECT_EQ(got.code, 0) << optimiser << " " << risk << "\n" << got.err;
      const std::string csv = read_text(dir() / "curve.csv");
      EXPECT_EQ(csv.find("step,lr,loss,smoothed\n0,1e-07,"), 0u) << csv;
      EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 7);
    }
}

TEST_F(ProgramLrFind, Refusals) {
  expect_refused(lr_find({"--start-lr", "20"}), 2, {"--start-lr: expected a number in (0, --end-lr = 10), got 20"});
  expect_refused(lr_find({"--curve", "curve.txt"}), 2,
                 {"--curve: expected a file that ends with .csv or .json, got 'curve.txt'"});
  expect_refused(lr_find({"--steps", "0"}), 2, {"--steps"});
}

}  // namespace
}  // namespace fulcrum::testing
