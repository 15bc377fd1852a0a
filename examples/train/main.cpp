// Trains ResNet-8 with ABSGD on a long tail of generated images, saves it and loads it again.
#include <cstdio>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/data/imbalance.h>
#include <fulcrum/data/loader.h>
#include <fulcrum/layers/resnet.h>
#include <fulcrum/optim/absgd.h>

using namespace fulcrum;

// Makes images of four classes: in class k, row 3k + 3 is bright, under noise.
InMemoryDataset make_rows() {
  const int64_t size = 16;
  Tensor images = empty({800, size, size, 1}, {DType::kU8, {}});
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < images.size(0); i++) labels.push_back(i % 4);
  const Philox noise(/*seed=*/1, /*stream=*/100);
  for (int64_t i = 0; i < images.numel(); i++) {
    const int64_t image = i / (size * size), row = i / size % size;
    const uint32_t base = row == 3 * (image % 4) + 3 ? 128 : 0;
    images.data<uint8_t>()[i] = static_cast<uint8_t>(base + noise.below(static_cast<uint64_t>(i), 128));
  }
  return {images, labels, numbered_class_names(4)};
}

int main() {
  const InMemoryDataset train = make_rows();
  const std::vector<int64_t> subset = imbalanced_subset(train.labels(), train.classes(), {.ratio = 0.1, .seed = 1});
  const ChannelStatistics statistics = channel_statistics(train, subset);
  Loader loader(train, {.batch_size = 64,
                        .indices = subset,
                        .shuffle = true,
                        .drop_last = true,
                        .mean = statistics.mean,
                        .stddev = statistics.stddev});

  Resnet net = resnet8({.classes = train.classes(), .channels = 1});
  net.to(Device("cpu"));
  Absgd opt(net.parameters(), {.lr = 0.1, .lambda = 5});
  double first = 0, last = 0;
  for (int64_t epoch = 0; epoch < 5; epoch++) {
    double total = 0;
    for (const Batch& batch : loader.epoch(epoch)) {
      Tensor losses = cross_entropy(net(batch.images), batch.labels);  // one per sample
      opt.zero_grad();
      opt.weigh(losses).backward();
      opt.step();
      total += mean(losses).item();
    }
    last = total / static_cast<double>(loader.batches());
    if (epoch == 0) first = last;
    std::printf("epoch %d  loss %.3f\n", static_cast<int>(epoch) + 1, last);
  }
  std::printf("the loss %s from %.3f to %.3f\n", last < first ? "fell" : "rose", first, last);

  save_tensors("model.safetensors", {net.state_dict(), {}});
  Resnet reloaded = resnet8({.classes = train.classes(), .channels = 1, .seed = 2});
  reloaded.load_state_dict(load_tensors("model.safetensors").tensors);
  net.eval();
  reloaded.eval();
  const NoGrad no_grad;
  const Batch batch = *loader.begin();
  const bool same = net(batch.images).to_vector() == reloaded(batch.images).to_vector();
  std::printf("the reloaded model gives %s logits\n", same ? "the same" : "other");
  return last < first && same ? 0 : 1;
}
