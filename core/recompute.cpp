#include <fulcrum/core/recompute.h>

#include <algorithm>
#include <memory>
#include <utility>

#include <fulcrum/core/autograd.h>

namespace fulcrum {

namespace {

// One of the two runs of a function. Runs nest if recomputed functions do.
class Run {
 public:
  Run() : outer_(std::exchange(innermost, this)) {}
  explicit Run(std::vector<Tensor> positions) : Run() {
    second_ = true;
    positions_ = std::move(positions);
  }
  ~Run() { innermost = outer_; }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  static bool any_second() {
    const Run* run = innermost;
    while (run && !run->second_) run = run->outer_;
    return run != nullptr;
  }

  // A first run inside the second run of an outer function repeats earlier draws; the outer run knows their positions.
  static Generator draw(Run* run, const Generator& generator) {
    if (!run) return generator;
    if (run->second_) {
      run->check_draws(run->draws_ < run->positions_.size());
      Generator again = generator;
      again.position = run->positions_[run->draws_++];
      return again;
    }
    Generator from = draw(run->outer_, generator);
    run->positions_.push_back(from.position.clone());
    return from;
  }

  /// The positions of the generators, draw by draw.
  const std::vector<Tensor>& positions() const { return positions_; }
  void check_end() const { check_draws(draws_ == positions_.size()); }

  static thread_local Run* innermost;

 private:
  void check_draws(bool same) const {
    check(same, "[recompute] expected the function to draw random numbers ", positions_.size(), " times again, got ",
          draws_ < positions_.size() ? "fewer" : "more");
  }

  Run* outer_;
  bool second_ = false;
  std::vector<Tensor> positions_;
  size_t draws_ = 0;
};

thread_local Run* Run::innermost = nullptr;

// A set of tensors that require a gradient.
class Wanted {
 public:
  void add(const Tensor& t) {
    if (!t.defined() || !t.requires_grad()) return;
    const auto same = [&](const Tensor& other) { return other.node() == t.node(); };
    if (std::ranges::none_of(tensors_, same)) tensors_.push_back(t);
  }
  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  std::vector<Tensor> tensors_;
};

}  // namespace

bool recomputing() { return Run::any_second(); }
Generator drawn_again(const Generator& generator) { return Run::draw(Run::innermost, generator); }

Tensor recompute(std::function<Tensor(const std::vector<Tensor>&)> f, std::vector<Tensor> inputs) {
  Wanted wanted;
  for (const Tensor& input : inputs) wanted.add(input);
  std::vector<Tensor> positions;
  int64_t ops = 0;
  Tensor y;
  {
    const NoGrad no_grad;
    Run first;
    // Nothing is recorded here, so a tensor with a history comes from outside: an input, a parameter, or another tensor
    // that f uses.
    const OpObserver observer([&](const OpObserver::Op& op) {
      for (const Tensor& x : op.inputs) wanted.add(x);
      ops++;
    });
    const Tensor result = f(inputs);
    wanted.add(result);  // f may return a tensor from outside as it is
    y = result.detach();
    positions = first.positions();
  }
  OpObserver::show({"recompute", y, wanted.tensors(), OpDetail(RecomputeCall{ops})});
  if (!grad_enabled() || wanted.tensors().empty()) return y;
  auto node = std::make_shared<Node>();
  node->name = "recompute";
  node->shape = y.shape();
  node->dtype = y.dtype();
  for (const Tensor& x : wanted.tensors()) node->inputs.push_back(x.node());
  std::vector<Saved> unchanged;
  for (const Tensor& x : inputs) unchanged.emplace_back(x);
  for (const Tensor& x : wanted.tensors()) unchanged.emplace_back(x);
  node->again = [f = std::move(f), inputs = std::move(inputs), positions = std::move(positions),
                 unchanged = std::move(unchanged)] {
    for (const Saved& x : unchanged) x.check_unchanged("recompute");
    Run second(positions);
    Tensor again = f(inputs);
    second.check_end();
    return again;
  };
  y.set_node(std::move(node));
  return y;
}

Tensor recompute(std::function<Tensor(const Tensor&)> f, const Tensor& input) {
  return recompute([f = std::move(f)](const std::vector<Tensor>& inputs) { return f(inputs[0]); },
                   std::vector<Tensor>{input});
}

}  // namespace fulcrum
