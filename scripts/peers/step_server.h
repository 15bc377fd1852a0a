// What the C++ peers share: their flags, and the server of the protocol of scripts/peers/turns.py. Every line
// "run SECONDS" on stdin is answered by a JSON line, the end of input ends the program.
//
//   const Flags flags = parse_flags(argc, argv, "dlib_step: …");
//   return serve(flags, version, step);       // step(): a training step, returns its loss; or a forward pass, a logit
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

struct Flags {
  int batch_size = 128, threads = 2;
  bool inference = false;
  std::string amp = "off";
};

inline Flags parse_flags(int argc, char** argv, const std::string& about) {
  Flags f;
  CLI::App app(about);
  app.add_option("--batch-size", f.batch_size)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--threads", f.threads)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("--inference", f.inference, "the forward pass of evaluation alone");
  app.add_option("--amp", f.amp, "off or bf16")->check(CLI::IsMember({"off", "bf16"}))->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  return f;
}

// Seconds of the clock that Python's time.monotonic() reads, too, so that the driver can subtract.
inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Images/s: the median over steps, as torch_step.py has it with --chunk 1.
inline int serve(const Flags& f, const std::string& version, const std::function<double()>& step) {
  double loss = step();
  const double first_step_at = now();
  for (int i = 0; i < 2; i++) step();  // warm
  std::string word;
  double seconds = 0;
  while (std::cin >> word >> seconds && word == "run") {
    std::vector<double> rates;
    const double begin = now();
    while (rates.empty() || now() - begin < seconds) {
      const double start = now();
      loss = step();
      rates.push_back(f.batch_size / (now() - start));
    }
    std::ranges::nth_element(rates, rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2));
    std::printf(
        "{\"images_per_s\": %.2f, \"steps\": %zu, \"loss\": %.6f, \"batch_size\": %d, \"threads\": %d, "
        "\"amp\": \"%s\", \"inference\": %s, \"version\": \"%s\", \"first_step_at\": %.6f}\n",
        rates[rates.size() / 2], rates.size(), loss, f.batch_size, f.threads, f.amp.c_str(),
        f.inference ? "true" : "false", version.c_str(), first_step_at);
    std::fflush(stdout);
  }
  return 0;
}
