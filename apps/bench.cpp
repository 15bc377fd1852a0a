// fulcrum bench: images a second of the whole training step, and where the time goes.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fulcrum/core/memory.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/core/profile.h>
#include <fulcrum/layers/models.h>
#include <fulcrum/optim/absgd.h>

#include "apps/commands.h"
#include "apps/trainer.h"

namespace fulcrum::apps {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct BenchFlags {
  std::string model = "resnet32", amp = "off", optimizer = "absgd";
  int64_t batch_size = 128, channels = 3, size = 32, classes = 10;
  int threads = 0;
  double seconds = 5;
  bool interleave = false, profile = true;
};

// One training step on fixed random data: forward, per-sample losses, weights, backward, update.
class BenchStep {
 public:
  explicit BenchStep(const BenchFlags& f)
      : model_(fulcrum::make_model(f.model, {.classes = f.classes, .channels = f.channels, .image = f.size})) {
    const DType dtype = f.amp == "bf16" ? DType::kBf16 : DType::kF32;
    model_->to(Device(), dtype);
    const double lambda = f.optimizer == "absgd" ? 5 : std::numeric_limits<double>::infinity();
    if (f.optimizer == "sgd") {
      optimizer_ = std::make_unique<Sgd>(model_->parameters(),
                                         SgdOptions{.lr = 0.01, .momentum = 0.9, .weight_decay = 2e-4});
    } else {
      optimizer_ = std::make_unique<Absgd>(
          model_->parameters(),
          AbsgdOptions{.lr = 0.01, .momentum = 0.9, .weight_decay = 2e-4, .lambda = lambda});
    }
    Tensor images = empty({f.batch_size, f.size, f.size, f.channels});
    fill_normal(images, 0, 1, /*seed=*/1, /*stream=*/1);
    images_ = images.to(dtype);
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < f.batch_size; i++) labels.push_back(i % f.classes);
    labels_ = from_vector({f.batch_size}, labels);
  }

  void run() {
    const Tensor losses = cross_entropy((*model_)(images_), labels_);
    optimizer_->zero_grad();
    optimizer_->weigh(losses).backward();
    optimizer_->step();
  }

 private:
  std::unique_ptr<Module> model_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor images_, labels_;
};

double peak_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// Median images/s over chunks of about half a second.
nlohmann::json measure(BenchStep& step, const BenchFlags& f, double seconds) {
  std::vector<double> rates;
  const auto start = Clock::now();
  int64_t steps = 0;
  const auto before = memory_stats(Device());
  while (since(start) < seconds || rates.empty()) {
    const auto chunk = Clock::now();
    int64_t n = 0;
    do {
      step.run();
      n++;
    } while (since(chunk) < 0.5);
    rates.push_back(static_cast<double>(n * f.batch_size) / since(chunk));
    steps += n;
  }
  std::ranges::sort(rates);
  return {{"images_per_s", rates[rates.size() / 2]},
          {"images_per_s_max", rates.back()},
          {"steps", steps},
          {"system_requests", memory_stats(Device()).system_requests - before.system_requests}};
}

void print_profile(BenchStep& step) {
  constexpr int kSteps = 5;
  Profile profile;
  {
    const Profiling on(profile);
    for (int i = 0; i < kSteps; i++) step.run();
  }
  double total = 0;
  std::vector<std::pair<std::string, ProfileRow>> rows(profile.rows.begin(), profile.rows.end());
  for (const auto& [name, row] : rows) total += row.seconds;
  std::ranges::sort(rows, [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  fmt::print("{:<28}{:>8}{:>12}{:>8}\n", "op", "calls", "ms / step", "share");
  for (const auto& [name, row] : rows)
    fmt::print("{:<28}{:>8}{:>12.3f}{:>7.1f}%\n", name, row.calls / kSteps, 1e3 * row.seconds / kSteps,
               100 * row.seconds / total);
}

int bench(const BenchFlags& f) {
  Config config;
  config.train.threads = f.threads;
  const int threads = use_threads(config);
  const auto start = Clock::now();
  BenchStep step(f);
  step.run();
  const double first_step = since(start);
  step.run();
  const auto report = [&](double seconds) {
    nlohmann::json row = measure(step, f, seconds);
    row.update({{"model", f.model}, {"batch_size", f.batch_size}, {"threads", threads}, {"amp", f.amp},
                {"optimizer", f.optimizer}, {"time_to_first_step_s", first_step}, {"peak_mb", peak_mb()}});
    return row;
  };
  if (f.interleave) {
    // A driver alternates rounds between programs: "run SECONDS" is answered with a JSON line.
    std::string word;
    double seconds;
    while (std::cin >> word >> seconds && word == "run") fmt::print("{}\n", report(seconds).dump()), std::fflush(stdout);
    return kExitDone;
  }
  const nlohmann::json row = report(f.seconds);
  fmt::print("{} batch {} {} {}: {}\n", f.model, f.batch_size, f.amp == "bf16" ? "bf16" : "f32", f.optimizer,
             backend_text(Device(), threads));
  fmt::print("{:.0f} images/s\n\n", row["images_per_s"].get<double>());
  if (f.profile) print_profile(step);
  fmt::print("{}\n", row.dump());
  return kExitDone;
}

}  // namespace

void add_bench_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("bench", "Time the training step: forward, losses, weights, backward, update");
  auto f = std::make_shared<BenchFlags>();
  sub->add_option("--model", f->model, "one of those that fulcrum info lists")->capture_default_str();
  sub->add_option("-b,--batch-size", f->batch_size, "images a step")->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_option("--image-size,--size", f->size, "height and width of the images")->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_option("--channels", f->channels, "of the images")->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_option("--classes", f->classes)->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_option("--threads", f->threads, "CPU threads; 0: all cores")->check(CLI::NonNegativeNumber);
  sub->add_option("--amp", f->amp, "off or bf16")->check(CLI::IsMember({"off", "bf16"}))->capture_default_str();
  sub->add_option("--opt", f->optimizer, "sgd or absgd")->check(CLI::IsMember({"sgd", "absgd"}))->capture_default_str();
  sub->add_option("--seconds", f->seconds, "how long to measure")->check(CLI::PositiveNumber)->capture_default_str();
  sub->add_flag("--interleave", f->interleave, "read 'run SECONDS' lines from stdin, answer each with JSON");
  sub->add_flag("!--no-profile", f->profile, "leave out the table of ops");
  sub->callback([f, &command] { command = [f] { return bench(*f); }; });
}

}  // namespace fulcrum::apps
