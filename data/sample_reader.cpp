#include <fulcrum/data/sample_reader.h>

#include <algorithm>
#include <utility>

#include <fulcrum/core/augment_rules.h>
#include <fulcrum/data/resize.h>

namespace fulcrum {

SampleReader::SampleReader(const Dataset& dataset, const LoaderOptions& o)
    : dataset_(dataset),
      options_(o),
      parts_(o.resized_crop || o.random_crop_size > 0),
      colours_(o.color_jitter.any() || o.rand_augment.ops > 0),
      kernel_(o.augment) {
  if (colours_) kernel_.pad = 0, kernel_.flip = false;
}

void SampleReader::read(int64_t sample, uint64_t counter, uint8_t* out) const {
  if (!needed()) return dataset_.read(sample, out);
  const uint64_t seed = options_.augment.seed;
  thread_local Image image;  // reused: most of the cost of a photograph-sized image is allocating memory
  image = part(sample, counter, std::move(image.pixels));
  if (colours_) {
    image = crop_and_flip(image, counter);
    color_jitter(image, options_.color_jitter, Philox(seed, streams::kColorJitter), counter);
    image = rand_augment(std::move(image), options_.rand_augment, Philox(seed, streams::kRandAugment), counter);
  }
  std::ranges::copy(image.pixels, out);
}

Image SampleReader::part(int64_t sample, uint64_t counter, std::vector<uint8_t> memory) const {
  if (options_.resized_crop) return random_part(sample, counter, std::move(memory));
  const Shape& shape = dataset_.image_shape();
  if (options_.random_crop_size > 0) {
    const int64_t side = options_.random_crop_size;
    thread_local Image image;
    image = dataset_.original(
        sample,
        [side](ImageSize s) {
          return DecodeNeeds{.least_scale =
                                 static_cast<double>(side) / static_cast<double>(std::min(s.height, s.width))};
        },
        std::move(image.pixels));
    const ImageSize resized = size_of_shorter(image, side);
    const Words4 words = Philox(options_.augment.seed, streams::kRandomCrop).block(counter);
    const auto place = [](uint32_t word, int64_t free) {
      return static_cast<int64_t>(Philox::scale(word, static_cast<uint32_t>(free + 1)));
    };
    const CropBox box = {place(words.w[0], resized.height - shape[0]), place(words.w[1], resized.width - shape[1]),
                         shape[0], shape[1]};
    return resized_part(image, resized, box, std::move(memory));
  }
  Image image = {shape[0], shape[1], shape[2], std::move(memory)};
  image.pixels.resize(static_cast<size_t>(shape.numel()));
  dataset_.read(sample, image.pixels.data());
  return image;
}

Image SampleReader::random_part(int64_t sample, uint64_t counter, std::vector<uint8_t> memory) const {
  const Shape& shape = dataset_.image_shape();
  const Philox philox(options_.augment.seed, streams::kResizedCrop);
  ImageSize full;
  CropBox box;
  const auto draw = [&](ImageSize size) {  // called before a JPEG is decoded, so that only the needed part is
    full = size;
    box = random_crop_box(size, *options_.resized_crop, philox, counter);
    return DecodeNeeds{.least_scale = std::max(static_cast<double>(shape[0]) / static_cast<double>(box.height),
                                               static_cast<double>(shape[1]) / static_cast<double>(box.width)),
                       .rows = box.top + box.height};
  };
  thread_local Image image;
  image = dataset_.original(sample, draw, std::move(image.pixels));
  const ImageSize size = {image.height, image.width};
  if (box.height == 0) draw(size);
  return resized_crop(image, scaled_box(box, full, size), shape[0], shape[1], std::move(memory));
}

// Does what the augmentation kernel would do, with the same random draws.
Image SampleReader::crop_and_flip(const Image& image, uint64_t counter) const {
  const AugmentOptions& all = options_.augment;
  const AugmentOptions o = {.pad = all.pad, .flip = all.flip, .seed = all.seed};
  if (o.pad == 0 && !o.flip) return image;
  const AugmentDraw draw(o, Philox(o.seed, streams::kAugment).block(counter), image.height, image.width);
  Image out = {image.height, image.width, image.channels, std::vector<uint8_t>(image.pixels.size())};
  uint8_t* to = out.pixels.data();
  for (int64_t i = 0; i < image.height; i++)
    for (int64_t j = 0; j < image.width; j++, to += image.channels) {
      int64_t y = i, x = j;
      if (draw.to_source(y, x, image.height, image.width))
        std::copy_n(&image.pixels[static_cast<size_t>((y * image.width + x) * image.channels)], image.channels, to);
    }
  return out;
}

}  // namespace fulcrum
