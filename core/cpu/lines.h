// Passes over all rows of a tensor [..., channels]: its layout as lines, and sums per channel.
//
//   const Lines<T> lines(x);
//   ChannelSums s = sum_rows(lines, [=]<class W, int k>(int64_t base, int64_t j, A& u, A& v) {
//     u += W::template get<k>(x + base, j);          // s.first = Σ x
//     v += W::template get<k>(x + base, j) * …;      // s.second
//   });
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include <fulcrum/core/cpu/parallel.h>
#include <fulcrum/core/cpu/words.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum::cpu {

/// Cuts x [rows, channels] into lines of whole rows, long enough for vector loops with any number of
/// channels. Element e of a line belongs to channel e % channels. The last line may be shorter.
///
/// Per-element arrays along a line hold the first elements of all its words, then the second ones
/// (words.h): element k of word j is at k·words + j.
template <class T>
struct Lines {
  static constexpr int64_t kPerWord = Words<T>::kPerWord;
  int64_t channels, rows, numel, length, words, count;

  explicit Lines(const Tensor& x) : channels(x.size(-1)), numel(x.numel()) {
    constexpr int64_t kShortest = 256, kVector = 16;
    const int64_t multiple = channels < kShortest ? kVector : kPerWord;
    const int64_t unit = multiple / std::gcd(multiple, channels) * channels;
    rows = numel / channels;
    length = (kShortest + unit - 1) / unit * unit;
    words = length / kPerWord;
    count = (numel + length - 1) / length;
  }

  int64_t size(int64_t line) const { return std::min(length, numel - line * length); }
  int64_t grain() const { return std::max<int64_t>(1, kGrain / length); }
  size_t place(int64_t e) const { return static_cast<size_t>(e % kPerWord * words + e / kPerWord); }
};

/// Calls work.operator()<W>(base, first, last) for all words of all lines (words.h), in parallel.
template <class T, class Work>
void for_lines(const Lines<T>& lines, const Work& work) {
  parallel_for(lines.count, lines.grain(), [&lines, &work](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; line++) for_words<T>(line * lines.length, lines.size(line), work);
  });
}

/// Repeats per-channel values for every element of a line.
template <class T, class Value>
std::vector<Accumulate<T>> along_line(const Lines<T>& lines, Value value) {
  std::vector<Accumulate<T>> v(static_cast<size_t>(lines.length));
  for (int64_t e = 0; e < lines.length; e++)
    v[lines.place(e)] = e < lines.channels ? static_cast<Accumulate<T>>(value(e)) : v[lines.place(e - lines.channels)];
  return v;
}

struct ChannelSums {
  std::vector<double> first, second;
};

/// Adds up totals [part, two sums, place in a line] by channel, in the order of the parts.
template <class T>
ChannelSums sums_by_channel(const Lines<T>& lines, const std::vector<double>& totals) {
  const auto channels = static_cast<size_t>(lines.channels);
  const auto length = static_cast<size_t>(lines.length);
  ChannelSums sums{std::vector<double>(channels), std::vector<double>(channels)};
  for (size_t part = 0; part < totals.size(); part += 2 * length)
    for (size_t e = 0; e < length; e++) {
      const size_t at = part + lines.place(static_cast<int64_t>(e));
      sums.first[e % channels] += totals[at];
      sums.second[e % channels] += totals[at + length];
    }
  return sums;
}

/// Adds term<W, k>(base, j, u, v) for words [first, last) of sizeof...(kRow) lines to a and b. Several
/// lines at once, because loading and storing the sums costs more than summing.
template <class W, int... kRow, class A, class Term>
void add_lines(std::integer_sequence<int, kRow...>, A* a, A* b, int64_t base, int64_t first, int64_t last,
               int64_t length, Term term) {
  const int64_t words = length / 2;
#pragma omp simd
  for (int64_t j = first; j < last; j++) {
    A u = 0, v = 0;
    (term.template operator()<W, 0>(base + kRow * length, j, u, v), ...);
    a[j] += u;
    b[j] += v;
    if constexpr (W::kPerWord == 2) {
      A u2 = 0, v2 = 0;
      (term.template operator()<W, 1>(base + kRow * length, j, u2, v2), ...);
      a[words + j] += u2;
      b[words + j] += v2;
    }
  }
}

/// Sums two values per element over the rows: term<W, k>(base, j, u, v) adds those of element k of
/// word j at `base` to u and v. Runs of kLinesInA lines are summed in Accumulate<T>, and these sums in
/// double. The result depends on the number of threads, but not on their timing.
template <class T, class Term>
ChannelSums sum_rows(const Lines<T>& lines, Term term) {
  using A = Accumulate<T>;
  constexpr int kSeveral = 4;
  constexpr int64_t kLinesInA = 8 * kSeveral;
  const int parts = static_cast<int>(std::clamp<int64_t>(lines.count / lines.grain(), 1, omp_get_max_threads()));
  const auto length = static_cast<size_t>(lines.length);
  std::vector<double> totals(static_cast<size_t>(parts) * 2 * length, 0.0);
#pragma omp parallel for schedule(static, 1) num_threads(parts)
  for (int part = 0; part < parts; part++) {
    const Range range = share(lines.count, part, parts);
    double* total = totals.data() + static_cast<size_t>(part) * 2 * length;
    std::vector<A> sums(2 * length);
    const auto add = [&](auto rows, int64_t line) {
      for_words<T>(line * lines.length, lines.size(line), [&]<class W>(int64_t base, int64_t first, int64_t last) {
        add_lines<W>(rows, sums.data(), sums.data() + length, base, first, last, lines.length, term);
      });
    };
    for (int64_t line = range.begin; line < range.end;) {
      std::fill(sums.begin(), sums.end(), A(0));
      const int64_t end = std::min(line + kLinesInA, range.end);
      const int64_t full = lines.size(end - 1) == lines.length ? end : end - 1;
      for (; line + kSeveral <= full; line += kSeveral) add(std::make_integer_sequence<int, kSeveral>(), line);
      for (; line < end; line++) add(std::make_integer_sequence<int, 1>(), line);
      for (size_t j = 0; j < 2 * length; j++) total[j] += static_cast<double>(sums[j]);
    }
  }
  return sums_by_channel(lines, totals);
}

}  // namespace fulcrum::cpu
