#include "apps/experiment.h"

#include <algorithm>

#include <fulcrum/core/hash.h>
#include <fulcrum/data/cifar.h>
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/noise.h>

#include "apps/augmentation.h"
#include "apps/data_sets.h"
#include "apps/parameters.h"
#include "apps/ranges.h"
#include "apps/risks.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

uint64_t checksum_of(const Dataset& data, const std::vector<int64_t>& indices) {
  Hash hash;
  hash.add(indices.data(), indices.size() * sizeof(int64_t));
  const Tensor images = data.images();
  const auto bytes = static_cast<size_t>(data.image_shape().numel());
  if (!images) {
    const auto sizes = data.image_shape().sizes();
    hash.add(sizes.data(), sizes.size() * sizeof(int64_t));
  }
  for (int64_t i : indices) {
    if (images) {
      hash.add(images.data<uint8_t>() + static_cast<size_t>(i) * bytes, bytes);
    } else {
      const std::string identity = data.identity(i);
      hash.add(identity.data(), identity.size());
    }
    hash.add(&data.labels()[static_cast<size_t>(i)], sizeof(int64_t));
  }
  return hash.value();
}

TransitionMatrix noise_matrix(const DataSettings& s, int64_t classes) {
  if (s.noise_type == "symmetric") return symmetric_noise(classes, s.noise_rate);
  if (s.noise_type == "matrix") {
    try {
      return load_transition_matrix(s.noise_matrix, classes);
    } catch (const Error& e) {
      usage("data.noise_matrix: ", e.what());
    }
  }
  if (s.name == "cifar10") return asymmetric_cifar10_noise(s.noise_rate);
  if (s.name == "cifar100") return superclass_noise(cifar100_superclasses(), s.noise_rate);
  throw UsageError("data.noise_type: asymmetric noise is defined for cifar10 and cifar100, not for " + s.name);
}

// The statistics of the training set, for data without published ones; of an evenly spaced sample if the set is large.
ChannelStatistics own_statistics(const Dataset& train, const std::vector<int64_t>& indices) {
  constexpr int64_t kSample = 5000;
  const int64_t n = std::ssize(indices);
  if (n <= kSample) return channel_statistics(train, indices);
  std::vector<int64_t> sample;  // evenly spaced, since folders list one class after the other
  for (int64_t i = 0; i < kSample; i++) sample.push_back(indices[static_cast<size_t>(i * n / kSample)]);
  return channel_statistics(train, sample);
}

ChannelStatistics choose_statistics(const DataSettings& s, const DataSets& sets, const std::vector<int64_t>& indices) {
  const auto channels = static_cast<size_t>(sets.train->image_shape()[2]);
  if (!s.mean.empty()) {
    if (s.mean.size() != channels)
      throw UsageError(
          concat_text("data.mean: expected ", channels, " numbers, one for each channel, got ", s.mean.size()));
    return {s.mean, s.stddev};
  }
  return sets.published ? *sets.published : own_statistics(*sets.train, indices);
}

}  // namespace

ExperimentData load_data(const DataSettings& s) {
  DataSets sets = open_data_sets(s);
  ExperimentData d;
  const auto seed = static_cast<uint64_t>(s.subset_seed);
  const int64_t classes = sets.train->classes();
  // A limit on the class size without imbalance is a step imbalance of ratio 1.
  const Imbalance type = s.imb_type == "none" && s.n_max > 0 ? Imbalance::kStep : parse_imbalance(s.imb_type);
  const double ratio = s.imb_type == "none" ? 1 : s.imb_factor;
  try {
    d.train_indices = type == Imbalance::kNone
                          ? all_indices(sets.train->size())
                          : imbalanced_subset(sets.train->labels(), classes, {type, ratio, s.n_max, seed});
  } catch (const Error& e) {  // a class with fewer samples than the settings ask for
    throw UsageError(concat_text("data.imb_type = ", s.imb_type, ", data.imb_factor = ", s.imb_factor,
                                 ", data.n_max = ", s.n_max, ": ", e.what()));
  }
  // Before the split, so that the statistics do not depend on what is held out.
  d.statistics = choose_statistics(s, sets, d.train_indices);
  d.train = std::move(sets.train);
  d.test = std::move(sets.test);
  for (DataSplit& split : sets.splits) {
    if (split.name == "val") d.val = std::move(split.data);
    else d.splits.push_back(std::move(split));
  }
  d.skipped = std::move(sets.skipped);
  if (s.noise_type != "none")
    d.train->set_labels(add_label_noise(d.train->labels(), d.train_indices, noise_matrix(s, classes), seed));
  // After the noise: whoever tunes on data with wrong labels has no other labels to select by.
  if (s.val_fraction > 0) {
    Split split = stratified_split(d.train->labels(), d.train_indices, s.val_fraction, seed);
    d.train_indices = std::move(split.train);
    d.val_indices = std::move(split.held_out);
  }
  d.class_counts = class_counts(gather(d.train->labels(), d.train_indices), classes);
  const auto whole = [](const Dataset& data) { return checksum_of(data, all_indices(data.size())); };
  Hash others;
  if (d.val) others.add_text(std::to_string(whole(*d.val)));
  for (const DataSplit& split : d.splits) others.add_text(std::to_string(whole(*split.data)));
  d.checksums = {checksum_of(*d.train, d.train_indices), whole(*d.test), others.value()};
  d.leaks = std::move(sets.leaks);
  if (d.leaks.empty() && d.checksums.training == d.checksums.test)
    d.leaks.push_back(
        concat_text("the ", d.test->size(), " images of test are the training images, in the same order"));
  return d;
}

DType activation_dtype(const Config& c) { return c.train.amp == "bf16" ? DType::kBf16 : DType::kF32; }

std::unique_ptr<Module> named_model(const std::string& name, const ModelOptions& options) {
  try {
    return fulcrum::make_model(name, options);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
}

std::unique_ptr<Module> make_model(const Config& c, const Dataset& data) {
  return make_model(c, data.image_shape(), data.classes());
}

std::unique_ptr<Module> make_model(const Config& c, const Shape& image, int64_t classes) {
  std::unique_ptr<Module> model = named_model(c.model.name, {.classes = classes,
                                                             .channels = image[2],
                                                             .dropout = c.model.dropout,
                                                             .image = {image[0], image[1]},
                                                             .normed_head = c.loss.name == "ldam",
                                                             .stem = c.model.stem,
                                                             .seed = static_cast<uint64_t>(c.train.seed),
                                                             .recompute = c.train.recompute});
  if (c.model.freeze == "backbone") freeze_backbone(*model);
  return model;
}

std::unique_ptr<Optimizer> make_optimizer(const Config& c, const Module& model,
                                          const std::vector<int64_t>& class_counts) {
  const OptimSettings& o = c.optim;
  std::vector<ParamGroup> groups = parameter_groups(model, o);
  std::unique_ptr<Optimizer> optimizer;
  if (o.name == "sgd") {
    optimizer =
        std::make_unique<Sgd>(std::move(groups), SgdOptions{o.lr, o.momentum, o.weight_decay, o.nesterov, o.max_norm});
  } else {
    optimizer = std::make_unique<Adam>(
        std::move(groups), AdamOptions{o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.name == "adamw", o.max_norm});
  }
  optimizer->set_risk(make_risk(c, class_counts));
  return optimizer;
}

Schedule make_schedule(const Config& c) {
  const ScheduleSettings& s = c.schedule;
  return Schedule({.kind = s.kind,
                   .epochs = static_cast<int>(c.train.epochs),
                   .milestones = {s.milestones.begin(), s.milestones.end()},
                   .step_size = static_cast<int>(s.step_size),
                   .gamma = s.gamma,
                   .factors = s.factors,
                   .min_factor = s.min_factor,
                   .warmup = static_cast<int>(s.warmup)});
}

namespace {
// Drops a last batch of one sample, on which batch normalisation cannot train.
bool drops_last(const Config& c, int64_t samples) { return samples % c.train.batch_size == 1; }
}  // namespace

int64_t steps_of_epoch(const Config& c, int64_t samples) {
  const int64_t all = batches_of(samples, c.train.batch_size, drops_last(c, samples)), limit = c.train.limit_batches;
  return limit > 0 ? std::min(limit, all) : all;
}

Loader make_train_loader(const Config& c, const ExperimentData& d, int part, int parts) {
  const Shape& image = d.train->image_shape();
  if (c.data.pad >= std::min(image[0], image[1]))  // crops could be outside the image
    usage("data.pad: expected less than the images' shorter side, ", std::min(image[0], image[1]), " of ", image[0],
          "x", image[1], " (height x width), got ", c.data.pad);
  const auto seed = static_cast<uint64_t>(c.train.seed);
  LoaderOptions o;
  o.batch_size = c.train.batch_size;
  o.part = part;
  o.parts = parts;
  if (c.data.sampler == "class-balanced") {
    o.sampler = class_balanced_sampler(d.train->labels(), d.train_indices, seed);
  } else {
    o.indices = d.train_indices;
    o.shuffle = true;
  }
  o.drop_last = drops_last(c, std::ssize(d.train_indices));
  set_augmentation(o, c);
  o.mean = d.statistics.mean;
  o.stddev = d.statistics.stddev;
  o.seed = seed;
  o.dtype = activation_dtype(c);
  o.device = Device(c.train.device);
  o.workers = static_cast<int>(c.data.workers);
  return Loader(*d.train, std::move(o));
}

// A few megabytes a batch, however large the images are. On a GPU up to four times as many images, to keep it busy, but
// not so many that a process would have no batch.
int64_t eval_batch(const Dataset& data, Device device) {
  const int64_t batch = std::clamp((int64_t{1} << 23) / data.image_shape().numel(), int64_t{1}, int64_t{500});
  if (device.is_cpu()) return batch;
  const int64_t processes = world().size();
  return std::clamp((data.size() + processes - 1) / processes, batch, 4 * batch);
}

Loader make_eval_loader(const Config& c, const Dataset& data, std::vector<int64_t> indices,
                        const ChannelStatistics& statistics) {
  LoaderOptions o;
  o.batch_size = eval_batch(data, Device(c.train.device));
  o.indices = std::move(indices);
  o.mean = statistics.mean;
  o.stddev = statistics.stddev;
  o.dtype = activation_dtype(c);
  o.device = Device(c.train.device);
  o.workers = static_cast<int>(c.data.workers);
  return Loader(data, std::move(o));
}

}  // namespace fulcrum::apps
