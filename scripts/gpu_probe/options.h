// The command line of the probe.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace probe {

inline const std::vector<std::string> kKinds = {"launch",    "copy",      "norm",    "conv_sums",
                                                "conv_bf16", "conv_tf32", "conv_f32"};

struct Options {
  bool dry_run = false;  // builds the graphs, for an H200, and launches nothing
  double seconds = 450;
  std::string cudnn = "libcudnn.so.9";
  std::vector<std::string> kinds = kKinds;  // what is measured, in this order
};

inline std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

/// Nothing, after a message on stderr, if the command line is wrong.
inline std::optional<Options> parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string a = argv[i];
    if (a == "--dry-run") options.dry_run = true;
    else if (a == "--seconds" && i + 1 < argc) options.seconds = std::atof(argv[++i]);
    else if (a == "--cudnn" && i + 1 < argc) options.cudnn = argv[++i];
    else if (a == "--kinds" && i + 1 < argc) options.kinds = split(argv[++i]);
    else {
      std::cerr << "usage: probe [--dry-run] [--seconds 450] [--kinds norm,conv_sums] [--cudnn libcudnn.so.9]\n";
      return std::nullopt;
    }
  }
  for (const std::string& kind : options.kinds)
    if (std::ranges::find(kKinds, kind) == kKinds.end()) {
      std::cerr << "probe: --kinds: got '" << kind << "', expected one of";
      for (const std::string& known : kKinds) std::cerr << ' ' << known;
      std::cerr << '\n';
      return std::nullopt;
    }
  return options;
}

}  // namespace probe
