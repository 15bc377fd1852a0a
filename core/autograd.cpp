#include <fulcrum/core/autograd.h>

#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fulcrum/core/kernels.h>
#include <fulcrum/core/ops_checks.h>
#include <fulcrum/core/profile.h>

namespace fulcrum {

namespace {
thread_local bool recording = true;
thread_local const Node* in_gradient = nullptr;  // the profile charges ops called by a gradient to that gradient
thread_local OpObserver* observer = nullptr;
thread_local BackwardListener* active_listener = nullptr;

// Postponed additions to the gradients of leaves, done together: one launch for each of a hundred small tensors takes
// longer than the additions themselves.
class PendingSums {
 public:
  void add(const Tensor& sum, const Tensor& term) {
    const bool elsewhere = !sums_.empty() && sums_.front().y.device() != sum.device();
    if (elsewhere || bytes_ >= kMostBytes || targets_.contains(sum.raw())) flush();
    targets_.insert(sum.raw());
    bytes_ += term.bytes();
    sums_.push_back({sum, term});
  }

  void flush() {
    if (sums_.empty()) return;
    dispatch(sums_.front().y, [&]<class K>() { K::add_all(sums_); });
    sums_.clear();
    targets_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr size_t kMostBytes = size_t{16} << 20;  // of terms kept alive, which the pool cannot reuse
  std::vector<TensorPair> sums_;
  std::unordered_set<const void*> targets_;
  size_t bytes_ = 0;
};

// Adds in place only if nothing else refers to the tensor: the gradient of add(a, b) is one tensor, given to both.
void add_term(Tensor& sum, const Tensor& g) {
  if (!sum.is_unique()) sum = sum.clone();
  dispatch(g, [&]<class K>() { K::add_into(sum, g); });
}

// Adds g to the gradient of `node`, which `from` has computed.
void accumulate(Node& node, Tensor g, const char* from, PendingSums& pending) {
  check(g.shape() == node.shape, "[autograd] expected the gradient from ", from, " to ", node.name, " to have shape ",
        node.shape, ", got ", g.shape());
  const bool leaf = node.is_leaf();
  if (!node.grad.defined()) {
    node.grad = g.dtype() == node.dtype ? std::move(g) : g.to(node.dtype);
    if (leaf && !node.grad.is_unique()) node.grad = node.grad.clone();
  } else if (leaf) {
    pending.add(node.grad, g);
  } else {
    if (node.also.defined()) add_term(node.grad, std::exchange(node.also, {}));
    if (node.takes_two && g.dtype() == node.dtype) node.also = g;
    else add_term(node.grad, g);
  }
}

void mark(const char* name, const char* suffix, const Shape& y) {
  profile_mark(name, active_profile->by_shape ? concat_text(suffix, " ", y).c_str() : suffix);
}

double bytes_of(const Tensor& x) { return x.defined() ? static_cast<double>(x.bytes()) : 0; }

// The nodes of a backward pass in topological order, each after its inputs. The pass takes them from the back.
class Order {
 public:
  using Nodes = std::span<const std::shared_ptr<Node>>;

  /// Appends the nodes reachable from root that are not present yet, and returns them. Iterative, so that a chain of
  /// 100 000 ops does not overflow the stack.
  Nodes add(const std::shared_ptr<Node>& root) {
    const size_t before = nodes_.size();
    if (!here_.insert(root.get()).second) return {};
    std::vector<std::pair<std::shared_ptr<Node>, size_t>> stack{{root, 0}};
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->inputs.size()) {
        nodes_.push_back(std::move(node));
        stack.pop_back();
        continue;
      }
      const std::shared_ptr<Node>& input = node->inputs[next++];
      if (input && here_.insert(input.get()).second) stack.emplace_back(input, 0);
    }
    return Nodes(nodes_).subspan(before);
  }

  /// Drops pending gradients if the pass ends early, so that the next pass does not find them.
  void forget_gradients() {
    for (const auto& node : nodes_)
      if (!node->is_leaf()) node->grad = node->also = {};
  }

  bool empty() const { return nodes_.empty(); }
  std::shared_ptr<Node> take() {
    std::shared_ptr<Node> node = std::move(nodes_.back());
    nodes_.pop_back();
    here_.erase(node.get());  // a node created later may reuse the address
    return node;
  }

 private:
  std::vector<std::shared_ptr<Node>> nodes_;
  std::unordered_set<const Node*> here_;
};

// Tells the listener, if there is one, when a leaf has received all its terms, one from each operation that uses it.
class LeafUses {
 public:
  explicit LeafUses(BackwardListener* listener) : listener_(listener) {}

  /// Counts the uses of leaves by these nodes, which have joined the pass.
  void add(Order::Nodes nodes) {
    if (!listener_) return;
    for (const auto& node : nodes)
      for (const auto& input : node->inputs)
        if (input && input->is_leaf()) left_[input.get()]++;
  }

  /// Call it when the terms from this node have been accumulated.
  void done(const Node& node, PendingSums& pending) {
    if (!listener_) return;
    bool wanted = false;
    for (const auto& input : node.inputs)
      if (input && input->is_leaf() && --left_.at(input.get()) == 0) wanted = listener_->leaf_done(*input) || wanted;
    if (wanted) {
      pending.flush();
      listener_->summed();
    }
    listener_->advance();
  }

 private:
  BackwardListener* listener_;
  std::unordered_map<const Node*, int> left_;
};

Tensor computed_again(const Node& node) {
  const EnableGrad recording_again;
  Tensor y = node.again();
  check(y.shape() == node.shape && y.dtype() == node.dtype, "[recompute] expected the function to give ", node.dtype,
        " ", node.shape, " again, got ", y.dtype(), " ", y.shape());
  return y;
}

}  // namespace

bool Needs::operator[](size_t i) const { return node_.inputs[i] != nullptr; }

Saved::Saved(const Tensor& x) {
  if (!x.defined()) return;
  tensor_ = x.detach();
  saved_at_ = x.storage()->writes().now();
}

Saved::operator const Tensor&() const {
  check_unchanged(in_gradient ? in_gradient->name : "a gradient");
  return tensor_;
}

void Saved::check_unchanged(const char* op) const {
  if (!tensor_.defined()) return;
  const size_t begin = tensor_.offset();
  check(
      !tensor_.storage()->writes().any_since(saved_at_, begin, begin + tensor_.bytes()), "[backward] '", op,
      "' needs a tensor ", tensor_.dtype(), " ", tensor_.shape(),
      " as it was in the forward pass, but it was written in place since (by copy_, an assignment to a part of it, or "
      "an optimizer's step); write after backward(), or give the operation a clone()");
}

NoGrad::NoGrad() : previous_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = previous_; }
EnableGrad::EnableGrad() : previous_(std::exchange(recording, true)) {}
EnableGrad::~EnableGrad() { recording = previous_; }
bool grad_enabled() { return recording; }

Listening::Listening(BackwardListener& listener) : previous_(std::exchange(active_listener, &listener)) {}
Listening::~Listening() { active_listener = previous_; }

OpObserver::OpObserver(Callback callback) : callback_(std::move(callback)), previous_(std::exchange(observer, this)) {}
OpObserver::~OpObserver() { observer = previous_; }
bool OpObserver::active() { return observer != nullptr; }

void OpObserver::show(const Op& op) {
  for (const OpObserver* o = observer; o; o = o->previous_) o->callback_(op);
}

Tensor record(const char* name, Tensor y, const std::vector<Tensor>& inputs, Gradient gradient, OpDetail detail) {
  OpObserver::show({name, y, inputs, detail});
  if (active_profile && !in_gradient) {
    for (const Tensor& x : inputs) profile_work({.bytes = bytes_of(x)});
    profile_work({.bytes = bytes_of(y)});
    mark(name, "", y.shape());
  }
  if (!recording) return y;
  bool wanted = false;
  for (const Tensor& x : inputs) wanted = wanted || (x.defined() && x.requires_grad());
  if (!wanted) return y;
  check(!y.node(), "[record] expected a new tensor as the result of ", name, ", got one with a history or a gradient");
  auto node = std::make_shared<Node>();
  node->name = name;
  node->shape = y.shape();
  node->dtype = y.dtype();
  node->gradient = std::move(gradient);
  for (const Tensor& x : inputs) node->inputs.push_back(x.defined() && x.requires_grad() ? x.node() : nullptr);
  y.set_node(std::move(node));
  return y;
}

namespace {
Grads gradient_of(const Node& node, const Tensor& dy, const Tensor& also) {
  struct InGradient {
    const Node* before;
    ~InGradient() { in_gradient = before; }
  } now{std::exchange(in_gradient, &node)};
  return node.gradient(dy, Needs(node, also));
}
}  // namespace

void Tensor::backward(const Tensor& seed) const {
  check(requires_grad(), "[backward] expected a tensor that depends on a leaf with requires_grad");
  const std::shared_ptr<Node> root = node();
  check(!root->released, "[backward] the graph of this tensor was freed by an earlier backward pass");
  check(seed.defined() || numel() == 1, "[backward] expected one element, got ", shape(),
        "; give a seed of that shape");
  check_one_device("backward", {{"tensor", *this}, {"seed", seed}});
  check(!seed || seed.shape() == shape(), "[backward] expected a seed of shape ", shape(), ", got ", seed);
  const NoGrad no_grad;
  Order order;
  struct Guard {
    Order& order;
    ~Guard() { order.forget_gradients(); }
  } guard{order};
  PendingSums pending;
  LeafUses uses(active_listener);
  uses.add(order.add(root));
  accumulate(*root, seed.defined() ? seed : ones(shape(), options_of(*this)), "backward", pending);
  while (!order.empty()) {
    const std::shared_ptr<Node> node = order.take();
    if (node->is_leaf()) continue;
    check(!node->released, "[backward] the graph under '", node->name, "' was freed by an earlier backward pass");
    const Tensor dy = std::exchange(node->grad, {}), also = std::exchange(node->also, {});
    if (dy.defined() && node->again) {
      // The ops of the second run replace the node in the pass. Their graph ends at the node's inputs, as the node did.
      const Tensor y = computed_again(*node);
      if (y.requires_grad()) {
        uses.add(order.add(y.node()));
        accumulate(*y.node(), dy, node->name, pending);
      }
    } else if (dy.defined()) {
      Grads grads = gradient_of(*node, dy, also);
      check(grads.size() == node->inputs.size(), "[autograd] expected ", node->inputs.size(), " gradients from ",
            node->name, ", got ", grads.size());
      for (size_t i = 0; i < grads.size(); i++) {
        if (!node->inputs[i] || !grads[i].defined()) continue;
        profile_work({.bytes = 2 * bytes_of(grads[i])});
        // Move it, so that a gradient without another owner can be accumulated into.
        accumulate(*node->inputs[i], std::move(grads[i]), node->name, pending);
      }
      if (active_profile) {
        profile_work({.bytes = bytes_of(dy) + bytes_of(also)});
        mark(node->name, " gradient", node->shape);
      }
    }
    uses.done(*node, pending);
    // Free what the gradient saved.
    node->gradient = nullptr;
    node->again = nullptr;
    node->inputs.clear();
    node->released = true;
  }
  pending.flush();
}

// Destroys a chain of nodes in a loop: the default would recurse, and a long chain would overflow the stack.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> pending = std::move(inputs);
  gradient = nullptr;  // a tensor captured with its history holds nodes as well
  again = nullptr;
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back());
    pending.pop_back();
    if (node && node.use_count() == 1) {
      node->gradient = nullptr;
      node->again = nullptr;
      for (auto& input : node->inputs) pending.push_back(std::move(input));
      node->inputs.clear();
    }
  }
}

}  // namespace fulcrum
