// Measures what the design of the CUDA back-end depends on: see run.sh. Prints one JSON object per line to stdout as
// soon as it is known, so that what was measured survives an early end.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <cuda_runtime_api.h>
#include <cudnn_frontend.h>

#include "graphs.h"
#include "kernels.h"
#include "networks.h"
#include "options.h"

void* cudnn_frontend::cudnn_dlhandle = nullptr;

namespace probe {
namespace {

using Clock = std::chrono::steady_clock;

void check(bool good, const std::string& message) {
  if (!good) throw std::runtime_error(message);
}
void check(cudaError_t status, const char* expression) {
  check(status == cudaSuccess, std::string(expression) + ": " + cudaGetErrorString(status));
}
#define CHECK(expression) check((expression), #expression)

/// Prints {"kind": …, …} when it is destroyed.
class Line {
 public:
  explicit Line(const std::string& kind) { text_ << "{\"kind\": \"" << kind << '"'; }
  template <class T>
  Line& add(const char* key, const T& value) {
    text_ << ", \"" << key << "\": ";
    if constexpr (std::is_arithmetic_v<T>) text_ << value;
    else text_ << '"' << value << '"';
    return *this;
  }
  Line& raw(const char* key, const std::string& json) {
    text_ << ", \"" << key << "\": " << json;
    return *this;
  }
  ~Line() { std::cout << text_.str() << "}" << std::endl; }

 private:
  std::ostringstream text_;
};

// ---- the device -------------------------------------------------------------------------------------

/// Memory that grows to the largest demand.
class Buffer {
 public:
  /// Returns at least `bytes` bytes, with undefined contents.
  void* of(size_t bytes) {
    if (bytes > size_) {
      if (data_) CHECK(cudaFree(data_));
      data_ = nullptr;
      size_ = 0;
      CHECK(cudaMalloc(&data_, bytes));
      size_ = bytes;
    }
    return data_;
  }
  /// Filled with random numbers, anew each time. Zeros take less power and let the clock rise; so may the NaNs as which
  /// an earlier result of another type can be read.
  void* random(size_t bytes, cudaStream_t stream) {
    static uint32_t seed = 0;
    const size_t words = (bytes + 3) / 4;
    void* data = of(4 * words);
    launch_random(data, words, ++seed, stream);
    CHECK(cudaGetLastError());
    return data;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

class Gpu {
 public:
  Gpu() {
    CHECK(cudaGetDeviceProperties(&properties_, 0));
    CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    CHECK(cudaEventCreate(&start_));
    CHECK(cudaEventCreate(&stop_));
  }
  cudaStream_t stream() const { return stream_; }
  const cudaDeviceProp& properties() const { return properties_; }
  int multiprocessors() const { return properties_.multiProcessorCount; }

  /// Median over rounds of microseconds per launch; a round takes some milliseconds at most.
  double time(const std::function<void()>& launch, int most = 10, int rounds = 5) {
    launch();
    CHECK(cudaStreamSynchronize(stream_));
    const double once = of(launch, 1);
    const int launches = std::clamp(static_cast<int>(kRound / once), 1, most);
    std::vector<double> times;
    for (int round = 0; round < rounds; round++) times.push_back(of(launch, launches));
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  /// The same, replayed as a CUDA graph of `launches` launches: without the cost of launching. A kernel of more than
  /// 500 µs is timed by one launch, since that cost is no part of its time.
  double time_in_graph(const std::function<void()>& launch, int launches = 20) {
    launch();
    CHECK(cudaStreamSynchronize(stream_));
    if (const double once = of(launch, 1); once > kRound / 10) return once;
    CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
    for (int i = 0; i < launches; i++) launch();
    cudaGraph_t graph = nullptr;
    CHECK(cudaStreamEndCapture(stream_, &graph));
    cudaGraphExec_t executable = nullptr;
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    const double us = time([&] { CHECK(cudaGraphLaunch(executable, stream_)); }, 5);
    CHECK(cudaGraphExecDestroy(executable));
    CHECK(cudaGraphDestroy(graph));
    return us / launches;
  }

 private:
  static constexpr double kRound = 5000;  // microseconds

  double of(const std::function<void()>& launch, int launches) {
    CHECK(cudaEventRecord(start_, stream_));
    for (int i = 0; i < launches; i++) launch();
    CHECK(cudaEventRecord(stop_, stream_));
    CHECK(cudaEventSynchronize(stop_));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, start_, stop_));
    return std::max(1e-3, 1e3 * static_cast<double>(ms) / launches);
  }

  cudaDeviceProp properties_{};
  cudaStream_t stream_{};
  cudaEvent_t start_{}, stop_{};
};

// ---- what is measured ---------------------------------------------------------------------------------

class Probe {
 public:
  explicit Probe(const Options& o)
      : options_(o), end_(Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(1e3 * o.seconds))) {
    ::setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", ("libcudart.so." + std::to_string(CUDART_VERSION / 1000)).c_str(), 0);
    void* library = ::dlopen(o.cudnn.c_str(), RTLD_NOW);
    check(library != nullptr, "cuDNN: " + std::string(library ? "" : ::dlerror()));
    fe::cudnn_dlhandle = library;
    if (o.dry_run) {
      device_ = h200();
      return;
    }
    gpu_ = std::make_unique<Gpu>();
    check(fe::detail::create_handle(&handle_) == CUDNN_STATUS_SUCCESS, "cudnnCreate failed");
    check(fe::detail::set_stream(handle_, gpu_->stream()) == CUDNN_STATUS_SUCCESS, "cudnnSetStream failed");
  }

  void run() {
    describe();
    for (const std::string& kind : options_.kinds) measure(kind);
    Line("end").add("complete", late() ? "no, out of time" : "yes");
  }

 private:
  void measure(const std::string& kind) {
    if (kind == "launch" && gpu_) launches();
    if (kind == "copy" && gpu_) copies();
    for (const Network& n : {resnet32(), resnet50()}) {
      if (kind == "norm") norms(n);
      if (kind == "conv_sums") reductions(n);
      if (kind == "conv_bf16") convolutions(n, Numbers::kBf16);
      if (kind == "conv_tf32") convolutions(n, Numbers::kTf32);
      if (kind == "conv_f32") convolutions(n, Numbers::kF32);
    }
  }

  bool late() const { return Clock::now() > end_; }

  void describe() {
    Line line("device");
    line.add("cudnn", fe::detail::get_backend_version()).add("dry_run", options_.dry_run ? "yes" : "no");
    if (!gpu_) return;
    const cudaDeviceProp& p = gpu_->properties();
    line.add("name", p.name).add("sm", p.major * 10 + p.minor).add("multiprocessors", p.multiProcessorCount);
    line.add("l2_bytes", p.l2CacheSize).add("memory_bytes", p.totalGlobalMem);
  }

  void launches() {
    const auto nothing = [&] { launch_nothing(gpu_->stream()); };
    Line("launch").add("stream_us", gpu_->time(nothing, 1000)).add("graph_us", gpu_->time_in_graph(nothing, 200));
  }

  void copies() {
    constexpr size_t kBytes = size_t{1} << 30, kHost = size_t{1} << 28;
    void *from = random(x_, kBytes), *to = random(y_, kBytes);
    const auto gb = [](size_t bytes, double us) { return static_cast<double>(bytes) / us / 1e3; };
    const double kernel = gpu_->time([&] { launch_copy(to, from, kBytes, gpu_->multiprocessors(), gpu_->stream()); });
    const double runtime =
        gpu_->time([&] { CHECK(cudaMemcpyAsync(to, from, kBytes, cudaMemcpyDeviceToDevice, gpu_->stream())); });
    void* pinned = nullptr;
    CHECK(cudaMallocHost(&pinned, kHost));
    CHECK(cudaMemcpyAsync(pinned, from, kHost, cudaMemcpyDeviceToHost, gpu_->stream()));
    CHECK(cudaStreamSynchronize(gpu_->stream()));
    std::vector<char> pageable(kHost);
    std::memcpy(pageable.data(), pinned, kHost);
    const auto transfer = [&](void* a, const void* b, cudaMemcpyKind kind) {
      return gb(kHost, gpu_->time([&] { CHECK(cudaMemcpyAsync(a, b, kHost, kind, gpu_->stream())); }, 3));
    };
    Line("copy")
        .add("kernel_gb_per_s", gb(2 * kBytes, kernel))  // read and written
        .add("memcpy_gb_per_s", gb(2 * kBytes, runtime))
        .add("pinned_to_device_gb_per_s", transfer(to, pinned, cudaMemcpyHostToDevice))
        .add("device_to_pinned_gb_per_s", transfer(pinned, from, cudaMemcpyDeviceToHost))
        .add("pageable_to_device_gb_per_s", transfer(to, pageable.data(), cudaMemcpyHostToDevice));
    CHECK(cudaFreeHost(pinned));
  }

  /// Builds and times the first plans of a graph: [{"plan", "build_s", "us", "graph_us", "workspace"}].
  std::string time_plans(ProbeGraph& graph, int most) {
    const std::string problem = graph.find_plans(handle_, device_);
    if (!problem.empty()) return "[{\"error\": \"" + escaped(problem) + "\"}]";
    std::ostringstream json;
    std::unordered_map<int64_t, void*> pointers;
    if (gpu_)
      for (const auto& [uid, bytes] : graph.bytes()) pointers[uid] = random(tensors_[uid], bytes);
    int timed = 0;
    for (const int64_t i : graph.usable()) {
      if (timed == most) break;
      if (gpu_) {
        const auto start = Clock::now();
        if (!graph.build(i)) continue;
        const double build = std::chrono::duration<double>(Clock::now() - start).count();
        void* workspace = workspace_.of(static_cast<size_t>(std::max<int64_t>(1, graph.workspace(i))));
        const auto launch = [&] { graph.execute(handle_, pointers, workspace, i); };
        json << (timed ? ", " : "") << "{\"plan\": \"" << graph.name(i) << "\", \"build_s\": " << build
             << ", \"us\": " << gpu_->time(launch, 5) << ", \"graph_us\": " << gpu_->time_in_graph(launch, 5)
             << ", \"workspace\": " << graph.workspace(i) << "}";
      } else {
        json << (timed ? ", " : "") << "{\"plan\": \"" << graph.name(i) << "\"}";
      }
      timed++;
    }
    return "[" + json.str() + "]";
  }

  void* random(Buffer& buffer, size_t bytes) { return buffer.random(bytes, gpu_->stream()); }

  static std::string escaped(const std::string& text) {
    std::string out;
    for (char c : text.substr(0, 200)) out += c == '"' || c == '\\' || c == '\n' ? ' ' : c;
    return out;
  }

  // A measurement that fails, for instance for lack of memory, prints an error line; the others go on.
  template <class F>
  void guarded(const std::string& what, F f) {
    if (late()) return;
    try {
      f();
    } catch (const std::exception& e) {
      Line("error").add("what", what).add("message", escaped(e.what()));
      if (gpu_) cudaGetLastError();
    }
  }

  void convolutions(const Network& network, Numbers numbers) {
    for (int64_t batch : network.batches)
      for (Conv g : network.convolutions) {
        g.n = batch;
        for (Pass pass : {Pass::kForward, Pass::kDataGradient, Pass::kWeightGradient})
          guarded(g.text(), [&] {
            if (pass == Pass::kDataGradient && g.c <= kImageChannels[2]) return;  // the images' gradient: never needed
            ProbeGraph graph = conv_graph(g, pass, numbers);
            Line("conv")
                .add("network", network.name)
                .add("numbers", name_of(numbers))
                .add("pass", name_of(pass))
                .add("conv", g.text())
                .add("gflop", g.gflop())
                .add("mb", g.megabytes(numbers))
                .raw("plans", time_plans(graph, 5));
          });
      }
  }

  void norms(const Network& network) {
    for (int64_t batch : network.batches)
      for (const auto& [channels, side] : network.norms)
        guarded("norm", [&, c = channels, s = side] { norm(network, {batch, c, s}); });
  }

  void norm(const Network& network, const Norm& n) {
    for (NormKind kind : {NormKind::kRelu, NormKind::kAddRelu, NormKind::kReluGradient, NormKind::kAddReluGradient}) {
      ProbeGraph graph = norm_graph(n, kind);
      Line line("norm");
      line.add("network", network.name).add("norm", n.text()).add("what", name_of(kind)).add("mb", n.megabytes(kind));
      line.raw("one_kernel", time_plans(graph, 3));
      if (!gpu_) continue;
      const bool add = kind == NormKind::kAddRelu || kind == NormKind::kAddReluGradient;
      const bool forward = kind == NormKind::kRelu || kind == NormKind::kAddRelu;
      const NormBuffers b = norm_buffers(n, add);
      const int rows = static_cast<int>(n.rows()), channels = static_cast<int>(n.c);
      const auto launch = [&] {
        if (forward) launch_norm(b, rows, channels, gpu_->multiprocessors(), gpu_->stream());
        else launch_norm_gradient(b, rows, channels, gpu_->multiprocessors(), gpu_->stream());
      };
      line.add("two_passes_us", gpu_->time(launch)).add("two_passes_graph_us", gpu_->time_in_graph(launch));
    }
  }

  NormBuffers norm_buffers(const Norm& n, bool add) {
    const size_t bytes = 2 * static_cast<size_t>(n.rows() * n.c);
    NormBuffers b{};
    b.x = random(x_, bytes), b.y = random(y_, bytes), b.dy = random(dy_, bytes), b.dx = dx_.of(bytes);
    if (add) b.residual = random(residual_, bytes), b.dresidual = dresidual_.of(bytes);
    b.sums = static_cast<float*>(sums_.of(2 * sizeof(float) * static_cast<size_t>(n.c)));
    return b;
  }

  /// A convolution that also sums its output, against the same convolution and a pass over its output.
  void reductions(const Network& network) {
    for (int64_t batch : network.batches)
      for (Conv g : network.convolutions) {
        g.n = batch;
        guarded(g.text(), [&] {
          ProbeGraph plain = conv_graph(g, Pass::kForward, Numbers::kBf16), fused = conv_sums_graph(g);
          Line line("conv_sums");
          line.add("network", network.name).add("conv", g.text());
          line.raw("conv", time_plans(plain, 2)).raw("conv_with_sums", time_plans(fused, 5));
          if (!gpu_) return;
          const NormBuffers b = norm_buffers({g.n, g.k, g.out()}, false);
          const int rows = static_cast<int>(g.n * g.out() * g.out());
          line.add("sums_graph_us", gpu_->time_in_graph([&] {
            launch_statistics(b, rows, static_cast<int>(g.k), gpu_->multiprocessors(), gpu_->stream());
          }));
        });
      }
  }

  const Options options_;
  const Clock::time_point end_;
  std::shared_ptr<fe::DeviceProperties> device_;
  std::unique_ptr<Gpu> gpu_;
  cudnnHandle_t handle_ = nullptr;
  std::unordered_map<int64_t, Buffer> tensors_;
  Buffer workspace_, x_, y_, dy_, dx_, residual_, dresidual_, sums_;
};

}  // namespace
}  // namespace probe

int main(int argc, char** argv) {
  const std::optional<probe::Options> options = probe::parse(argc, argv);
  if (!options) return 2;
  try {
    probe::Probe(*options).run();
  } catch (const std::exception& e) {
    std::cerr << "probe: " << e.what() << "\n";
    return 1;
  }
}
