// The full state of a run: what is saved comes back bit for bit, and what does not fit is listed.
#include "apps/checkpoint.h"
#include "apps/sealed_file.h"

#include <fstream>

#include <fulcrum/layers/resnet.h>

#include "testing.h"

namespace fulcrum::testing {
namespace {

using apps::DataChecksums;
using apps::load_checkpoint;
using apps::recover_checkpoint;
using apps::RunState;
using apps::save_checkpoint;

constexpr DataChecksums kData = {0xfedcba9876543210, 0x0123456789abcdef};

enum class Kind { kSgd, kPlainSgd, kAdam };

// A small run: model, optimiser, risk and totals.
struct SmallRun {
  Resnet model;
  std::unique_ptr<Optimizer> optimizer;
  Tensor totals = zeros({4}, {DType::kF64, {}});
  RunState state;

  explicit SmallRun(uint64_t seed, Kind kind = Kind::kSgd, const ResnetOptions& options = small(), bool kl = true)
      : model(8, with_seed(options, seed)),
        optimizer((model.to({}), make(kind, model.parameters()))),
        state{model, *optimizer, {{"totals", totals}}, {}} {
    if (kl) optimizer->set_risk(std::make_unique<KlRisk>(KlRiskOptions{.lambda = 1.9}));
  }
  static ResnetOptions small() { return {.classes = 4, .channels = 1, .dropout = 0.5}; }
  static ResnetOptions with_seed(ResnetOptions options, uint64_t seed) {
    options.seed = seed;
    return options;
  }
  static std::unique_ptr<Optimizer> make(Kind kind, std::vector<Tensor> parameters) {
    if (kind == Kind::kAdam) return std::make_unique<Adam>(std::move(parameters), AdamOptions{.lr = 0.01});
    return std::make_unique<Sgd>(std::move(parameters),
                                 SgdOptions{.lr = 0.05, .momentum = kind == Kind::kSgd ? 0.9 : 0});
  }
  /// Steps first, …, last − 1 on random batches; the losses of the last.
  std::vector<double> train(uint64_t first, uint64_t last) {
    std::vector<double> losses;
    for (uint64_t step = first; step < last; step++) {
      const Tensor images = random_tensor({6, 8, 8, 1}, 100 + step, -1, 1, DType::kF32);
      const Tensor l = cross_entropy(model(images), labels_of({0, 1, 2, 3, 0, 1}));
      optimizer->zero_grad();
      optimizer->weigh(l).backward();
      optimizer->step();
      losses = l.to_vector();
      totals.data<double>()[0] += losses[0];
      state.progress.batch++;
    }
    return losses;
  }
};

class Checkpoint : public ::testing::Test {
 protected:
  TempDir dir_;
  std::filesystem::path path_ = dir_ / "last.safetensors";

  void save(SmallRun& run) { save_checkpoint(path_, run.state, "[optim]\nlr = 0.05\n", kData); }
  /// Saves with the metadata or the tensors changed by f.
  template <class F>
  void save_changed(SmallRun& run, F f) {
    save(run);
    TensorFile file = load_tensors(path_);
    f(file);
    apps::save_sealed(path_, file);
  }
  /// Expects that loading fails with the text, and that nothing has changed.
  void expect_refused(SmallRun& run, const std::string& text, const DataChecksums& data = kData) {
    const auto snapshot = [&] {
      save_checkpoint(dir_ / "snapshot", run.state, "", kData);
      std::ifstream in(dir_ / "snapshot", std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    const std::string before = snapshot();
    EXPECT_ERROR(load_checkpoint(path_, run.state, data), text);
    EXPECT_EQ(snapshot(), before);
  }
};

TEST_F(Checkpoint, GoesOnBitForBit) {
  for (const Kind kind : {Kind::kSgd, Kind::kPlainSgd, Kind::kAdam}) {
    SmallRun whole(1, kind), first(1, kind), rest(1, kind);
    const auto expected = whole.train(0, 4);
    first.train(0, 2);
    first.state.progress.epoch = 17;
    first.state.progress.best = {{"top1", 0.5}};
    first.state.progress.latest = {{"epoch", 16}};
    save(first);
    rest.train(20, 21);  // something else, to be forgotten
    load_checkpoint(path_, rest.state, kData);
    EXPECT_EQ(rest.state.progress.epoch, 17);
    EXPECT_EQ(rest.state.progress.batch, 2);
    EXPECT_EQ(rest.state.progress.best, first.state.progress.best);
    EXPECT_EQ(rest.state.progress.latest, first.state.progress.latest);
    EXPECT_EQ(rest.train(2, 4), expected);
    const TensorMap a = whole.model.state_dict(), b = rest.model.state_dict();
    for (const auto& [name, tensor] : a) EXPECT_TRUE(same_bits(tensor, b.at(name))) << name;
    EXPECT_TRUE(same_bits(whole.totals, rest.totals));
    EXPECT_EQ(whole.optimizer->steps(), rest.optimizer->steps());
    auto x = whole.optimizer->state(), y = rest.optimizer->state();
    for (const auto& [name, tensor] : x) EXPECT_TRUE(same_bits(tensor, y.at(name))) << name;
  }
}

TEST_F(Checkpoint, HoldsTheModelAsPyTorchReadsIt) {
  SmallRun run(1);
  run.train(0, 2);
  save(run);
  const TensorFile file = load_tensors(path_);
  EXPECT_EQ(file.tensors.at("conv1.weight").shape(), Shape({16, 1, 3, 3}));
  EXPECT_EQ(file.tensors.at("optim.momentum.layer2.0.conv1.weight").shape(), Shape({32, 16, 3, 3}));
  EXPECT_EQ(file.tensors.at("state.generator.dropout.generator").to_vector()[0],
            run.model.named_generators()[0].second->position.to_vector()[0]);
  EXPECT_TRUE(file.tensors.contains("state.risk.kl"));
  EXPECT_EQ(file.metadata.at("config"), "[optim]\nlr = 0.05\n");
  const TensorMap model = apps::model_tensors(file);
  const TensorMap expected = run.model.state_dict();
  ASSERT_EQ(model.size(), expected.size());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(same_bits(tensor, model.at(name))) << name;
}

TEST_F(Checkpoint, OtherDataAreRefused) {
  SmallRun run(1);
  save(run);
  expect_refused(run, "the training data are not those of the checkpoint", {kData.training + 1, kData.test});
  expect_refused(run, "the test data are not those of the checkpoint", {kData.training, kData.test + 1});
}

TEST_F(Checkpoint, OfAnotherModelListsWhatDiffers) {
  SmallRun five(1, Kind::kSgd, {.classes = 5, .channels = 1, .dropout = 0.5}), four(1);
  save(five);
  expect_refused(four, "optim.momentum.fc.weight: expected f32 [4, 64], got f32 [5, 64]");
  SmallRun no_dropout(1, Kind::kSgd, {.classes = 4, .channels = 1});
  save(no_dropout);
  expect_refused(four, "missing: state.generator.dropout.generator");
  save(four);
  expect_refused(no_dropout, "unexpected: state.generator.dropout.generator");
  // The model's own tensors, where the optimiser has none.
  SmallRun plain(1, Kind::kPlainSgd);
  save_changed(plain, [](TensorFile& f) {
    f.tensors.erase("layer1.0.bn1.weight");
    f.tensors["layer9.weight"] = zeros({1});
    f.tensors["fc.bias"] = zeros({3});
  });
  for (const char* name : {"layer1.0.bn1.weight", "layer9.weight", "fc.bias: expected floating [4], got f32 [3]"})
    expect_refused(plain, name);
}

TEST_F(Checkpoint, OfAnotherOptimiserListsWhatDiffers) {
  SmallRun sgd(1), adam(1, Kind::kAdam);
  save(sgd);
  expect_refused(adam, "missing: optim.first_moment.conv1.weight");
  expect_refused(adam, "unexpected: optim.momentum.conv1.weight");
}

TEST_F(Checkpoint, AnotherRiskIsTakenOnlyWhenAsked) {
  SmallRun kl(1), mean(2, Kind::kSgd, SmallRun::small(), /*kl=*/false);
  kl.train(0, 2);
  save(kl);
  expect_refused(mean, "unexpected: state.risk.kl");
  load_checkpoint(path_, mean.state, kData, /*other_risk=*/true);
  EXPECT_TRUE(same_bits(mean.model.state_dict().at("fc.weight"), kl.model.state_dict().at("fc.weight")));
  save(mean);
  expect_refused(kl, "missing: state.risk.kl");
  const Tensor before = kl.optimizer->state().at("risk.kl").clone();
  load_checkpoint(path_, kl.state, kData, /*other_risk=*/true);
  EXPECT_TRUE(same_bits(kl.optimizer->state().at("risk.kl"), before));
}

TEST_F(Checkpoint, WhatIsNoRunIsRefused) {
  SmallRun run(1);
  EXPECT_ERROR(load_checkpoint(dir_ / "nothing", run.state, kData), "cannot open: No such file");
  save_tensors(path_, {run.model.state_dict(), {{"format", "pt"}}});
  expect_refused(run, "expected metadata 'data'; this is not the full state of a run");
  for (const char* progress :
       {"", "[]", "{\"epoch\": 1}", "{\"epoch\": \"1\", \"batch\": 0}", "{\"epoch\": 1, \"batch\": null}",
        "{\"epoch\": -1, \"batch\": 0}", "{\"epoch\": 1, \"batch\": 1.5}"}) {
    SCOPED_TRACE(progress);
    save_changed(run, [&](TensorFile& f) { f.metadata["progress"] = progress; });
    expect_refused(run, "last.safetensors: expected");
  }
}

TEST_F(Checkpoint, TruncatedAnywhereIsRefused) {
  SmallRun run(1);
  save(run);
  std::ifstream in(path_, std::ios::binary);
  const std::string good(std::istreambuf_iterator<char>(in), {});
  for (const size_t size : {size_t{0}, size_t{5}, size_t{100}, good.size() / 2, good.size() - 1}) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << good.substr(0, size);
    expect_refused(run, "last.safetensors: ");
  }
}

// ---- damage ----

// A bit of the file, by its number.
void flip(const std::filesystem::path& path, uint64_t bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(static_cast<char>(byte ^ 1 << bit % 8));
}

TEST_F(Checkpoint, EveryFlippedBitIsSeen) {
  SmallRun run(1);
  run.train(0, 1);
  save(run);
  const uint64_t bits = 8 * std::filesystem::file_size(path_);
  uint64_t header = 0;
  std::ifstream(path_, std::ios::binary).read(reinterpret_cast<char*>(&header), sizeof header);
  const Philox draw(kSeed, 5);
  for (uint64_t i = 0; i < 200; i++) {
    // Half of them in the header, which is small. A space at its end means nothing.
    const uint64_t bit = draw.below(i, static_cast<uint32_t>(i % 2 ? bits : 8 * (header - 8)));
    SCOPED_TRACE(bit);
    flip(path_, bit);
    EXPECT_ERROR(apps::load_sealed(path_), "last.safetensors");
    flip(path_, bit);
  }
  apps::load_sealed(path_);
}

TEST_F(Checkpoint, OfAnEarlierBuildIsTaken) {
  SmallRun run(1), other(2);
  save(run);
  TensorFile file = load_tensors(path_);
  for (const char* key : {"checksum", "test_data"}) file.metadata.erase(key);
  save_tensors(path_, file);
  load_checkpoint(path_, other.state, {kData.training, 0});
  EXPECT_TRUE(same_bits(run.model.state_dict().at("fc.weight"), other.model.state_dict().at("fc.weight")));
}

TEST_F(Checkpoint, TheOneBeforeIsKeptAndTakesThePlaceOfADamagedOne) {
  const auto previous = dir_ / "previous.safetensors";
  EXPECT_FALSE(recover_checkpoint(dir_.path()));
  SmallRun run(1);
  save(run);
  EXPECT_FALSE(std::filesystem::exists(previous));
  for (const int64_t epoch : {1, 2, 3}) {
    run.state.progress.epoch = epoch;
    save(run);
  }
  const auto epoch_of = [&](const std::filesystem::path& path) {
    SmallRun other(2);
    load_checkpoint(path, other.state, kData);
    return other.state.progress.epoch;
  };
  EXPECT_EQ(epoch_of(path_), 3);
  EXPECT_EQ(epoch_of(previous), 2);
  EXPECT_TRUE(recover_checkpoint(dir_.path()));
  EXPECT_EQ(epoch_of(path_), 3);

  // A run that was killed between the two: both names are of one file, and no third stays.
  std::filesystem::remove(previous);
  std::filesystem::create_hard_link(path_, previous);
  save(run);
  EXPECT_FALSE(std::filesystem::exists(dir_ / "previous.safetensors.tmp"));
  EXPECT_EQ(epoch_of(previous), 3);
  run.state.progress.epoch = 4;
  save(run);

  flip(path_, 8 * std::filesystem::file_size(path_) - 1);
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(recover_checkpoint(dir_.path()));
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("last.safetensors: damaged: its checksum is"),
            std::string::npos);
  EXPECT_EQ(epoch_of(path_), 3);
  EXPECT_FALSE(std::filesystem::exists(previous));

  // One that has gone is as good as damaged; and with nothing left, the damage is told.
  save(run);
  std::filesystem::remove(path_);
  EXPECT_TRUE(recover_checkpoint(dir_.path()));
  EXPECT_EQ(epoch_of(path_), 3);
  flip(path_, 3);
  EXPECT_ERROR(recover_checkpoint(dir_.path()), "last.safetensors");
  std::filesystem::copy(path_, previous);
  EXPECT_ERROR(recover_checkpoint(dir_.path()), "previous.safetensors");
}

}  // namespace
}  // namespace fulcrum::testing
