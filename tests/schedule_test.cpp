// Learning-rate schedules.
#include <fulcrum/optim/schedule.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

std::vector<double> factors(const ScheduleOptions& options, int epochs) {
  const Schedule schedule(options);
  std::vector<double> f;
  for (int e = 0; e < epochs; e++) f.push_back(schedule.factor(e));
  return f;
}

void expect_near(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); i++) EXPECT_NEAR(got[i], expected[i], 1e-12) << i;
}

TEST(Schedule, EveryKind) {
  expect_near(factors({.milestones = {}}, 3), {1, 1, 1});
  expect_near(factors({.kind = "multistep", .milestones = {2, 4}, .gamma = 0.1}, 6), {1, 1, 0.1, 0.1, 0.01, 0.01});
  expect_near(factors({.kind = "multistep", .milestones = {1, 2, 4}, .factors = {0.1, 0.5, 2}}, 5),
              {1, 0.1, 0.05, 0.05, 0.1});
  expect_near(factors({.kind = "step", .milestones = {}, .step_size = 2, .gamma = 0.5}, 5), {1, 1, 0.5, 0.5, 0.25});
  expect_near(factors({.kind = "cosine", .epochs = 4, .milestones = {}, .min_factor = 0.2}, 6),
              {1, 0.2 + 0.4 * (1 + std::sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - std::sqrt(0.5)), 0.2, 0.2});
}

TEST(Schedule, WarmsUpLinearly) {
  expect_near(factors({.kind = "multistep", .milestones = {3}, .warmup = 2}, 4), {0.5, 1, 1, 0.1});
  expect_near(factors({.kind = "cosine", .epochs = 4, .milestones = {}, .warmup = 2}, 5), {0.5, 1, 1, 0.5, 0});
}

TEST(Schedule, Errors) {
  EXPECT_ERROR(Schedule({.kind = "cosin", .milestones = {}}),
               "[schedule] expected constant, multistep, step or cosine, got 'cosin'");
  EXPECT_ERROR(Schedule({.kind = "multistep", .milestones = {4, 2}}), "milestones in growing order");
  EXPECT_ERROR(Schedule({.epochs = 0, .milestones = {}}), "epochs > 0");
  EXPECT_ERROR(Schedule({.milestones = {}, .step_size = 0}), "step_size > 0");
  EXPECT_ERROR(Schedule({.milestones = {}, .gamma = 0}), "gamma > 0");
  EXPECT_ERROR(Schedule({.milestones = {2}, .factors = {0.1, 0.1}}), "a factor for each of the 1 milestones, got 2");
  EXPECT_ERROR(Schedule({.milestones = {2}, .factors = {0}}), "factors > 0");
  EXPECT_ERROR(Schedule({.milestones = {}, .warmup = -1}), "warmup >= 0");
}

}  // namespace
}  // namespace fulcrum::testing
