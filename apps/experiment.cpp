#include "apps/experiment.h"

#include <cmath>
#include <cstring>

#include <fulcrum/data/cifar.h>
#include <fulcrum/data/idx.h>
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/noise.h>

namespace fulcrum::apps {

namespace {

// A fast hash of 64-bit words (the mixing step of MurmurHash2), to tell data apart, not to protect.
class Hash {
 public:
  void add(const void* data, size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    for (; bytes >= 8; p += 8, bytes -= 8) {
      uint64_t word;
      std::memcpy(&word, p, 8);
      mix(word);
    }
    for (; bytes; bytes--) mix(*p++);
  }
  uint64_t value() const { return state_; }

 private:
  void mix(uint64_t word) {
    constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995u;
    word *= kMultiplier;
    state_ = (state_ ^ (word ^ (word >> 47)) * kMultiplier) * kMultiplier;
  }
  uint64_t state_ = 0x66756c6372756dU;
};

uint64_t checksum_of(const InMemoryDataset& data, const std::vector<int64_t>& indices) {
  Hash hash;
  hash.add(indices.data(), indices.size() * sizeof(int64_t));
  const Tensor images = data.images();
  const auto bytes = static_cast<size_t>(images.numel() / images.size(0));
  for (int64_t i : indices) {
    hash.add(images.data<uint8_t>() + static_cast<size_t>(i) * bytes, bytes);
    hash.add(&data.labels()[static_cast<size_t>(i)], sizeof(int64_t));
  }
  return hash.value();
}

TransitionMatrix noise_matrix(const DataSettings& s, int64_t classes) {
  if (s.noise_type == "symmetric") return symmetric_noise(classes, s.noise_rate);
  if (s.name == "cifar10") return asymmetric_cifar10_noise(s.noise_rate);
  if (s.name == "cifar100") return superclass_noise(cifar100_superclasses(), s.noise_rate);
  throw UsageError("data.noise_type: asymmetric noise is defined for cifar10 and cifar100, not for " + s.name);
}

}  // namespace

std::filesystem::path data_dir(const DataSettings& s) {
  if (!s.dir.empty()) return s.dir;
  if (s.name == "fashion-mnist") return "/usr/share/datasets/fashion-mnist";
  throw UsageError("data.dir: say where " + s.name + " lies (--data-dir or FULCRUM_DATA_DIR)");
}

ExperimentData load_data(const DataSettings& s) {
  const auto dir = data_dir(s);
  const auto load = [&](bool train) {
    if (s.name == "cifar10") return load_cifar10(dir, train);
    if (s.name == "cifar100") return load_cifar100(dir, train);
    return load_fashion_mnist(dir, train);
  };
  ExperimentData d;
  d.train = std::make_unique<InMemoryDataset>(load(true));
  d.test = std::make_unique<InMemoryDataset>(load(false));
  d.statistics = s.name == "cifar10"    ? cifar10_statistics()
                 : s.name == "cifar100" ? cifar100_statistics()
                                        : fashion_mnist_statistics();
  const auto seed = static_cast<uint64_t>(s.subset_seed);
  const int64_t classes = d.train->classes();
  // Without imbalance a limit on the class size is a step of ratio 1.
  const Imbalance type = s.imb_type == "none" && s.n_max > 0 ? Imbalance::kStep : parse_imbalance(s.imb_type);
  const double ratio = s.imb_type == "none" ? 1 : s.imb_factor;
  d.train_indices = type == Imbalance::kNone
                        ? all_indices(d.train->size())
                        : imbalanced_subset(d.train->labels(), classes, {type, ratio, s.n_max, seed});
  if (s.noise_type != "none")
    d.train->set_labels(add_label_noise(d.train->labels(), d.train_indices, noise_matrix(s, classes), seed));
  // After the noise: who tunes on data with wrong labels has no others to select by.
  if (s.val_fraction > 0) {
    Split split = stratified_split(d.train->labels(), d.train_indices, s.val_fraction, seed);
    d.train_indices = std::move(split.train);
    d.val_indices = std::move(split.held_out);
  }
  d.class_counts = class_counts(gather(d.train->labels(), d.train_indices), classes);
  d.checksum = checksum_of(*d.train, d.train_indices);
  return d;
}

DType activation_dtype(const Config& c) { return c.train.amp == "bf16" ? DType::kBf16 : DType::kF32; }

std::unique_ptr<Module> make_model(const Config& c, const Dataset& data) {
  try {
    return fulcrum::make_model(c.model.name, {.classes = data.classes(),
                                              .channels = data.image_shape()[2],
                                              .dropout = c.model.dropout,
                                              .stem = c.model.stem,
                                              .seed = static_cast<uint64_t>(c.train.seed)});
  } catch (const Error& e) {  // of settings that name or describe no network
    throw UsageError(e.what());
  }
}

std::unique_ptr<Optimizer> make_optimizer(const Config& c, std::vector<Tensor> parameters) {
  const OptimSettings& o = c.optim;
  std::unique_ptr<Optimizer> optimizer;
  if (o.name == "sgd") {
    optimizer = std::make_unique<Sgd>(
        std::move(parameters), SgdOptions{o.lr, o.momentum, o.weight_decay, o.nesterov, o.max_norm});
  } else {
    optimizer = std::make_unique<Adam>(
        std::move(parameters),
        AdamOptions{o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.name == "adamw", o.max_norm});
  }
  if (c.risk.name == "kl") {
    const RiskSettings& r = c.risk;
    optimizer->set_risk(std::make_unique<KlRisk>(
        KlRiskOptions{r.lambda, r.gamma, r.alpha, r.additive,
                      r.u_init == "zero" ? UInit::kZero : UInit::kFirstBatch, r.keep_u},
        Device(c.train.device)));
  }
  return optimizer;
}

Schedule make_schedule(const Config& c) {
  const ScheduleSettings& s = c.schedule;
  return Schedule({.kind = s.kind,
                   .epochs = static_cast<int>(c.train.epochs),
                   .milestones = {s.milestones.begin(), s.milestones.end()},
                   .step_size = static_cast<int>(s.step_size),
                   .gamma = s.gamma,
                   .min_factor = s.min_factor,
                   .warmup = static_cast<int>(s.warmup)});
}

Loader make_train_loader(const Config& c, const ExperimentData& d) {
  const auto seed = static_cast<uint64_t>(c.train.seed);
  LoaderOptions o;
  o.batch_size = c.train.batch_size;
  o.indices = d.train_indices;
  o.shuffle = true;
  // Batch normalisation cannot train on a last batch of one sample.
  o.drop_last = static_cast<int64_t>(d.train_indices.size()) % c.train.batch_size == 1;
  o.augment = {.pad = static_cast<int>(c.data.pad), .flip = c.data.flip, .seed = seed};
  o.mean = d.statistics.mean;
  o.stddev = d.statistics.stddev;
  o.seed = seed;
  o.dtype = activation_dtype(c);
  o.device = Device(c.train.device);
  o.workers = static_cast<int>(c.data.workers);
  if (c.data.sampler == "class-balanced")
    o.sampler = class_balanced_sampler(d.train->labels(), d.train_indices, seed);
  return Loader(*d.train, std::move(o));
}

Loader make_eval_loader(const Config& c, const Dataset& data, std::vector<int64_t> indices,
                        const ChannelStatistics& statistics) {
  LoaderOptions o;
  o.batch_size = kEvalBatch;
  o.indices = std::move(indices);
  o.mean = statistics.mean;
  o.stddev = statistics.stddev;
  o.dtype = activation_dtype(c);
  o.device = Device(c.train.device);
  o.workers = static_cast<int>(c.data.workers);
  return Loader(data, std::move(o));
}

Tensor class_balanced_weights(const std::vector<int64_t>& counts, double beta) {
  check(beta >= 0 && beta < 1, "[class weights] expected beta in [0, 1), got ", beta);
  std::vector<double> w;
  double total = 0;
  for (int64_t n : counts) {
    w.push_back(n > 0 ? (1 - beta) / (1 - std::pow(beta, static_cast<double>(n))) : 0);
    total += w.back();
  }
  for (double& x : w) x *= static_cast<double>(counts.size()) / total;
  return from_vector({static_cast<int64_t>(w.size())}, w);
}

}  // namespace fulcrum::apps
