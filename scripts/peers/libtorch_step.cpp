// PyTorch's C++ API beside `fulcrum bench`: ResNet-32 with the option A shortcut (cifar_resnet.py) on random 32×32
// images, channels_last, torch::optim::SGD; with --inference the logits alone, with --amp bf16 under autocast. A server
// (step_server.h), built and driven by cpu_bench.sh.
//
//   libtorch_step --batch-size 128 --threads 2 --amp bf16
#include <torch/torch.h>
#include <torch/version.h>

#include <ATen/autocast_mode.h>

#include "step_server.h"

namespace F = torch::nn::functional;

torch::nn::Conv2d conv3x3(int in, int out, int stride) {
  return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false));
}

struct BlockImpl : torch::nn::Module {
  BlockImpl(int in, int out, int stride)
      : stride(stride),
        pad((out - in) / 2),
        conv1(register_module("conv1", conv3x3(in, out, stride))),
        conv2(register_module("conv2", conv3x3(out, out, 1))),
        bn1(register_module("bn1", torch::nn::BatchNorm2d(out))),
        bn2(register_module("bn2", torch::nn::BatchNorm2d(out))) {}

  torch::Tensor forward(torch::Tensor x) {
    torch::Tensor y = bn2(conv2(torch::relu(bn1(conv1(x)))));
    if (stride != 1) {  // option A: every second pixel, zeros for the new channels
      using torch::indexing::Slice;
      const Slice all, picked(torch::indexing::None, torch::indexing::None, stride);
      x = F::pad(x.index({all, all, picked, picked}), F::PadFuncOptions({0, 0, 0, 0, pad, pad}));
    }
    return torch::relu(y + x);
  }

  int stride, pad;
  torch::nn::Conv2d conv1, conv2;
  torch::nn::BatchNorm2d bn1, bn2;
};
TORCH_MODULE(Block);

struct Resnet32 : torch::nn::Module {
  Resnet32() {
    constexpr int kBlocks = 5;
    int in = 16;
    for (const int out : {16, 32, 64})
      for (int i = 0; i < kBlocks; i++, in = out) stages->push_back(Block(in, out, out != in ? 2 : 1));
    register_module("stages", stages);
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = stages->forward(torch::relu(bn1(conv1(x))));
    return fc(torch::flatten(torch::adaptive_avg_pool2d(y, {1, 1}), 1));
  }

  torch::nn::Conv2d conv1{register_module("conv1", conv3x3(3, 16, 1))};
  torch::nn::BatchNorm2d bn1{register_module("bn1", torch::nn::BatchNorm2d(16))};
  torch::nn::Sequential stages;
  torch::nn::Linear fc{register_module("fc", torch::nn::Linear(64, 10))};
};

int main(int argc, char** argv) {
  const Flags flags = parse_flags(argc, argv, "ResNet-32 in PyTorch's C++ API; a server of `run SECONDS`");
  torch::set_num_threads(flags.threads);
  torch::manual_seed(0);
  Resnet32 model;
  model.train(!flags.inference);
  for (torch::Tensor& p : model.parameters())
    if (p.dim() == 4) p.set_data(p.contiguous(torch::MemoryFormat::ChannelsLast));
  const torch::Tensor images =
      torch::randn({flags.batch_size, 3, 32, 32}).contiguous(torch::MemoryFormat::ChannelsLast);
  const torch::Tensor labels = torch::arange(flags.batch_size) % 10;
  torch::optim::SGD optimizer(model.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(2e-4));
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);

  const auto forward = [&] {
    at::autocast::set_autocast_enabled(at::kCPU, flags.amp == "bf16");
    const torch::Tensor logits = model.forward(images);
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
    return logits.to(torch::kFloat);
  };
  const auto train = [&] {
    optimizer.zero_grad();
    const torch::Tensor loss = F::cross_entropy(forward(), labels);
    loss.backward();
    optimizer.step();
    return loss.item<double>();
  };
  const auto infer = [&] {
    const c10::InferenceMode guard;
    return forward()[0][0].item<double>();
  };
  return flags.inference ? serve(flags, TORCH_VERSION, infer) : serve(flags, TORCH_VERSION, train);
}
