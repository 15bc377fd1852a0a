// Autograd: an eager tape. An op records how to turn the gradient of its result into the gradients
// of its inputs:
//
//   Tensor exp(const Tensor& x) {
//     Tensor y = empty_like(x);
//     dispatch(x, [&]<class K>() { K::template unary<Exp>(y, x); });
//     return record("exp", y, {x}, [y = Saved(y)](const Tensor& dy, Needs) -> Grads {
//       return {mul(dy, y)};
//     });
//   }
//
// The capture list of the gradient is the list of what is saved. Capture Saved(y), never y: y owns
// its node, the node owns the gradient, and a captured y would close the circle. Gradients are not
// themselves differentiable: they run under NoGrad.
#pragma once

#include <functional>
#include <memory>
#include <typeinfo>
#include <vector>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// Which inputs of an op want a gradient: needs[i]. The others may be left undefined.
class Needs {
 public:
  Needs(const Node& node, const Tensor& also) : node_(node), also_(also) {}
  bool operator[](size_t i) const;
  /// A second term of dy, not added to it yet; undefined unless the node takes_two.
  const Tensor& also() const { return also_; }

 private:
  const Node& node_;
  const Tensor& also_;
};

/// A tensor that a gradient needs, without its history. It converts to one: an Error where its numbers were written in
/// place since (Tensor::mark_written). `->` does not ask: for its shape and dtype.
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor& x);
  operator const Tensor&() const;
  const Tensor* operator->() const { return &tensor_; }
  explicit operator bool() const { return tensor_.defined(); }
  /// For `op`, which uses it in another way.
  void check_unchanged(const char* op) const;

 private:
  Tensor tensor_;
  uint64_t saved_at_ = 0;
};

using Grads = std::vector<Tensor>;
using Gradient = std::function<Grads(const Tensor& dy, Needs needs)>;

/// A vertex of the graph: a leaf that wants its gradient, or the result of an op.
struct Node {
  const char* name = "leaf";
  Shape shape;
  DType dtype = DType::kF32;
  Gradient gradient;                          // empty for a leaf
  std::function<Tensor()> again;              // in place of a gradient: computes the result once more (recompute.h)
  std::vector<std::shared_ptr<Node>> inputs;  // null where no gradient is wanted
  Tensor grad;                                // leaf: accumulated; otherwise: pending during a backward pass
  Tensor also;                                // pending, too: a second term, for a gradient that adds the two itself
  bool takes_two = false;                     // whether `gradient` does so while it reads them, which saves a pass
  Tensor twin;  // leaf: copy of the parameter in another dtype, kept up to date by the optimiser
  bool requires_grad = true;
  bool released = false;  // a backward pass has freed `gradient` or `again`

  ~Node();
  bool is_leaf() const { return inputs.empty() && !released; }
};

/// What an op was told beside its tensors, by the type that holds it: the geometry of a convolution or
/// pool (kernel_types.h), LinearCall, BatchNormCall, the two dimensions of a transposition (std::pair<int, int>), the
/// StridedCopy of a shortcut. Valid while the op is observed.
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

/// Gives y a history, when gradients are enabled and an input requires one, and shows the op to the
/// OpObserver if there is one.
Tensor record(const char* name, Tensor y, const std::vector<Tensor>& inputs, Gradient gradient, OpDetail detail = {});

/// While one of these lives on this thread, it sees every op that has a gradient, recorded or not, in
/// the order in which they are computed, and so do those around it:
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
  /// For record().
  static void show(const Op& op);
  /// Whether one lives on this thread.
  static bool active();

 private:
  Callback callback_;
  OpObserver* previous_;
};

/// Follows backward passes: what sends gradients away while others are still being computed.
class BackwardListener {
 public:
  virtual ~BackwardListener() = default;
  /// A leaf's gradient gets no more terms in this pass. True: sum all terms so far, and call summed().
  virtual bool leaf_done(const Node& leaf) = 0;
  virtual void summed() = 0;
  /// After each operation's gradient.
  virtual void advance() = 0;
};

/// While one of these lives on this thread, its listener follows what runs backward.
class Listening {
 public:
  explicit Listening(BackwardListener& listener);
  ~Listening();
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  BackwardListener* previous_;
};

/// While one of these lives on this thread, nothing is recorded.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};
/// While one of these lives on this thread, ops are recorded, within NoGrad, too.
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
