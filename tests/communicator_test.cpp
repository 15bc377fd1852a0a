// What training in several processes is made of, in one: slices, parts of batches, batch norm in parts, gradients that
// are followed as they become complete. tests/processes_test.py runs the processes.
#include <set>

#include "data_testing.h"
#include "testing.h"

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/communicator.h>
#include <fulcrum/core/kernels.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/optim/gradient_buckets.h>

namespace fulcrum::testing {
namespace {

TEST(Communicator, SlicesFollowEachOtherAndDifferByAtMostOne) {
  for (const int64_t total : {0, 1, 3, 32, 127})
    for (const int parts : {1, 2, 3, 4, 8}) {
      int64_t end = 0, least = total, most = 0;
      for (int i = 0; i < parts; i++) {
        const Slice s = slice_of(total, i, parts);
        EXPECT_EQ(s.begin, end);
        end = s.end;
        least = std::min(least, s.size());
        most = std::max(most, s.size());
        EXPECT_EQ(slice_sizes(total, parts)[static_cast<size_t>(i)], s.size());
      }
      EXPECT_EQ(end, total);
      EXPECT_LE(most - least, 1);
    }
  EXPECT_THROW(slice_of(4, 2, 2), Error);
}

TEST(Communicator, OneProcessIsWhatThereIsWithoutALauncher) {
  const auto world = launched_processes();
  EXPECT_EQ(world->size(), 1);
  Tensor t = from_vector({2}, std::vector<double>{1, 2});
  world->all_reduce(t);
  EXPECT_EQ(t.to_vector(), (std::vector<double>{1, 2}));
  EXPECT_EQ(world->max(-3), -3);
  EXPECT_EQ(world->all_gather("one"), (std::vector<std::string>{"one"}));
}

// The epoch of all parts, batch by batch and in order, is the epoch of one loader: samples, pixels, augmentation.
void expect_parts_of_the_epoch(const MixOptions& mix, const ColorJitterOptions& color_jitter) {
  const InMemoryDataset data = small_dataset(43);
  const auto loader = [&](int part, int parts) {
    return Loader(data, {.batch_size = 8,
                         .shuffle = true,
                         .part = part,
                         .parts = parts,
                         .augment = {.pad = 1, .flip = true, .seed = 5},
                         .color_jitter = color_jitter,
                         .mix = mix,
                         .seed = 5,
                         .workers = 0});
  };
  const Loader whole = loader(0, 1);
  for (const int parts : {2, 4}) {
    std::vector<BatchRange> ranges;
    std::vector<BatchRange::Iterator> at;
    std::vector<Loader> loaders;
    for (int i = 0; i < parts; i++) loaders.push_back(loader(i, parts));
    for (const Loader& l : loaders) ranges.push_back(l.epoch(3));
    for (BatchRange& r : ranges) at.push_back(r.begin());
    for (const Batch& batch : whole.epoch(3)) {
      EXPECT_EQ(batch.total, batch.size);
      for (int i = 0; i < parts; i++) {
        const Batch& part = *at[static_cast<size_t>(i)];
        EXPECT_EQ(part.total, batch.size);
        Slice own = slice_of(batch.size, i, parts);
        if (own.size() == 0) own = {0, 1};  // a stand-in
        ASSERT_EQ(part.size, own.size());
        EXPECT_TRUE(all_close(part.images, batch.images.slice(own.begin, own.end)));
        EXPECT_TRUE(all_close(part.indices, batch.indices.slice(own.begin, own.end)));
        EXPECT_TRUE(all_close(part.labels, batch.labels.slice(own.begin, own.end)));
        if (!mix.any()) continue;
        EXPECT_TRUE(all_close(part.other_labels, batch.other_labels.slice(own.begin, own.end)));
        EXPECT_TRUE(all_close(part.share, batch.share.slice(own.begin, own.end)));
      }
      for (auto& iterator : at) ++iterator;
    }
  }
  EXPECT_THROW(loader(0, 3), Error);  // 8 is no multiple
}

TEST(Communicator, PartsOfTheBatchesAreTheEpoch) { expect_parts_of_the_epoch({}, {}); }

// The first sample of a part is mixed with the last of the part before it.
TEST(Communicator, PartsOfMixedBatchesAreTheEpoch) {
  const MixOptions mix{.mixup_alpha = 0.8, .cutmix_alpha = 1};
  expect_parts_of_the_epoch(mix, {});
  expect_parts_of_the_epoch(mix, {.brightness = 0.4});  // pixels that are read one by one
}

// Two halves whose sums are added up: statistics and gradients of the whole.
TEST(Communicator, BatchNormInPartsIsThatOfTheWhole) {
  const Shape shape{6, 3, 3, 5};
  const Tensor x = random_tensor(shape, 1, 99, 101), dy = random_tensor(shape, 2), w = random_tensor({5}, 3, 0.5, 2),
               b = random_tensor({5}, 4);
  const BatchNormOptions o{.relu = true};
  const auto vector = [] { return zeros({5}, {DType::kF64, {}}); };
  Tensor y = empty_like(x), mean = vector(), rstd = vector(), running_mean = vector(), running_var = vector();
  Tensor affine = zeros({2, 5}, {DType::kF64, {}});
  Cpu::batch_norm_train(y, mean, rstd, affine, running_mean, running_var, x, {}, w, b, o);
  Tensor dx = empty_like(x), none, dweight = vector(), dbias = vector();
  Cpu::batch_norm_gradient(dx, none, dweight, dbias, dy, {}, x, {mean, rstd, affine, {}}, w, o);

  const auto half = [](const Tensor& t, int i) { return t.slice(2 * i, i == 0 ? 2 : 6); };  // 2 and 4 rows
  Tensor sums = zeros({2, 5}, {DType::kF64, {}}), part = empty_like(sums);
  for (int i = 0; i < 2; i++) {
    Cpu::batch_norm_sums(part, half(x, i));
    Cpu::add_into(sums, part);
  }
  Tensor m = vector(), var = vector(), r = vector(), rm = vector(), rv = vector();
  Cpu::batch_norm_moments(m, var, r, rm, rv, sums, 6 * 9, o);
  EXPECT_TRUE(all_close(m, mean, {1e-13}));
  EXPECT_TRUE(all_close(r, rstd, {1e-9}));
  EXPECT_TRUE(all_close(rm, running_mean, {1e-13}));
  EXPECT_TRUE(all_close(rv, running_var, {1e-9}));

  Cpu::fill(sums, 0);
  for (int i = 0; i < 2; i++) {
    Cpu::batch_norm_gradient_sums(part, none, half(dy, i), half(x, i), half(y, i), m, o);
    Cpu::add_into(sums, part);
  }
  EXPECT_TRUE(all_close(sums.slice(0, 1).reshape({5}), dbias, {1e-12}));
  for (int i = 0; i < 2; i++) {
    Tensor d = empty_like(half(x, i));
    Cpu::batch_norm_gradient_apply(d, half(dy, i), half(x, i), half(y, i), m, r, w, sums, 6 * 9, o);
    EXPECT_TRUE(all_close(d, half(dx, i), {1e-8}));
  }
}

/// Writes down what it is told.
struct Log : BackwardListener {
  std::vector<std::string> events;
  const Node* last_of_bucket = nullptr;
  std::function<std::string(const Node&)> name;
  bool leaf_done(const Node& leaf) override {
    events.push_back(name(leaf));
    return &leaf == last_of_bucket;
  }
  void summed() override { events.push_back("summed"); }
  void advance() override {}
};

// The operation, with what it records; the only part is the whole.
TEST(Communicator, BatchNormOfOneProcessIsBatchNorm) {
  const auto world = launched_processes();
  const auto x = [] { return random_tensor({5, 3, 4}, 1, -2, 2).set_requires_grad(); };
  const auto residual = [] { return random_tensor({5, 3, 4}, 2).set_requires_grad(); };
  const Tensor seed = random_tensor({5, 3, 4}, 3);
  struct Trial {
    Tensor x, residual, weight, bias, mean, var, y;
  };
  const auto run = [&](const BatchNormPart& part) {
    Trial t{x(),
            residual(),
            random_tensor({4}, 4, 0.5, 1.5).set_requires_grad(),
            random_tensor({4}, 5).set_requires_grad(),
            random_tensor({4}, 6),
            random_tensor({4}, 7, 0.5, 1.5),
            {}};
    t.y = batch_norm(t.x, {t.weight, t.bias, t.mean, t.var}, {.residual = t.residual, .relu = true, .part = part});
    t.y.backward(seed);
    return t;
  };
  const Trial whole = run({}), part = run({world.get(), 15});
  EXPECT_TRUE(all_close(part.y, whole.y, {1e-12}));
  EXPECT_TRUE(all_close(part.mean, whole.mean, {1e-12}));
  EXPECT_TRUE(all_close(part.var, whole.var, {1e-12}));
  EXPECT_TRUE(all_close(part.x.grad(), whole.x.grad(), {1e-10}));
  EXPECT_TRUE(all_close(part.residual.grad(), whole.residual.grad(), {1e-12}));
  EXPECT_TRUE(all_close(part.weight.grad(), whole.weight.grad(), {1e-10}));
  EXPECT_TRUE(all_close(part.bias.grad(), whole.bias.grad(), {1e-12}));
  const Trial stand_in = run({world.get(), 15, false});
  for (double g : stand_in.x.grad().to_vector()) EXPECT_EQ(g, 0);
}

// b is used twice: it is complete after the operation that comes last, and its gradient is the whole sum then.
TEST(Communicator, AListenerHearsOfEachLeafWhenItHasAllItsTerms) {
  Tensor a = ones({2}).set_requires_grad(), b = ones({2}).set_requires_grad();
  a.set_grad(zeros({2}));
  b.set_grad(zeros({2}));
  const Tensor y = sum(mul(mul(a, b), b));
  Log log;
  log.name = [&](const Node& n) { return &n == a.node().get() ? "a" : "b"; };
  log.last_of_bucket = b.node().get();
  {
    const Listening on(log);
    y.backward();
  }
  ASSERT_EQ(log.events.size(), 3u);
  EXPECT_EQ(log.events.back(), "summed");
  EXPECT_EQ(std::set<std::string>(log.events.begin(), log.events.end() - 1), (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(b.grad().to_vector(), (std::vector<double>{2, 2}));
}

/// One of two processes of which the other has the same gradients.
struct Twin : Communicator {
  Twin() : Communicator({0, 2, 0, 1}) {}
  std::vector<int64_t> started;
  std::vector<Tensor> pending;
  void all_reduce(Tensor& t) override { Cpu::add_into(t, t.clone()); }
  void start_all_reduce(const Tensor& t) override {
    started.push_back(t.numel());
    pending.push_back(t);
  }
  void advance() override {}
  void finish() override {
    for (Tensor& t : pending) all_reduce(t);
    pending.clear();
  }
  void all_gather(Tensor&, const Tensor&, const std::vector<int64_t>&) override {}
  void broadcast(Tensor&) override {}
  bool fail(int) override { return true; }
  void await_failure() override { fulcrum::fail("no"); }
  void shut_down(bool) override {}
};

TEST(Communicator, BucketsLeaveOutWhatIsAnothers) {
  std::vector<Tensor> weights;
  for (int i = 0; i < 4; i++) weights.push_back(ones({300}).set_requires_grad());
  Arena::lay_out(weights, {});
  for (const Tensor& w : weights) w.grad().copy_from(ones({300}));
  const std::vector<Tensor> own = {weights[0], weights[1], weights[3]};
  Twin twin;
  GradientBuckets buckets(own, *Arena::holding(own), twin);
  EXPECT_EQ(buckets.count(), 2);
  buckets.finish();
  for (size_t i = 0; i < weights.size(); i++)
    EXPECT_EQ(weights[i].grad().to_vector(), std::vector<double>(300, i == 2 ? 1 : 2)) << i;
}

// Every gradient is in one bucket, and buckets leave during the backward pass, the last layer's first.
TEST(Communicator, BucketsCoverTheArenaAndLeaveEarly) {
  std::vector<Tensor> weights;
  for (int i = 0; i < 8; i++) weights.push_back(full({100, 200}, 0.01).set_requires_grad());
  const Arena arena = Arena::lay_out(weights, {});
  Twin twin;
  GradientBuckets buckets(weights, arena, twin);
  EXPECT_GE(buckets.count(), 3);
  Tensor x = ones({1, 200});
  for (const Tensor& w : weights) x = matmul(matmul(x, transpose(w, 0, 1)), ones({100, 200}));
  {
    const Listening on(buckets);
    sum(x).backward();
  }
  EXPECT_EQ(std::ssize(twin.started), buckets.count());
  std::vector<Tensor> before;
  for (const Tensor& w : weights) before.push_back(w.grad().clone());
  buckets.finish();
  int64_t total = 0;
  for (const int64_t n : twin.started) total += n;
  EXPECT_EQ(total, arena.runs(weights).at(0).size());
  for (size_t i = 0; i < weights.size(); i++) EXPECT_TRUE(all_close(weights[i].grad(), before[i] * 2.0));
}

}  // namespace
}  // namespace fulcrum::testing
