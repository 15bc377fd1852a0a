// fulcrum bench: images a second of the whole training step, and where the time goes.
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/core/inference_mode.h>
#include <fulcrum/core/memory.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/replay.h>
#include <fulcrum/layers/distribute.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/optim/optimizer.h>

#include "apps/bench_profile.h"
#include "apps/commands.h"
#include "apps/exit_codes.h"
#include "apps/experiment.h"
#include "apps/flag_checks.h"
#include "apps/json_text.h"
#include "apps/result.h"
#include "apps/risks.h"
#include "apps/seconds.h"
#include "apps/settings_flags.h"
#include "apps/world.h"

namespace fulcrum::apps {

namespace {

struct BenchFlags {
  std::string model = "resnet32", optimizer = "absgd", risk;
  int64_t channels = 3, size = 32, classes = 10;
  int64_t steps = 0, steps_per_graph = 1;
  double seconds = 5;
  bool interleave = false, profile = true, by_shape = false, inference = false;
  TrainSettings train;  // batch size, amp, threads and the device with its options
};

// The risk with its default parameters, but λ = 5.
Config risk_config(const BenchFlags& f) {
  Config c;
  c.train = f.train;
  c.risk.name = !f.risk.empty() ? f.risk : f.optimizer == "absgd" ? "kl" : "mean";
  if (c.risk.name == "kl" || c.risk.name == "tilted") c.risk.lambda = 5;
  finish_risk(c);
  return c;
}

// One training step on fixed random data: forward, per-sample losses, weights, backward, update. With several
// processes, each steps on its part of the batch.
class BenchStep {
 public:
  // After an error in this process the others stay in a collective, and freeing the memory of the step would wait for
  // it.
  ~BenchStep() {
    if (device_processes_ && std::uncaught_exceptions() > 0) device_processes_->shut_down(/*failed=*/true);
  }
  BenchStep(const BenchFlags& f, Communicator& processes)
      : device_(f.train.device),
        device_processes_(device_processes(processes, device_)),
        model_(named_model(
            f.model, {.classes = f.classes, .channels = f.channels, .image = f.size, .recompute = f.train.recompute})),
        graph_(f.train.graph && !device_.is_cpu()),
        inference_(f.inference),
        replay_(device_, [this, n = f.steps_per_graph] {
          for (int64_t i = 0; i < n; i++) train();
        }) {
    const DType dtype = f.train.amp == "bf16" ? DType::kBf16 : DType::kF32;
    model_->to(device_, dtype);
    model_->train(!inference_);
    optimizer_ = make_optimizer(f, model_->parameters());
    Communicator& on_device = device_processes_ ? *device_processes_ : processes;
    const Slice own = slice_of(f.train.batch_size, processes.rank(), processes.size());
    if (f.train.sync_bn && processes.size() > 1)
      distribute(*model_, std::make_shared<BatchPart>(BatchPart{&on_device, own, f.train.batch_size}), true);
    optimizer_->distribute(on_device);
    Tensor images = empty({f.train.batch_size, f.size, f.size, f.channels});
    fill_normal(images, 0, 1, /*seed=*/1, /*stream=*/1);
    images_ = images.slice(own.begin, own.end).to(dtype).to(device_);
    std::vector<int64_t> labels;
    for (int64_t i = own.begin; i < own.end; i++) labels.push_back(i % f.classes);
    labels_ = from_vector({own.size()}, labels).to(device_);
    if (inference_) inference_mode_.emplace();
  }

  /// Runs a step, or all the steps of a graph; does not wait for a GPU.
  void run() { graph_ ? replay_() : train(); }
  void train() {
    if (inference_) return infer();
    const Tensor losses = cross_entropy((*model_)(images_), labels_);
    optimizer_->zero_grad();
    optimizer_->backward(optimizer_->weigh(losses, {.groups = labels_}));
    optimizer_->step();
  }
  void infer() { losses_ = cross_entropy((*model_)(images_), labels_); }
  void wait() const {
    if (!device_.is_cpu()) cuda::synchronize(cuda::compute_stream());
  }
  /// Further calls after the first run(). On a GPU the third call records; it is made even without a graph, so that
  /// both variants have done as many steps.
  void warm_up() {
    for (int i = 0; i < (device_.is_cpu() ? 1 : 2); i++) run();
    wait();
  }
  Device device() const { return device_; }
  bool graph() const { return graph_; }
  /// The number of kernels, copies and fills in a recorded call of run().
  int64_t launches() const { return replay_.launches(); }
  /// Seconds that the risk takes for the weights of a batch.
  double risk_seconds() {
    constexpr int kCalls = 100;
    const WeighedBatch& batch = optimizer_->batch();
    for (int i = 0; i < kCalls; i++) optimizer_->risk().weights(batch.losses, batch.context);  // fills its window
    wait();
    const auto start = Clock::now();
    for (int i = 0; i < kCalls; i++) optimizer_->risk().weights(batch.losses, batch.context);
    wait();
    return seconds_since(start) / kCalls;
  }
  /// The mean loss of the last step. Waits for the device.
  double loss() const { return mean(inference_ ? losses_ : optimizer_->batch().losses).item(); }
  /// Profiles a step op by op.
  BenchProfile profile(bool by_shape) {
    std::function<void()> settle;
    if (!device_.is_cpu()) settle = [this] { wait(); };
    return measure_profile([this] { train(); }, settle, by_shape);
  }
  /// Measures how much of the all_reduce of the gradients the backward pass hides, in milliseconds a step.
  nlohmann::json communication(Communicator& processes);

 private:
  static std::unique_ptr<Optimizer> make_optimizer(const BenchFlags& f, std::vector<Tensor> parameters) {
    const SgdOptions sgd{.lr = 0.01, .momentum = 0.9, .weight_decay = 2e-4};
    auto optimizer = std::make_unique<Sgd>(std::move(parameters), sgd);
    optimizer->set_risk(make_risk(risk_config(f), std::vector<int64_t>(static_cast<size_t>(f.classes), 1)));
    return optimizer;
  }

  Device device_;
  std::unique_ptr<Communicator> device_processes_;
  std::unique_ptr<Module> model_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor images_, labels_, losses_;  // losses_: of inference
  bool graph_, inference_;
  std::optional<InferenceMode> inference_mode_;
  Replay replay_;
};

// `alone`: the all_reduce of the gradients with nothing else to do. `exposed`: what step() still waits for when the
// all_reduce has begun in the backward pass. Both include the wait for a slower process.
nlohmann::json BenchStep::communication(Communicator& processes) {
  constexpr int kSteps = 10;
  Profile profile;
  profile.settle = [&] { wait(); };
  const auto waited = [&] {
    const ProfileRow row = profile.rows["all_reduce (wait)"];
    profile.rows.clear();
    return 1e3 * row.seconds / kSteps;
  };
  const Profiling on(profile);
  for (int i = 0; i < kSteps; i++) train();
  const double exposed = waited();
  for (int i = 0; i < kSteps; i++) {
    processes.barrier();
    optimizer_->zero_grad();
    optimizer_->step();
  }
  const double alone = waited();
  int64_t bytes = 0;
  for (const Tensor& p : optimizer_->parameters()) bytes += static_cast<int64_t>(p.bytes());
  return {{"processes", processes.size()},
          {"gradient_bytes", bytes},
          {"all_reduce_ms", alone},
          {"all_reduce_exposed_ms", exposed},
          {"all_reduce_overlap", alone > 0 ? std::clamp(1 - exposed / alone, 0.0, 1.0) : 0}};
}

double mb(size_t bytes) { return static_cast<double>(bytes) / 1048576; }

double host_peak_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// The number of calls of run() that take about half a second, so that the device is waited for twice a second.
int64_t chunk_of(BenchStep& step, const BenchFlags& f, Communicator& processes) {
  if (f.steps > 0) return f.steps / f.steps_per_graph;
  for (int64_t n = 1;; n *= 2) {
    const auto start = Clock::now();
    for (int64_t i = 0; i < n; i++) step.run();
    step.wait();
    const double seconds = static_cast<double>(processes.max(std::llround(1e6 * seconds_since(start)))) / 1e6;
    if (seconds > 0.1) return std::max<int64_t>(1, std::llround(static_cast<double>(n) * 0.5 / seconds));
  }
}

// Median images/s over chunks of `calls` calls of run().
nlohmann::json measure(BenchStep& step, const BenchFlags& f, Communicator& processes, int64_t calls, double seconds) {
  std::vector<double> rates;
  const int64_t steps_per_call = step.graph() ? f.steps_per_graph : 1;
  const auto before = memory_stats(step.device());
  const auto start = Clock::now();
  const auto goes_on = [&] { return f.steps == 0 && processes.max(seconds_since(start) < seconds) == 1; };
  while (rates.empty() || goes_on()) {
    const auto chunk = Clock::now();
    for (int64_t i = 0; i < calls; i++) step.run();
    step.wait();
    rates.push_back(static_cast<double>(calls * steps_per_call * f.train.batch_size) / seconds_since(chunk));
  }
  const auto chunks = static_cast<int64_t>(rates.size());
  std::ranges::sort(rates);
  const double rate = rates[rates.size() / 2];
  const size_t requests = memory_stats(step.device()).system_requests - before.system_requests;
  nlohmann::json row = {{"images_per_s", rate},
                        {"images_per_s_max", rates.back()},
                        {"step_ms", 1e3 * static_cast<double>(f.train.batch_size) / rate},
                        {"steps", chunks * calls * steps_per_call},
                        {"system_requests", requests},
                        {"loss", step.loss()}};
  if (!f.inference) row["risk_ms"] = 1e3 * step.risk_seconds();
  return row;
}

void check_flags(const BenchFlags& f) {
  const TrainSettings& t = f.train;
  if (Device(t.device).is_cpu() && (t.tf32 || t.cudnn_benchmark || !t.graph || f.steps_per_graph > 1))
    throw UsageError("--tf32, --cudnn-benchmark, --no-graph and --steps-per-graph go with --device cuda");
  if (!t.graph && f.steps_per_graph > 1)
    throw UsageError("--steps-per-graph: expected 1 with --no-graph, got " + std::to_string(f.steps_per_graph));
  if (f.steps % f.steps_per_graph != 0)
    throw UsageError(
        fmt::format("--steps: expected a multiple of --steps-per-graph ({}), got {}", f.steps_per_graph, f.steps));
}

// What is the same in every measurement.
nlohmann::json about(const BenchStep& step, const BenchFlags& f, int threads) {
  nlohmann::json row = {{"model", f.model},     {"batch_size", f.train.batch_size},
                        {"image_size", f.size}, {"threads", threads},
                        {"amp", f.train.amp},   {"device", concat_text(step.device())}};
  if (f.inference) {
    row["inference"] = true;
  } else {
    row.update({{"optimizer", f.risk.empty() ? f.optimizer : "sgd"},
                {"risk", risk_config(f).risk.name},
                {"recompute", f.train.recompute}});
  }
  if (!step.device().is_cpu())
    row.update({{"graph", step.graph()},
                {"steps_per_graph", f.steps_per_graph},
                {"launches_per_step", step.launches() / f.steps_per_graph},
                {"tf32", f.train.tf32},
                {"cudnn_benchmark", f.train.cudnn_benchmark},
                {"device_name", cuda::describe_device(step.device().index)}});
  return row;
}

void add_memory(nlohmann::json& row, Device device) {
  const MemoryStats stats = memory_stats(device);
  row.update({{"peak_mb", host_peak_mb()}, {"tensor_peak_mb", mb(stats.peak)}});
  if (device.is_cpu()) return;
  row.update({{"device_peak_mb", mb(stats.peak)}, {"device_reserved_mb", mb(stats.reserved)}});
}

int bench(const BenchFlags& f) {
  Communicator& processes = world();
  Config config;
  config.train = f.train;
  check_alike(processes, config);
  check_divisible(processes, config);
  if (f.interleave) require_one_process("bench --interleave");
  if (f.inference) require_one_process("bench --inference");
  take_own_gpu(processes, f.train);
  const int threads = use_threads(config);
  const auto start = Clock::now();
  use_device(f.train);
  check_flags(f);
  BenchStep step(f, processes);
  step.run();
  step.wait();
  const auto first_step_end = Clock::now();
  step.warm_up();
  const double warm = seconds_since(start);
  const int64_t calls = chunk_of(step, f, processes);
  const auto report = [&](double seconds) {
    nlohmann::json row = measure(step, f, processes, calls, seconds);
    row.update(about(step, f, threads));
    // Also on the monotonic clock, for a driver that knows when it started the process.
    row.update({{"time_to_first_step_s", seconds_of(first_step_end - start)},
                {"time_to_warm_s", warm},
                {"first_step_at", seconds_of(first_step_end.time_since_epoch())}});
    if (processes.size() > 1) row.update(step.communication(processes));
    add_memory(row, step.device());
    return row;
  };
  if (f.interleave) {
    // A driver alternates rounds between programs: "run SECONDS" is answered with a JSON line.
    std::string word;
    double seconds;
    while (std::cin >> word >> seconds && word == "run")
      fmt::print("{}\n", json_text(report(seconds))), std::fflush(stdout);
    return kExitDone;
  }
  nlohmann::json row = report(f.seconds);
  std::optional<BenchProfile> profile;
  if (f.profile) profile = step.profile(f.by_shape);
  if (!processes.first()) return kExitDone;
  fmt::print("{} batch {} {} {}: {}\n", f.model, f.train.batch_size, f.train.amp == "bf16" ? "bf16" : "f32",
             f.inference      ? "inference"
             : f.risk.empty() ? f.optimizer
                              : f.risk,
             backend_text(step.device(), threads));
  fmt::print("{:.0f} images/s, {:.3f} ms per step, {:.0f} MB of tensors at most{}\n\n",
             row["images_per_s"].get<double>(), row["step_ms"].get<double>(), row["tensor_peak_mb"].get<double>(),
             f.train.recompute ? ", recomputing" : "");
  if (profile) row["profile"] = print_profile(*profile);
  if (stdout_is_terminal()) row.erase("profile");  // the table above
  print_result(row);
  return kExitDone;
}

}  // namespace

void add_bench_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("bench", "Time the training step: forward, losses, weights, backward, update");
  auto f = std::make_shared<BenchFlags>();
  sub->add_option("--model", f->model, "a model that fulcrum info lists")->capture_default_str();
  sub->add_option("-b,--batch-size", f->train.batch_size, "images per step, over all processes")
      ->check(above_zero())
      ->capture_default_str();
  sub->add_option("--image-size,--size", f->size, "height and width of the images")
      ->check(above_zero())
      ->capture_default_str();
  sub->add_option("--channels", f->channels, "channels of the images")->check(above_zero())->capture_default_str();
  sub->add_option("--classes", f->classes)->check(above_zero())->capture_default_str();
  sub->add_flag("--sync-bn", f->train.sync_bn, "several processes: batch norm over the whole batch");
  sub->add_flag("--recompute", f->train.recompute,
                "residual blocks keep only their inputs and run again in the backward pass");
  sub->add_option("--threads", f->train.threads, "CPU threads of each process; 0: all cores, shared")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--device", f->train.device, "cpu or cuda[:N]")->capture_default_str();
  sub->add_flag("!--no-graph", f->train.graph, "GPU: run each step anew instead of recording it as a CUDA graph");
  sub->add_option("--steps-per-graph", f->steps_per_graph, "GPU: steps recorded in one graph")
      ->check(above_zero())
      ->capture_default_str();
  sub->add_flag("--tf32", f->train.tf32, "GPU: f32 convolutions and matrix products on tensor cores");
  sub->add_flag("--cudnn-benchmark", f->train.cudnn_benchmark, "GPU: time cuDNN's plans and keep the fastest");
  sub->add_option("--amp", f->train.amp, "mixed precision: off or bf16")
      ->check(CLI::IsMember({"off", "bf16"}))
      ->capture_default_str();
  sub->add_option("--opt", f->optimizer, "sgd or absgd")->check(CLI::IsMember({"sgd", "absgd"}))->capture_default_str();
  sub->add_option("--risk", f->risk, "SGD with this risk and its defaults (λ = 5), in place of --opt")
      ->excludes("--opt");
  sub->add_option("--seconds", f->seconds, "how long to measure")->check(above_zero())->capture_default_str();
  sub->add_option("--steps", f->steps,
                  "measure this many steps, however long they take; 0: as many as --seconds allows")
      ->check(CLI::NonNegativeNumber);
  sub->add_flag("--interleave", f->interleave, "read 'run SECONDS' lines from stdin, answer each with JSON");
  sub->add_flag("--inference", f->inference, "time only the forward pass of evaluation")
      ->excludes("--opt")
      ->excludes("--risk")
      ->excludes("--recompute");
  sub->add_flag("!--no-profile", f->profile, "leave out the table of ops");
  sub->add_flag("--by-shape", f->by_shape, "table of ops: one row per op and shape of its output");
  sub->callback([f, sub, &command] {
    command = [f, sub] {
      Config others;
      read_environment(others);
      if (sub->count("--device") == 0) f->train.device = others.train.device;
      if (sub->count("--threads") == 0) f->train.threads = others.train.threads;
      return bench(*f);
    };
  });
}

}  // namespace fulcrum::apps
