// The distinct convolutions and norms of the two networks, by their rules.
#pragma once

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "graphs.h"

namespace probe {

struct Network {
  const char* name;
  std::vector<int64_t> batches;
  std::vector<Conv> convolutions;                  // distinct, n = 1
  std::vector<std::pair<int64_t, int64_t>> norms;  // channels, side; distinct
};

constexpr int64_t kImageChannels[] = {3, 4, 8};  // as they are, and padded

/// Distinct convolutions, and the shapes of the norms behind them, in the order of the network.
class Builder {
 public:
  void conv(int64_t c, int64_t k, int64_t kernel, int64_t stride, int64_t side) {
    const Conv g{1, c, side, k, kernel, stride};
    if (known_.insert({c, side, k, kernel, stride}).second) network.convolutions.push_back(g);
    const std::pair<int64_t, int64_t> norm{k, g.out()};
    if (std::find(network.norms.begin(), network.norms.end(), norm) == network.norms.end())
      network.norms.push_back(norm);
  }
  Network network;

 private:
  std::set<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>> known_;
};

inline Network resnet32() {
  Builder b;
  b.network.name = "resnet32";
  b.network.batches = {128, 512};
  for (int64_t c : kImageChannels) b.conv(c, 16, 3, 1, 32);
  int64_t channels = 16, side = 32;
  for (int64_t width : {16, 32, 64})
    for (int block = 0; block < 5; block++) {
      const int64_t stride = width > channels ? 2 : 1;
      b.conv(channels, width, 3, stride, side);
      side /= stride;
      b.conv(width, width, 3, 1, side);
      channels = width;
    }
  return b.network;
}

inline Network resnet50() {
  Builder b;
  b.network.name = "resnet50";
  b.network.batches = {64, 256};
  for (int64_t c : kImageChannels) b.conv(c, 64, 7, 2, 224);
  int64_t channels = 64, side = 56, width = 64;
  for (int blocks : {3, 4, 6, 3}) {
    for (int block = 0; block < blocks; block++) {
      const int64_t stride = block == 0 && width > 64 ? 2 : 1;
      b.conv(channels, width, 1, 1, side);
      b.conv(width, width, 3, stride, side);
      b.conv(width, 4 * width, 1, 1, side / stride);
      if (block == 0) b.conv(channels, 4 * width, 1, stride, side);
      side /= stride;
      channels = 4 * width;
    }
    width *= 2;
  }
  return b.network;
}

}  // namespace probe
