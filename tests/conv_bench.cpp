// One convolution by each way that the CPU back-end has for it, in turns: what the choice in
// core/cpu/conv.cpp and the figures in docs/performance.md rest on.
//
//   cmake --build build --target fulcrum_conv_bench
//   build/fulcrum_conv_bench 2                        2 threads, the layers of ResNet-32 and ResNet-50
//   build/fulcrum_conv_bench 1 128,16,16,32,32,3,1    n,h,w,c_in,c_out,kernel,stride
//
// Prints the least milliseconds of each way over the rounds; "-": it has none.
#include <omp.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <limits>
#include <string>

#include <fulcrum/core/cpu/onednn.h>
#include <fulcrum/core/cpu/tile_conv.h>
#include <fulcrum/core/cpu/winograd_conv.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {
namespace {

using cpu::ConvPass;
using cpu::DirectConv;

struct Layer {
  const char* network;
  int n, h, w, c_in, c_out, kernel, stride;
};

const Layer kLayers[] = {{"ResNet-32", 128, 32, 32, 16, 16, 3, 1},  {"ResNet-32", 128, 16, 16, 32, 32, 3, 1},
                         {"ResNet-32", 128, 8, 8, 64, 64, 3, 1},    {"ResNet-32", 128, 32, 32, 16, 32, 3, 2},
                         {"ResNet-32", 32, 32, 32, 16, 16, 3, 1},   {"ResNet-32", 32, 16, 16, 32, 32, 3, 1},
                         {"ResNet-32", 32, 8, 8, 64, 64, 3, 1},     {"ResNet-50", 32, 16, 16, 64, 64, 3, 1},
                         {"ResNet-50", 32, 8, 8, 128, 128, 3, 1},   {"ResNet-50", 32, 4, 4, 256, 256, 3, 1},
                         {"ResNet-50", 32, 2, 2, 512, 512, 3, 1},   {"ResNet-50", 32, 56, 56, 64, 64, 3, 1},
                         {"ResNet-50", 32, 28, 28, 128, 128, 3, 1}, {"ResNet-50", 32, 14, 14, 256, 256, 3, 1},
                         {"ResNet-50", 32, 7, 7, 512, 512, 3, 1},   {"ResNet-50", 32, 16, 16, 256, 64, 1, 1},
                         {"ResNet-50", 32, 8, 8, 128, 512, 1, 1},   {"ResNet-50", 32, 16, 16, 128, 128, 3, 2}};

DirectConv direct_geometry(const Layer& l) {
  const int padding = l.kernel / 2;
  return {.n = l.n,
          .h = l.h,
          .w = l.w,
          .c_in = l.c_in,
          .out_h = (l.h + 2 * padding - l.kernel) / l.stride + 1,
          .out_w = (l.w + 2 * padding - l.kernel) / l.stride + 1,
          .c_out = l.c_out,
          .kernel_h = l.kernel,
          .kernel_w = l.kernel,
          .stride = l.stride,
          .padding = padding};
}

Conv2dGeometry geometry(const DirectConv& g) {
  return {g.n,        g.h,      g.w,      g.c_in,    g.out_h,   g.out_w, g.c_out, g.kernel_h,
          g.kernel_w, g.stride, g.stride, g.padding, g.padding, 1,       1,       1};
}

Tensor noise(const Shape& shape, DType dtype, uint64_t stream) {
  Tensor t = empty(shape, {dtype, {}});
  fill_normal(t, 0, 1, /*seed=*/1, stream);
  return t;
}

// Runs a pass once; false: this way has none.
using Run = std::function<bool()>;

enum Way : int { kDirect, kWinograd, kTiles, kOnednn, kWays };

template <class T, class Bits>
struct Bench {
  static constexpr DType kType = std::is_same_v<T, float> ? DType::kF32 : DType::kBf16;
  DirectConv g;
  Tensor x = noise({g.n, g.h, g.w, g.c_in}, kType, 1), dx = x.clone();
  Tensor y = noise({g.n, g.out_h, g.out_w, g.c_out}, kType, 2), dy = y.clone();
  Tensor w32 = noise({g.c_out, g.kernel_h, g.kernel_w, g.c_in}, DType::kF32, 3), w = w32.to(kType), dw = w32.clone();

  static Bits* bits(Tensor& t) { return reinterpret_cast<Bits*>(t.data<T>()); }

  bool own(Way way, ConvPass pass, int threads) {
    const bool winograd = way == kWinograd;
    if (!(winograd ? cpu::winograd_conv_supported : cpu::direct_conv_supported)(g, pass)) return false;
    const auto size = (winograd ? cpu::winograd_conv_scratch : cpu::direct_conv_scratch)(g, pass, threads);
    Tensor scratch = empty({static_cast<int64_t>(size)});
    float* s = scratch.data<float>();
    const float* pw = w32.data<float>();
    if (pass == ConvPass::kForward) {
      (winograd ? cpu::winograd_conv_forward<Bits> : cpu::direct_conv_forward<Bits>)(bits(y), bits(x), pw, s, g,
                                                                                     threads);
    } else if (pass == ConvPass::kBackwardData) {
      (winograd ? cpu::winograd_conv_backward_data<Bits> : cpu::direct_conv_backward_data<Bits>)(bits(dx), bits(dy), pw,
                                                                                                 s, g, threads);
    } else {
      (winograd ? cpu::winograd_conv_backward_weights<Bits>
                : cpu::direct_conv_backward_weights<Bits>)(dw.data<float>(), bits(x), bits(dy), s, g, threads);
    }
    return true;
  }

  bool tiles(ConvPass pass, int threads) {
    if constexpr (kType == DType::kBf16) {
      if (pass != ConvPass::kBackwardWeights || !cpu::tiles_available() || !cpu::tile_conv_supported(g)) return false;
      Tensor scratch = empty({static_cast<int64_t>(cpu::tile_conv_scratch(g, pass, threads))});
      cpu::tile_conv_backward_weights(dw.data<float>(), bits(x), bits(dy), scratch.data<float>(), g, threads);
      return true;
    }
    return false;
  }

  bool run(Way way, ConvPass pass, int threads) {
    if (way == kTiles) return tiles(pass, threads);
    if (way != kOnednn) return own(way, pass, threads);
    const Conv2dGeometry all = geometry(g);
    if (pass == ConvPass::kForward) return cpu::onednn_conv2d(y, x, w, {}, all);
    if (pass == ConvPass::kBackwardData) return cpu::onednn_conv2d_data_gradient(dx, dy, w, all);
    return cpu::onednn_conv2d_weight_gradient(dw, dy, x, all);
  }

  void report(const Layer& layer, int threads, int rounds) {
    using Clock = std::chrono::steady_clock;
    const char* names[] = {"forward", "data", "weights"};
    for (const ConvPass pass : {ConvPass::kForward, ConvPass::kBackwardData, ConvPass::kBackwardWeights}) {
      std::array<double, kWays> least{};
      for (int round = 0; round < rounds; round++)
        for (int way = 0; way < kWays; way++) {
          const auto start = Clock::now();
          if (!run(static_cast<Way>(way), pass, threads)) continue;
          const double ms = 1e3 * std::chrono::duration<double>(Clock::now() - start).count();
          auto& best = least[static_cast<size_t>(way)];
          best = best == 0 ? ms : std::min(best, ms);
        }
      std::printf("%-10s %4d %3dx%-3d %4d to %4d %dx%d/%d %-5s %-8s", layer.network, g.n, g.h, g.w, g.c_in, g.c_out,
                  g.kernel_h, g.kernel_w, g.stride, kType == DType::kF32 ? "f32" : "bf16",
                  names[static_cast<int>(pass)]);
      for (const double ms : least) ms > 0 ? std::printf("%9.3f", ms) : std::printf("%9s", "-");
      std::printf("\n");
      std::fflush(stdout);
    }
  }
};

int bench(int argc, char** argv) {
  constexpr int kRounds = 15;
  const int threads = argc > 1 ? std::stoi(argv[1]) : omp_get_max_threads();
  omp_set_num_threads(threads);
  std::printf("%d threads, ms%41s%9s%9s%9s%9s\n", threads, "", "direct", "winograd", "tiles", "oneDNN");
  const auto both = [&](const Layer& layer) {
    const DirectConv g = direct_geometry(layer);
    Bench<float, float>{g}.report(layer, threads, kRounds);
    Bench<bf16, std::uint16_t>{g}.report(layer, threads, kRounds);
  };
  if (argc <= 2)
    for (const Layer& layer : kLayers) both(layer);
  for (int i = 2; i < argc; i++) {
    Layer l{"", 0, 0, 0, 0, 0, 0, 0};
    if (std::sscanf(argv[i], "%d,%d,%d,%d,%d,%d,%d", &l.n, &l.h, &l.w, &l.c_in, &l.c_out, &l.kernel, &l.stride) != 7) {
      std::fprintf(stderr, "expected n,h,w,c_in,c_out,kernel,stride, got %s\n", argv[i]);
      return 2;
    }
    both(l);
  }
  return 0;
}

}  // namespace
}  // namespace fulcrum

int main(int argc, char** argv) { return fulcrum::bench(argc, argv); }
