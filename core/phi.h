// φ of the cross entropy: a function applied to l = −log p, where p is the probability of the label.
//
//   cross_entropy(logits, labels, {.phi = Phi::focal(2)});   // (1−p)²·l, one per sample
//
// Every φ here depends only on p, so one fused kernel serves all: it computes φ(l), and uses φ′(l) in
// the gradient. Formulas and sources are in docs/method.md.
#pragma once

#include <cmath>
#include <limits>

#include <fulcrum/core/types.h>

namespace fulcrum {

struct Phi {
  enum Kind { kIdentity, kFocal, kGce, kTruncatedGce, kSce, kMae, kJs };
  Kind kind = kIdentity;
  double a = 0, b = 0;       // the parameters, in the order of the builder
  bool on_weighted = false;  // φ(w·l) instead of w·φ(l), with class weights w

  /// (1−p)^gamma · l. gamma ≥ 0; 0 is the cross entropy.
  static Phi focal(double gamma) { return {kFocal, gamma}; }
  /// (1 − p^q)/q, q in (0, 1]: between the cross entropy (q → 0) and 1 − p.
  static Phi gce(double q) { return {kGce, q}; }
  /// (1 − max(p, k)^q)/q, k in (0, 1): a sample with p ≤ k has no gradient.
  static Phi truncated_gce(double q, double k) { return {kTruncatedGce, q, k}; }
  /// a·l + b·A·(1−p), A = −log 1e-4.
  static Phi sce(double a, double b) { return {kSce, a, b}; }
  /// 2(1−p), the absolute error of the probabilities.
  static Phi mae() { return {kMae}; }
  /// Jensen-Shannon divergence between label and prediction, scaled; pi in (0, 1) is the label's
  /// share of the mixture.
  static Phi js(double pi) { return {kJs, pi}; }
};

/// The constant A of SCE's reverse cross entropy, which replaces −log 0.
inline constexpr double kSceLogZero = 9.210340371976182;  // −log 1e-4

/// φ and φ′ in precision A, for l ≥ 0. 1−p is computed as −expm1(−l), which is accurate near p = 1.
template <class A>
struct PhiStep {
  Phi::Kind kind;
  A a, b;
  A limit, log_rest;  // truncated GCE: l at p = k; Jensen-Shannon: log(1 − pi)

  FULCRUM_HD explicit PhiStep(const Phi& phi)
      : kind(phi.kind),
        a(static_cast<A>(phi.a)),
        b(static_cast<A>(phi.b)),
        limit(static_cast<A>(kind == Phi::kTruncatedGce ? -std::log(phi.b) : 0)),
        log_rest(static_cast<A>(kind == Phi::kJs ? std::log1p(-phi.a) : 0)) {}

  FULCRUM_HD A value(A l) const {
    if (kind == Phi::kIdentity) return l;
    const A miss = -std::expm1(-l);
    switch (kind) {
      case Phi::kIdentity: break;
      case Phi::kFocal: return std::pow(miss, a) * l;
      case Phi::kGce: return -std::expm1(-a * l) / a;
      case Phi::kTruncatedGce: return -std::expm1(-a * (l < limit ? l : limit)) / a;
      case Phi::kSce: return a * l + b * A(kSceLogZero) * miss;
      case Phi::kMae: return 2 * miss;
      case Phi::kJs: return js(l, miss);
    }
    return l;
  }

  FULCRUM_HD A gradient(A l) const {
    if (kind == Phi::kIdentity) return 1;
    const A p = std::exp(-l), miss = -std::expm1(-l);
    switch (kind) {
      case Phi::kIdentity: break;
      // γ(1−p)^(γ−1)·p·l + (1−p)^γ, without a negative power of 0 at p = 1.
      case Phi::kFocal: return std::pow(miss, a) * (1 + a * p * (miss > 0 ? l / miss : A(1)));
      case Phi::kGce: return std::exp(-a * l);
      case Phi::kTruncatedGce: return l < limit ? std::exp(-a * l) : A(0);
      case Phi::kSce: return a + b * A(kSceLogZero) * p;
      case Phi::kMae: return 2 * p;
      case Phi::kJs: return p > 0 ? p * (l - log_rest + log_mixture(miss)) / -log_rest : A(0);
    }
    return 1;
  }

 private:
  // log(π + (1−π)p), the log-probability of the label in the mixture.
  FULCRUM_HD A log_mixture(A miss) const { return std::log1p((a - 1) * miss); }
  FULCRUM_HD A js(A l, A miss) const {
    const A rest = 1 - a, p = std::exp(-l);
    const A label = p > 0 ? p * l : A(0);
    const A mixture = (1 - rest * miss) * log_mixture(miss);
    return (mixture + rest * label + rest * miss * log_rest) / (rest * log_rest);
  }
};

}  // namespace fulcrum
