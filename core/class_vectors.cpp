#include <fulcrum/core/class_vectors.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fulcrum/core/check.h>

namespace fulcrum {

namespace {

template <class F>
Tensor per_class(const std::vector<int64_t>& counts, F&& value) {
  std::vector<double> values;
  for (int64_t n : counts) values.push_back(value(static_cast<double>(n)));
  return from_vector({static_cast<int64_t>(values.size())}, values);
}

void check_counts(const char* what, const std::vector<int64_t>& counts, int64_t least) {
  check(!counts.empty(), "[", what, "] expected at least one class");
  for (size_t c = 0; c < counts.size(); c++)
    check(counts[c] >= least, "[", what, "] expected at least ", least, " sample", least == 1 ? "" : "s",
          " of every class, got ", counts[c], " of class ", c);
}

}  // namespace

Tensor class_balanced_weights(const std::vector<int64_t>& counts, double beta) {
  check(beta >= 0 && beta < 1, "[class weights] expected beta in [0, 1), got ", beta);
  check_counts("class weights", counts, 0);
  const auto weight = [beta](double n) { return n > 0 ? (1 - beta) / (1 - std::pow(beta, n)) : 0; };
  double total = 0;
  for (int64_t n : counts) total += weight(static_cast<double>(n));
  check(total > 0, "[class weights] expected a class with samples");
  const double scale = static_cast<double>(counts.size()) / total;
  return per_class(counts, [&](double n) { return weight(n) * scale; });
}

Tensor log_prior(const std::vector<int64_t>& counts, double tau) {
  check(std::isfinite(tau), "[log prior] expected a finite tau, got ", tau);
  check_counts("log prior", counts, 0);
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  check(total > 0, "[log prior] expected a class with samples");
  return per_class(counts, [&](double n) { return tau * std::log(std::max(n, 1.0) / total); });
}

Tensor ldam_margins(const std::vector<int64_t>& counts, double max_m) {
  check(max_m > 0 && std::isfinite(max_m), "[LDAM margins] expected max_m > 0, got ", max_m);
  check_counts("LDAM margins", counts, 1);
  const auto least = static_cast<double>(*std::ranges::min_element(counts));
  return per_class(counts, [&](double n) { return max_m * std::pow(least / n, 0.25); });
}

Tensor class_temperatures(const std::vector<int64_t>& counts, double gamma) {
  check(gamma >= 0 && std::isfinite(gamma), "[class temperatures] expected gamma >= 0, got ", gamma);
  check_counts("class temperatures", counts, 1);
  const auto most = static_cast<double>(*std::ranges::max_element(counts));
  return per_class(counts, [&](double n) { return std::pow(most / n, gamma); });
}

}  // namespace fulcrum
