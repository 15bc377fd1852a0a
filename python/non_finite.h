// What an optimiser does in Python once a loss or gradient is not finite: it warns, raises, or leaves out that batch.
#pragma once

#include <string>

#include <nanobind/nanobind.h>

#include <fulcrum/core/check.h>
#include <fulcrum/optim/optimizer.h>

namespace fulcrum::python {

class NonFiniteWatch {
 public:
  const std::string& policy() const { return policy_; }
  void set_policy(const std::string& policy) {
    check(policy == "warn" || policy == "raise" || policy == "skip",
          "[optim] on_non_finite: expected 'warn', 'raise' or 'skip', got '", policy, "'");
    policy_ = policy;
  }

  /// Call it after every step, without Python's lock. Reads the flag where that costs nothing, which is on the CPU; on a
  /// GPU in every kEvery-th step only, because reading waits for the device.
  void look(Optimizer& opt) {
    if (policy_ == "skip") return opt.clear_non_finite();
    constexpr int64_t kEvery = 100;
    if (!opt.control().device().is_cpu() && ++steps_ % kEvery != 0) return;
    const bool bad = !opt.finite();
    if (!bad) warned_ = false;  // cleared: the next time is news again
    if (!bad || (policy_ == "warn" && warned_)) return;
    const std::string text = concat_text(
        "a loss or gradient was not finite after ", opt.steps(),
        " updates; from that batch on, step() changes nothing, so that the last good weights are kept. "
        "clear_non_finite() lets it update again; on_non_finite='skip' leaves out such batches, 'raise' stops at them");
    if (policy_ == "raise") fail("[step] ", text);
    warned_ = true;
    const nanobind::gil_scoped_acquire acquire;
    if (PyErr_WarnEx(PyExc_RuntimeWarning, ("[step] " + text).c_str(), 1) != 0) throw nanobind::python_error();
  }

 private:
  std::string policy_ = "warn";
  int64_t steps_ = 0;
  bool warned_ = false;
};

/// An optimiser with a watch.
template <class Rule>
class Watched : public Rule, public NonFiniteWatch {
 public:
  using Rule::Rule;
};

inline NonFiniteWatch& watch_of(Optimizer& opt) { return dynamic_cast<NonFiniteWatch&>(opt); }

}  // namespace fulcrum::python
