#include "apps/augmentation.h"

#include <limits>

#include "apps/data_sets.h"
#include "apps/image_sets.h"
#include "apps/ranges.h"

namespace fulcrum::apps {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Two numbers, 0 < smallest <= largest.
bool rising(const std::vector<double>& v) { return v.size() == 2 && v[0] > 0 && v[0] <= v[1]; }

void check_parts(const DataSettings& d) {
  if (!rising(d.scale) || d.scale[1] > 1) usage("data.scale: expected two numbers, 0 < smallest <= largest <= 1");
  if (!rising(d.ratio)) usage("data.ratio: expected two numbers, 0 < smallest <= largest");
  if (!d.random_resized_crop && (d.scale != DataSettings().scale || d.ratio != DataSettings().ratio))
    usage(d.scale != DataSettings().scale ? "data.scale" : "data.ratio",
          ": expected data.random_resized_crop = true beside it");
  only_for(d, image_file_sets(), "data.random_crop", d.random_crop);
  if (d.random_crop && (d.random_resized_crop || d.resize_size == 0))
    usage("data.random_crop: expected a data.resize_size and no data.random_resized_crop beside it");
}

void check_erasing(const DataSettings& d) {
  in_range("data.erase", d.erase, 0, 1, "[0, 1]");
  if (!rising(d.erase_scale) || d.erase_scale[1] > 1)
    usage("data.erase_scale: expected two numbers, 0 < smallest <= largest <= 1");
  if (!rising(d.erase_ratio)) usage("data.erase_ratio: expected two numbers, 0 < smallest <= largest");
  const DataSettings unset;
  if (d.erase == 0 && (d.erase_scale != unset.erase_scale || d.erase_ratio != unset.erase_ratio))
    usage(d.erase_scale != unset.erase_scale ? "data.erase_scale" : "data.erase_ratio",
          ": expected data.erase above 0 beside it");
}

void check_colours(const DataSettings& d) {
  const auto& jitter = d.color_jitter;
  if (!jitter.empty() && jitter.size() != 3 && jitter.size() != 4)
    usage("data.color_jitter: expected brightness, contrast, saturation and perhaps hue, got ", jitter.size(),
          " numbers");
  for (size_t i = 0; i < jitter.size(); i++)
    in_range("data.color_jitter", jitter[i], 0, i == 3 ? 0.5 : kInfinity, i == 3 ? "[0, 0.5]" : "[0, inf)");
  in_range("data.randaugment", static_cast<double>(d.randaugment), 0, static_cast<double>(kMaxRandAugmentOps),
           "[0, 16]");
  in_range("data.randaugment_magnitude", static_cast<double>(d.randaugment_magnitude), 0,
           static_cast<double>(kRandAugmentBins - 1), "[0, 30]");
  if (d.randaugment == 0 && d.randaugment_magnitude != DataSettings().randaugment_magnitude)
    usage("data.randaugment_magnitude: expected data.randaugment above 0 beside it");
}

void check_mix(const DataSettings& d) {
  in_range("data.mixup", d.mixup, 0, kInfinity, "[0, inf)");
  in_range("data.cutmix", d.cutmix, 0, kInfinity, "[0, inf)");
  in_range("data.mix_prob", d.mix_prob, 0, 1, "[0, 1]");
  in_range("data.mix_switch_prob", d.mix_switch_prob, 0, 1, "[0, 1]");
  if (!mixes(d) && d.mix_prob != DataSettings().mix_prob)
    usage("data.mix_prob: expected data.mixup or data.cutmix above 0 beside it");
  if (!(d.mixup > 0 && d.cutmix > 0) && d.mix_switch_prob != DataSettings().mix_switch_prob)
    usage("data.mix_switch_prob: expected data.mixup and data.cutmix above 0 beside it");
}

}  // namespace

bool mixes(const DataSettings& d) { return d.mixup > 0 || d.cutmix > 0; }

void check_augmentation(const DataSettings& d) {
  count("data.pad", d.pad, 0);
  in_range("data.rotation", d.rotation, 0, 180, "[0, 180]");
  check_parts(d);
  check_erasing(d);
  check_colours(d);
  check_mix(d);
}

void check_mixing(const Config& c) {
  if (!mixes(c.data)) return;
  const std::string key = c.data.mixup > 0 ? "data.mixup" : "data.cutmix";
  const auto refuse = [&](const auto&... why) { usage(key, ": a mixed sample has two labels; ", why...); };
  if (c.loss.name == "aldr-kl") refuse("loss.name = aldr-kl keeps a lambda of each sample, for one label");
  if (c.loss.tgce_prune_epoch > 0) refuse("loss.tgce_prune_epoch chooses samples by their one label; expected 0");
  if (c.risk.name == "group") refuse("risk.name = group puts each sample into the one group of its label");
  if (c.risk.name == "mean" && c.risk.normalize == "weights" && c.loss.class_weights != "none")
    refuse("risk.normalize = weights divides by the weight of one; expected batch");
}

void set_augmentation(LoaderOptions& o, const Config& c) {
  const DataSettings& d = c.data;
  o.augment = {.pad = static_cast<int>(d.pad),
               .flip = d.flip,
               .rotation = d.rotation,
               .erase = {d.erase, d.erase_scale[0], d.erase_scale[1], d.erase_ratio[0], d.erase_ratio[1]},
               .seed = static_cast<uint64_t>(c.train.seed)};
  if (d.random_resized_crop) o.resized_crop = ResizedCropOptions{d.scale[0], d.scale[1], d.ratio[0], d.ratio[1]};
  if (d.random_crop) o.random_crop_size = d.resize_size;
  const auto jitter = [&](size_t i) { return i < d.color_jitter.size() ? d.color_jitter[i] : 0; };
  o.color_jitter = {jitter(0), jitter(1), jitter(2), jitter(3)};
  o.rand_augment = {d.randaugment, d.randaugment_magnitude};
  o.mix = {d.mixup, d.cutmix, d.mix_prob, d.mix_switch_prob};
}

}  // namespace fulcrum::apps
