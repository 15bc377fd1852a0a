// fulcrum doctor: checks this machine for what building and running need, and says how to mend what is missing.
#include <dlfcn.h>
#include <omp.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <fulcrum/core/backends.h>
#include <fulcrum/core/cuda/runtime.h>
#include <fulcrum/data/idx.h>

#include "apps/commands.h"
#include "apps/environment.h"
#include "apps/exit_codes.h"
#include "apps/json_text.h"
#include "apps/machine.h"
#include "apps/progress.h"

namespace fulcrum::apps {

namespace {

namespace fs = std::filesystem;

enum class State { kOk, kWarn, kMissing };

struct Check {
  const char* name;
  State state;
  std::string found;
  std::string cure = {};
  bool needed = false;  // if missing, the program cannot do what the environment asks for
};

using Checks = std::vector<Check>;

std::string gib(double bytes) { return fmt::format("{:.1f} GiB", bytes / (1 << 30)); }

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

// ---- external tools and libraries ----

// The first line that a command prints; empty if it fails.
std::string first_line(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(("{ " + command + "; } 2>/dev/null").c_str(), "r"), pclose);
  char text[256];
  if (!pipe || !std::fgets(text, sizeof text, pipe.get())) return "";
  std::string line = text;
  while (line.ends_with('\n')) line.pop_back();
  return line;
}

Check tool(const char* name, const std::string& command, const char* cure) {
  const std::string line = first_line(command);
  if (line.empty()) return {name, State::kMissing, "not in PATH; only building needs it", cure};
  return {name, State::kOk, line};
}

using Version = size_t (*)();

// Looks for a library under the names that it may be installed by, and for its version.
Check library(const char* name, const std::vector<std::string>& files, const char* version, const char* cure) {
  for (const std::string& file : files) {
    void* handle = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (!handle) continue;
    const auto of = reinterpret_cast<Version>(dlsym(handle, version));
    return {name, State::kOk, of ? fmt::format("{}, version {}", file, of()) : file};
  }
  return {name, State::kMissing, "no " + files.front() + " that can be loaded; training on a GPU needs it", cure};
}

// ---- groups of checks ----

void check_build(Checks& all) {
  const nlohmann::json e = environment(1);
  const std::string type = e["build_type"],
                    text = fmt::format("{} ({}), {}, {}", e["fulcrum"].get<std::string>(),
                                       e["git_commit"].get<std::string>(), e["compiler"].get<std::string>(), type);
  if (type == "Release" || type == "RelWithDebInfo") all.push_back({"build", State::kOk, text});
  else
    all.push_back(
        {"build", State::kWarn, text + ": not optimised", "configure with cmake --preset cpu, a Release build"});
  all.push_back(tool("compiler", "c++ --version", "apt install g++ (12 or newer)"));
  all.push_back(tool("cmake", "cmake --version", "apt install cmake (3.25 or newer)"));
  all.push_back(tool("ninja", "ninja --version", "apt install ninja-build"));
}

// The instruction set that the processor has but this build does not use.
std::string unused_instructions() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const std::string isa = cpu_isa();
  const bool wide = isa.starts_with("AVX-512");
  if (__builtin_cpu_supports("avx512f") && !wide) return "AVX-512";
  if (__builtin_cpu_supports("avx2") && !wide && isa != "AVX2") return "AVX2";
#endif
  return "";
}

void check_cpu(Checks& all) {
  const std::string unused = unused_instructions(), cpu = describe_cpu();
  if (unused.empty()) all.push_back({"cpu", State::kOk, cpu});
  else
    all.push_back({"cpu", State::kWarn, cpu + "; the processor has " + unused,
                   "build on this machine: -DFULCRUM_CPU_ARCH=native"});
  if (cpu.find("oneDNN") != std::string::npos) all.push_back({"oneDNN", State::kOk, "in this build"});
  else
    all.push_back({"oneDNN", State::kWarn, "not in this build: convolutions are slower, bf16 is far slower",
                   "apt install libdnnl-dev, then configure again"});
  const int threads = omp_get_max_threads();
  const double cores = usable_cores();
  const std::string text = fmt::format("{} for {:g} usable cores", threads, cores);
  if (threads <= cores + 0.5) all.push_back({"threads", State::kOk, text});
  else
    all.push_back({"threads", State::kWarn, text + ": they wait for each other",
                   fmt::format("--threads {:.0f}, or OMP_NUM_THREADS", std::max(cores, 1.0))});
}

// The folder itself or, if it does not exist, the nearest one above it that does.
fs::path existing(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path);
  while (!fs::exists(path, ignored) && path.has_parent_path() && path != path.parent_path()) path = path.parent_path();
  return path;
}

void check_space(Checks& all) {
  constexpr double kLittle = 2.0 * (1 << 30);
  const double memory = available_memory();
  if (memory >= kLittle) all.push_back({"memory", State::kOk, gib(memory) + " available"});
  else
    all.push_back({"memory", State::kWarn, gib(memory) + " available",
                   "smaller --batch-size; `fulcrum train --dry-run` says what a run needs"});
  const char* output = variable("FULCRUM_OUTPUT");
  const fs::path folder = existing(output ? output : "runs");
  std::error_code error;
  const auto free = static_cast<double>(fs::space(folder, error).available);
  const std::string text = fmt::format("{} free in {}", gib(error ? 0 : free), folder.string());
  if (access(folder.c_str(), W_OK) != 0)
    all.push_back({"disk", State::kMissing, folder.string() + " cannot be written to; runs go there",
                   "name another folder with --output or FULCRUM_OUTPUT", true});
  else if (error || free < kLittle)
    all.push_back({"disk", State::kWarn, text, "delete old runs, or name another folder with --output"});
  else all.push_back({"disk", State::kOk, text});
}

void check_data_folders(Checks& all) {
  std::error_code ignored;
  if (const char* dir = variable("FULCRUM_DATA_DIR")) {
    if (fs::is_directory(dir, ignored)) all.push_back({"data", State::kOk, concat_text("FULCRUM_DATA_DIR = ", dir)});
    else
      all.push_back({"data", State::kMissing, concat_text("FULCRUM_DATA_DIR = ", dir, ", which is no folder"),
                     "set it to the folder of your data, or unset it and use --data-dir", true});
  } else if (fs::is_directory(kFashionMnistDir, ignored)) {
    all.push_back({"data", State::kOk, concat_text("Fashion-MNIST in ", kFashionMnistDir)});
  } else {
    all.push_back({"data", State::kWarn, concat_text("no Fashion-MNIST in ", kFashionMnistDir),
                   "apt install dataset-fashion-mnist, or name your data with --data-dir"});
  }
  std::string lacking;
#ifndef FULCRUM_WITH_JPEG
  lacking += " libjpeg-dev";
#endif
#ifndef FULCRUM_WITH_PNG
  lacking += " libpng-dev";
#endif
#ifndef FULCRUM_WITH_ZLIB
  lacking += " zlib1g-dev";
#endif
  if (lacking.empty()) all.push_back({"images", State::kOk, "JPEG, PNG and gzip can be read"});
  else
    all.push_back({"images", State::kWarn, "this build cannot read all formats",
                   "apt install" + lacking + ", then configure again"});
}

// Whether the kernel has loaded NVIDIA's driver.
bool has_driver() { return fs::exists("/proc/driver/nvidia/version"); }

void check_gpu(Checks& all) {
  const char* wanted = variable("FULCRUM_DEVICE");
  const bool needed = wanted && std::string_view(wanted).starts_with("cuda");
  const std::string toolkit = first_line("nvcc --version | tail -n 1");
  if (!cuda::kBuilt) {
    const State state = needed ? State::kMissing : has_driver() ? State::kWarn : State::kOk;
    all.push_back({"cuda", state,
                   has_driver() ? "not in this build, though there is a GPU" : "not in this build; no GPU here either",
                   state == State::kOk ? "" : "cmake --preset cuda && ninja -C build/cuda; or FULCRUM_DEVICE=cpu",
                   needed});
    if (has_driver())
      all.push_back(toolkit.empty() ? Check{"toolkit", State::kMissing, "no nvcc; building for a GPU needs it",
                                            "scripts/gpu_debs.sh, or https://developer.nvidia.com/cuda-downloads"}
                                    : Check{"toolkit", State::kOk, toolkit});
    return;
  }
  const int devices = cuda::device_count();
  for (int i = 0; i < devices; i++) all.push_back({"cuda", State::kOk, cuda::describe_device(i)});
  if (devices == 0)
    all.push_back({"cuda", needed ? State::kMissing : State::kWarn, "no device: " + cuda::why_no_device(),
                   "install NVIDIA's driver, or use --device cpu", needed});
  if (toolkit.empty())
    all.push_back({"toolkit", State::kWarn, "no nvcc; only building needs it",
                   "scripts/gpu_debs.sh, or https://developer.nvidia.com/cuda-downloads"});
  else all.push_back({"toolkit", State::kOk, toolkit});
  all.push_back(library("cuDNN", {"libcudnn.so.9"}, "cudnnGetVersion",
                        "scripts/gpu_debs.sh, or pip's nvidia-cudnn in LD_LIBRARY_PATH"));
  all.push_back(library("cuBLASLt", {"libcublasLt.so.13", "libcublasLt.so.12"}, "cublasLtGetVersion",
                        "scripts/gpu_debs.sh, or the CUDA toolkit's libraries in LD_LIBRARY_PATH"));
}

const char* text_of(State state) { return state == State::kOk ? "ok" : state == State::kWarn ? "warn" : "missing"; }

void show(const Checks& all) {
  for (const Check& c : all) {
    const std::string state = fmt::format("{:<8}", text_of(c.state));
    fmt::print("{}{:<9} {}\n", c.state == State::kMissing ? red(state, STDOUT_FILENO) : state, c.name, c.found);
    if (!c.cure.empty()) fmt::print("{:18}cure: {}\n", "", c.cure);
  }
}

int doctor(bool as_json) {
  Checks all;
  check_build(all);
  check_cpu(all);
  check_space(all);
  check_data_folders(all);
  check_gpu(all);
  bool broken = false;
  nlohmann::json rows = nlohmann::json::array();
  for (const Check& c : all) {
    broken = broken || (c.needed && c.state == State::kMissing);
    rows.push_back(
        {{"name", c.name}, {"state", text_of(c.state)}, {"found", c.found}, {"cure", c.cure}, {"needed", c.needed}});
  }
  if (as_json) fmt::print("{}\n", json_text({{"ok", !broken}, {"checks", rows}}, 2));
  else show(all);
  return broken ? kExitFailed : kExitDone;
}

}  // namespace

void add_doctor_command(CLI::App& app, Command& command) {
  CLI::App* sub = app.add_subcommand("doctor", "Check this machine, and say how to fix what is missing");
  sub->footer(
      "Exit code: 0, or 1 if something is broken that the environment (FULCRUM_DATA_DIR,\n"
      "FULCRUM_DEVICE, FULCRUM_OUTPUT) requires.");
  auto as_json = std::make_shared<bool>(false);
  sub->add_flag("--json", *as_json, "as JSON");
  sub->callback([as_json, &command] { command = [as_json] { return doctor(*as_json); }; });
}

}  // namespace fulcrum::apps
