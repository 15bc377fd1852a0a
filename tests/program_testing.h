// What the tests of the program share: a tiny data set in Fashion-MNIST's format, the program as a
// process, and the comparison of two runs.
//
//   const TempDir dir;
//   write_data(dir / "data");
//   Program program(train_flags(dir, "run", {"--epochs", "3"}));
//   ASSERT_TRUE(program.wait_for("epoch 2/3 step 3/"));
//   program.signal(SIGTERM);
//   EXPECT_EQ(program.wait(), 143);
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include <nlohmann/json.hpp>

#include <fulcrum/core/random.h>

#include "testing.h"

extern char** environ;

namespace fulcrum::testing {

using Flags = std::vector<std::string>;
using nlohmann::json;

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// ---- data ----

inline constexpr int64_t kTrainImages = 320, kTestImages = 60;

inline std::string big_endian(std::initializer_list<uint32_t> words) {
  std::string bytes;
  for (uint32_t w : words)
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(w >> shift & 0xff);
  return bytes;
}

/// Ten classes in turn: noise, and a bright square in a place of its own for each class.
inline void write_data(const std::filesystem::path& dir) {
  const Philox noise(kSeed, 77);
  for (const bool train : {true, false}) {
    const int64_t n = train ? kTrainImages : kTestImages;
    const auto count = static_cast<uint32_t>(n);
    std::string images = big_endian({0x803, count, 28, 28}), labels = big_endian({0x801, count});
    for (int64_t i = 0; i < n; i++) {
      const int64_t label = i % 10, x0 = label % 5 * 5 + 1, y0 = label / 5 * 12 + 4;
      labels += static_cast<char>(label);
      for (int64_t y = 0; y < 28; y++)
        for (int64_t x = 0; x < 28; x++) {
          const bool bright = x >= x0 && x < x0 + 5 && y >= y0 && y < y0 + 8;
          const auto at = static_cast<uint64_t>(((train ? 0 : kTrainImages) + i) * 784 + y * 28 + x);
          images += static_cast<char>(noise.below(at, 120) + (bright ? 120 : 0));
        }
    }
    const std::string prefix = train ? "train" : "t10k";
    write_text(dir / (prefix + "-images-idx3-ubyte"), images);
    write_text(dir / (prefix + "-labels-idx1-ubyte"), labels);
  }
}

/// The same with training images that are black, but for white ones; and flags for a network in which only the white
/// ones overflow: every pixel counts for itself, and theirs are 1/3e-39.
inline void write_white(const std::filesystem::path& dir, const std::vector<int64_t>& white) {
  write_data(dir);
  std::string images = big_endian({0x803, kTrainImages, 28, 28}) + std::string(kTrainImages * 784, '\0');
  for (int64_t i : white) std::fill_n(images.begin() + 16 + i * 784, 784, '\xff');
  write_text(dir / "train-images-idx3-ubyte", images);
}
inline Flags white_flags(const std::filesystem::path& dir, const Flags& more = {}) {
  Flags flags{"--data-dir", dir.string(),       "--model", "mlp",        "--set", "data.mean=[0.0]",
              "--set",      "data.std=[3e-39]", "--set",   "data.pad=0", "--set", "data.flip=false"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

// ---- the program ----

struct Limits {
  uint64_t file_bytes = 0;         // the longest file that the program may write; 0: any
  bool ignore_file_signal = true;  // a longer one fails to be written, instead of killing
};

class Program {
 public:
  /// Starts `fulcrum` with the flags; FULCRUM_* variables are those of `environment` alone.
  explicit Program(const Flags& flags, const Limits& limits = {}, const Flags& environment = {}) {
    Flags words{FULCRUM_PROGRAM}, variables = environment;
    words.insert(words.end(), flags.begin(), flags.end());
    for (char** v = environ; *v; v++)
      if (!std::string_view(*v).starts_with("FULCRUM_")) variables.push_back(*v);
    const auto argv = pointers(words), envp = pointers(variables);
    const std::string out = (dir_ / "out").string(), err = (dir_ / "err").string();
    pid_ = fork();
    check(pid_ >= 0, "cannot fork");
    if (pid_ == 0) exec(argv, envp, out, err, limits);
  }
  ~Program() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    wait();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Waits until stderr has the text; false where the program ended before.
  bool wait_for(const std::string& text) {
    for (int i = 0; i < 60'000; i++) {
      const bool over = ended(WNOHANG);
      if (err().find(text) != std::string::npos) return true;
      if (over) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  void signal(int number) {
    if (pid_ > 0) kill(pid_, number);
  }
  /// The exit code, as a shell gives it: 128 + signal where one killed the program.
  int wait() {
    ended(0);
    return code_;
  }
  pid_t pid() const { return pid_; }
  /// Whether it has ended.
  bool over() { return ended(WNOHANG); }
  std::string out() const { return read_text(dir_ / "out"); }
  std::string err() const { return read_text(dir_ / "err"); }

 private:
  static std::vector<char*> pointers(Flags& words) {
    std::vector<char*> p;
    for (std::string& w : words) p.push_back(w.data());
    p.push_back(nullptr);
    return p;
  }
  [[noreturn]] static void exec(const std::vector<char*>& argv, const std::vector<char*>& envp, const std::string& out,
                                const std::string& err, const Limits& limits) {
    const int o = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int e = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    if (o < 0 || e < 0 || dup2(o, STDOUT_FILENO) < 0 || dup2(e, STDERR_FILENO) < 0) _exit(126);
    if (limits.file_bytes) {
      const rlimit limit{limits.file_bytes, limits.file_bytes};
      if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(126);
      if (limits.ignore_file_signal) ::signal(SIGXFSZ, SIG_IGN);
    }
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  bool ended(int options) {
    int status = 0;
    if (pid_ > 0 && waitpid(pid_, &status, options) == pid_) {
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      pid_ = 0;
    }
    return pid_ <= 0;
  }

  TempDir dir_;
  pid_t pid_ = 0;
  int code_ = -1;
};

/// The program from start to end.
struct Outcome {
  int code;
  std::string out, err;
};
inline Outcome run_program(const Flags& flags, const Limits& limits = {}, const Flags& environment = {}) {
  Program program(flags, limits, environment);
  const int code = program.wait();
  return {code, program.out(), program.err()};
}

/// Expects the exit code and every part in stderr.
inline void expect_refused(const Outcome& got, int code, const Flags& parts) {
  EXPECT_EQ(got.code, code) << got.err;
  EXPECT_EQ(got.out, "");
  for (const std::string& part : parts)
    EXPECT_NE(got.err.find(part), std::string::npos) << "expected '" << part << "' in: " << got.err;
}

/// Flags with their values; `more` replaces what it has, too, but for --set.
inline Flags merged(const Flags& base, const Flags& more) {
  Flags all;
  for (size_t i = 0; i < base.size(); i += 2)
    if (base[i] == "--set" || std::find(more.begin(), more.end(), base[i]) == more.end())
      all.insert(all.end(), {base[i], base[i + 1]});
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// `fulcrum train` of a small network on the data in dir/data, to dir/run.
inline Flags train_flags(const TempDir& dir, const std::string& run, const Flags& more = {}) {
  const Flags base = {"--data-dir", dir / "data", "-o",       dir / run, "--model",        "resnet8",
                      "-b",         "32",         "--epochs", "1",       "--threads",      "1",
                      "--seed",     "3",          "--lr",     "0.05",    "--log-interval", "1"};
  Flags flags = merged(base, more);
  flags.insert(flags.begin(), "train");
  return flags;
}

/// A suite whose tests share the data in dir()/data and train to dir()/run.
class ProgramSuite : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir;
    write_data(*dir_ / "data");
  }
  static void TearDownTestSuite() { delete dir_; }
  static const TempDir& dir() { return *dir_; }
  static Outcome train(const std::string& run, const Flags& more = {}) {
    return run_program(train_flags(dir(), run, more));
  }
  /// A tensor of the run's last checkpoint.
  static Tensor saved(const std::string& run, const std::string& name) {
    return load_tensors(dir() / run / "last.safetensors").tensors.at(name);
  }

 private:
  static inline TempDir* dir_ = nullptr;
};

// ---- runs ----

/// The lines of metrics.jsonl without what the clock decides.
inline std::vector<json> metrics_of(const std::filesystem::path& run) {
  std::vector<json> rows;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    rows.push_back(json::parse(line));
    rows.back().erase("images_per_s");
  }
  return rows;
}

inline json progress_of(const std::filesystem::path& run) {
  json progress = json::parse(load_tensors(run / "last.safetensors").metadata.at("progress"));
  if (progress["latest"].is_object()) progress["latest"].erase("images_per_s");
  return progress;
}

inline void expect_same_tensors(const std::filesystem::path& a, const std::filesystem::path& b) {
  const TensorMap x = load_tensors(a).tensors, y = load_tensors(b).tensors;
  EXPECT_EQ(x.size(), y.size());
  Flags differ;
  for (const auto& [name, tensor] : x)
    if (!y.contains(name) || !same_bits(tensor, y.at(name))) differ.push_back(name);
  EXPECT_EQ(differ, Flags{}) << a << " and " << b;
}

/// The same weights, state, best weights and metrics, bit for bit.
inline void expect_same_run(const std::filesystem::path& a, const std::filesystem::path& b) {
  EXPECT_EQ(metrics_of(a), metrics_of(b));
  EXPECT_EQ(progress_of(a), progress_of(b));
  expect_same_tensors(a / "last.safetensors", b / "last.safetensors");
  expect_same_tensors(a / "best.safetensors", b / "best.safetensors");
}

}  // namespace fulcrum::testing
