// Autograd: an eager tape.
// An op records how to turn the gradient of its result into the gradients of its inputs:
//
//   Tensor exp(const Tensor& x) {
//     Tensor y = empty_like(x);
//     dispatch(x, [&]<class K>() { K::template unary<Exp>(y, x); });
//     return record("exp", y, {x}, [y = Saved(y)](const Tensor& dy, Needs) -> Grads {
//       return {mul(dy, y)};
//     });
//   }
//
// The lambda's capture list is the list of what is saved for the backward pass. Capture Saved(y), never
// y: y owns its node and the node owns the lambda, so a captured y would form a reference cycle and
// leak. Gradients run under NoGrad: there are no second derivatives.
#pragma once

#include <functional>
#include <memory>
#include <typeinfo>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// needs[i] tells whether input i of an op needs a gradient. Gradients that are not needed may be left undefined.
class Needs {
 public:
  Needs(const Node& node, const Tensor& also) : node_(node), also_(also) {}
  bool operator[](size_t i) const;
  /// A second term of dy that the gradient must add itself. Undefined unless Node::takes_two.
  const Tensor& also() const { return also_; }

 private:
  const Node& node_;
  const Tensor& also_;
};

/// A tensor saved for the backward pass, without its history. Converts to a Tensor, and then throws Error if its values
/// were overwritten after it was saved (Tensor::mark_written). `->` skips this check; use it for shape and dtype.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& x);
  operator const Tensor&() const;
  const Tensor* operator->() const { return &tensor_; }
  explicit operator bool() const { return tensor_.defined(); }
  /// Performs that check for users other than a gradient; `op` names the user in the message.
  void check_unchanged(const char* op) const;

 private:
  Tensor tensor_;
  uint64_t saved_at_ = 0;
};

using Grads = std::vector<Tensor>;
using Gradient = std::function<Grads(const Tensor& dy, Needs needs)>;

/// A node of the graph: a leaf that requires its gradient, or the result of an op.
struct Node {
  const char* name = "leaf";
  Shape shape;
  DType dtype = DType::kF32;
  Gradient gradient;                          // empty for a leaf
  std::function<Tensor()> again;              // instead of `gradient`: computes the result again (recompute.h)
  std::vector<std::shared_ptr<Node>> inputs;  // null where no gradient is needed
  Tensor grad;                                // leaf: accumulated; otherwise: pending during a backward pass
  Tensor also;                                // second pending term, if takes_two
  bool takes_two = false;                     // `gradient` adds the two terms as it reads them, which saves a pass
  Tensor twin;  // leaf: copy of the parameter in another dtype, kept up to date by the optimiser
  bool requires_grad = true;
  bool released = false;  // a backward pass has freed `gradient` or `again`

  ~Node();
  bool is_leaf() const { return inputs.empty() && !released; }
};

/// An op's arguments other than tensors, retrieved by their type: the geometry of a convolution or pool
/// (kernel_types.h), LinearCall, BatchNormCall, the two dimensions of a transposition (std::pair<int, int>), the
/// StridedCopy of a shortcut. Refers to the arguments: valid only during the observer's callback.
class OpDetail {
 public:
  OpDetail() = default;
  template <class T>
  explicit OpDetail(const T& value) : value_(&value), type_(&typeid(T)) {}
  template <class T>
  const T* as() const {
    return type_ && *type_ == typeid(T) ? static_cast<const T*>(value_) : nullptr;
  }

 private:
  const void* value_ = nullptr;
  const std::type_info* type_ = nullptr;
};

struct LinearCall {
  bool relu;
};
struct BatchNormTensors;
struct BatchNormArgs;
struct BatchNormCall {
  const BatchNormTensors& tensors;
  const BatchNormArgs& args;
};

/// Gives y a history if gradients are enabled and an input requires one, and reports the op to the active
/// OpObservers. Returns y.
Tensor record(const char* name, Tensor y, const std::vector<Tensor>& inputs, Gradient gradient, OpDetail detail = {});

/// While alive, calls `callback` for every differentiable op of this thread, recorded or not, in the order of
/// computation. Enclosing observers are called as well.
///
///   OpObserver observer([&](const OpObserver::Op& op) { bytes += op.output.bytes(); });
///   net(images);
class OpObserver {
 public:
  struct Op {
    const char* name;
    const Tensor& output;
    const std::vector<Tensor>& inputs;  // undefined where an optional one was not given
    OpDetail detail;
  };
  using Callback = std::function<void(const Op& op)>;
  explicit OpObserver(Callback callback);
  ~OpObserver();
  OpObserver(const OpObserver&) = delete;
  OpObserver& operator=(const OpObserver&) = delete;
  /// Reports `op` to all observers of this thread; called by record().
  static void show(const Op& op);
  /// Whether this thread has an observer.
  static bool active();

 private:
  Callback callback_;
  OpObserver* previous_;
};

/// Follows backward passes, so that finished gradients can be sent while others are still being computed.
class BackwardListener {
 public:
  virtual ~BackwardListener() = default;
  /// Called when a leaf's gradient has received its last term of the pass. Return true to have all postponed terms
  /// added now, after which summed() is called.
  virtual bool leaf_done(const Node& leaf) = 0;
  virtual void summed() = 0;
  /// Called after the gradient of each operation.
  virtual void advance() = 0;
};

/// While alive, its listener follows the backward passes of this thread.
class Listening {
 public:
  explicit Listening(BackwardListener& listener);
  ~Listening();
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  BackwardListener* previous_;
};

/// While alive, no op of this thread is recorded.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};
/// While alive, ops of this thread are recorded, even inside NoGrad.
class EnableGrad {
 public:
  EnableGrad();
  ~EnableGrad();
  EnableGrad(const EnableGrad&) = delete;
  EnableGrad& operator=(const EnableGrad&) = delete;

 private:
  bool previous_;
};
bool grad_enabled();

}  // namespace fulcrum
