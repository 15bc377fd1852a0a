// Augmentation of training images: turns the [data] settings into options of the loader.
//
//   set_augmentation(loader_options, config);
#pragma once

#include <fulcrum/data/loader.h>

#include "apps/config.h"

namespace fulcrum::apps {

/// Refuses values that are out of range or do not go together.
void check_augmentation(const DataSettings& settings);
/// Refuses Mixup and CutMix together with a loss or a risk that is not defined for a sample with two labels.
void check_mixing(const Config& config);
bool mixes(const DataSettings& settings);

/// Sets augment, resized_crop, random_crop_size, color_jitter, rand_augment and mix.
void set_augmentation(LoaderOptions& options, const Config& config);

}  // namespace fulcrum::apps
