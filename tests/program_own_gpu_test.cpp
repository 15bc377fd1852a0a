// Which GPU each of several processes takes (apps/world.h), from CUDA_VISIBLE_DEVICES and its place among the processes
// of its machine. No GPU is used.
#include <optional>

#include "apps/world.h"
#include "testing.h"

namespace fulcrum::testing {
namespace {

// One of several processes; `peer_fails`: another has found a problem.
class Place : public Communicator {
 public:
  Place(int local_rank, int local_size, bool peer_fails)
      : Communicator({.rank = local_rank, .size = local_size, .local_rank = local_rank, .local_size = local_size}),
        peer_fails_(peer_fails) {}
  void all_reduce(Tensor&) override {}
  void start_all_reduce(const Tensor&) override {}
  void advance() override {}
  void finish() override {}
  void all_gather(Tensor& all, const Tensor& part, const std::vector<int64_t>&) override {
    for (int r = 0; r < size(); r++)
      all.slice(r, r + 1).copy_from(r == rank() || !peer_fails_ ? part : ones({1}, {DType::kI64, {}}));
  }
  void broadcast(Tensor&) override {}
  bool fail(int) override { return true; }
  void await_failure() override { throw PeerFailed("another process has failed", 2, true); }
  void shut_down(bool) override {}

 private:
  bool peer_fails_;
};

class OwnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const char* text = std::getenv(kVariable)) before_ = text;
  }
  void TearDown() override { set(before_); }

  static void set(const std::optional<std::string>& list) {
    list ? setenv(kVariable, list->c_str(), 1) : unsetenv(kVariable);
  }
  // What process `rank` of `size` sees afterwards.
  static std::optional<std::string> taken(const std::optional<std::string>& list, int rank, int size,
                                          const std::string& device = "cuda", bool peer_fails = false) {
    set(list);
    Place place(rank, size, peer_fails);
    apps::TrainSettings settings;
    settings.device = device;
    apps::take_own_gpu(place, settings);
    const char* left = std::getenv(kVariable);
    return left ? std::optional<std::string>(left) : std::nullopt;
  }
  static void expect_refused(const std::string& list, int rank, int size) {
    SCOPED_TRACE(concat_text("'", list, "', process ", rank, " of ", size));
    try {
      taken(list, rank, size);
      ADD_FAILURE() << "took '" << std::getenv(kVariable) << "'";
    } catch (const apps::UsageError& error) {
      EXPECT_EQ(std::string(error.what()), concat_text("CUDA_VISIBLE_DEVICES: expected a GPU for each of the ", size,
                                                       " processes of this machine, got '", list, "'"));
    }
    EXPECT_EQ(std::getenv(kVariable), list);
  }

  static constexpr const char* kVariable = "CUDA_VISIBLE_DEVICES";

 private:
  std::optional<std::string> before_;
};

TEST_F(OwnGpu, WithoutAListItIsTheOneOfTheLocalRank) {
  for (int rank = 0; rank < 3; rank++) EXPECT_EQ(taken(std::nullopt, rank, 3), std::to_string(rank));
}

TEST_F(OwnGpu, AListIsSharedOutInItsOrder) {
  for (int rank = 0; rank < 3; rank++) EXPECT_EQ(taken("6,2,4", rank, 3), std::string(1, "624"[rank]));
  EXPECT_EQ(taken("GPU-1f,GPU-2e", 1, 2), "GPU-2e");
}

TEST_F(OwnGpu, FewerProcessesLeaveTheRestOfTheList) {
  EXPECT_EQ(taken("6,2,4", 0, 2), "6");
  EXPECT_EQ(taken("6,2,4", 1, 2), "2");
}

// srun --gpus-per-task=1 gives each process a list of its own.
TEST_F(OwnGpu, AListOfOneIsTheLaunchersChoice) {
  for (int rank = 0; rank < 3; rank++) EXPECT_EQ(taken("5", rank, 3), "5");
}

TEST_F(OwnGpu, MoreProcessesThanGpusAreRefused) {
  expect_refused("4,5", 2, 3);
  expect_refused("4,5", 3, 4);
  EXPECT_EQ(taken("4,5", 1, 2), "5");
}

// The others stop, too, and leave the message to the one that has none.
TEST_F(OwnGpu, AProcessWithAGpuStopsWhereAnotherHasNone) {
  EXPECT_THROW(taken("4,5", 0, 3, "cuda", /*peer_fails=*/true), PeerFailed);
  EXPECT_EQ(std::getenv(kVariable), std::string("4,5"));
}

TEST_F(OwnGpu, AnEmptyListIsRefused) {
  expect_refused("", 0, 2);
  expect_refused("", 1, 2);
}

TEST_F(OwnGpu, OneProcessAndProcessesOnTheCpuLeaveTheListAlone) {
  EXPECT_EQ(taken("6,2", 0, 1), "6,2");
  EXPECT_EQ(taken("", 0, 1), "");
  EXPECT_EQ(taken(std::nullopt, 0, 1), std::nullopt);
  EXPECT_EQ(taken("6,2", 1, 2, "cpu"), "6,2");
  EXPECT_EQ(taken("", 1, 2, "cpu"), "");
}

}  // namespace
}  // namespace fulcrum::testing
