// Module: a tree of layers with named parameters and buffers.
//
//   struct Net : Module {
//     Conv2d& conv1 = add<Conv2d>("conv1", Conv2dOptions{.in = 3, .out = 16, .kernel = 3});
//     Linear& fc = add<Linear>("fc", LinearOptions{.in = 16, .out = 10});
//     Tensor forward(const Tensor& x) override { return fc(global_avg_pool2d(relu(conv1(x)))); }
//   };
//   Net net;
//   net.to(Device("cpu"), DType::kBf16);
//   net.eval();
//   Tensor logits = net(images);
//   save_tensors("net.safetensors", {net.state_dict(), {}});
//
// One line declares, registers and names a child; adopt() takes one that was made before, such as a network of
// make_model. A module knows its parent and so stays where it was made: it can be returned by value as a temporary, not
// copied or moved.
//
// Names are torchvision's ("layer1.0.bn1.weight"). Convolution weights are [out, kh, kw, in] in
// memory and [out, in, kh, kw] in a state dict, so that PyTorch reads what Fulcrum writes and vice
// versa.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fulcrum/core/random.h>
#include <fulcrum/core/serialize.h>
#include <fulcrum/core/tensor.h>

namespace fulcrum {

/// How a parameter starts. Fans are PyTorch's: for [out, kh, kw, in], in·kh·kw and out·kh·kw.
struct Init {
  enum class Kind {
    kConstant,        // a
    kUniform,         // in [a, b)
    kNormal,          // mean a, standard deviation b
    kKaimingUniform,  // standard deviation a / √fan (He et al., 2015)
    kKaimingNormal,
    kXavierUniform,  // standard deviation a·√(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)
    kXavierNormal
  };
  enum class Fan { kIn, kOut };

  Kind kind;
  double a = 0, b = 0;
  Fan fan = Fan::kIn;

  static Init constant(double value) { return {Kind::kConstant, value}; }
  static Init uniform(double low, double high) { return {Kind::kUniform, low, high}; }
  static Init normal(double mean, double stddev) { return {Kind::kNormal, mean, stddev}; }
  /// The default gain √2 suits a ReLU.
  static Init kaiming_uniform(double gain = 1.4142135623730951, Fan fan = Fan::kIn) {
    return {Kind::kKaimingUniform, gain, 0, fan};
  }
  static Init kaiming_normal(double gain = 1.4142135623730951, Fan fan = Fan::kIn) {
    return {Kind::kKaimingNormal, gain, 0, fan};
  }
  static Init xavier_uniform(double gain = 1) { return {Kind::kXavierUniform, gain}; }
  static Init xavier_normal(double gain = 1) { return {Kind::kXavierNormal, gain}; }
  /// PyTorch's default for the weights of convolutions and linear layers: uniform in ±1/√fan_in.
  static Init pytorch() { return kaiming_uniform(0.57735026918962576); }
};

struct NamedTensor {
  std::string name;          // from the root of the tree: "layer1.0.conv1.weight"
  Tensor tensor;             // a handle on the module's own storage
  bool convolution = false;  // [out, kh, kw, in] in memory, OIHW on disk
};

/// Fills a parameter with numbers drawn on the host, convolution weights in OIHW order: element i
/// of the stream is element i of PyTorch's tensor. Refreshes its twin. Kaiming and Xavier need a
/// matrix or a convolution weight.
void fill(const NamedTensor& parameter, const Init& init, uint64_t seed, uint64_t stream);

/// [out, kh, kw, in] → [out, in, kh, kw] and back, as copies: for whatever is laid out like a
/// convolution weight (momentum, moving averages).
Tensor to_oihw(const Tensor& weight);
Tensor from_oihw(const Tensor& weight);

/// What a loaded state dict lacked, and what it had too much.
struct LoadReport {
  std::vector<std::string> missing, unexpected;
};

class Module : public std::enable_shared_from_this<Module> {
 public:
  /// Initial values come from (seed, streams::kInit + index of the parameter in the whole model). A
  /// child without a seed of its own takes its parent's; 0 at the root.
  explicit Module(std::optional<uint64_t> seed = {});
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Tensor forward(const Tensor& x) = 0;
  /// forward(x), shown to the ForwardObserver if there is one.
  Tensor operator()(const Tensor& x);

  /// Training or evaluation: batch statistics and dropout, or not.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }
  /// Takes this module and what is below it out of the training: no gradients, and in evaluation mode whatever train()
  /// says, so that running statistics stay. Call it before to() and the optimiser.
  void freeze();
  /// Undoes that, from the next train() on; then comes a new optimiser: an earlier one does not know the parameters.
  void unfreeze();
  /// From now on a call keeps nothing but x for the backward pass, in which forward(x) runs again (core/recompute.h).
  void set_recompute(bool on = true) { recompute_ = on; }

  /// Parameters that require a gradient: what an optimiser takes. Order of registration, a module's
  /// own before its children's, which is the order of PyTorch's named_parameters().
  std::vector<Tensor> parameters() const;
  /// All parameters.
  std::vector<NamedTensor> named_parameters() const;
  /// State that is not trained: running statistics, f32 or f64, and counters, i64 on the host.
  std::vector<NamedTensor> named_buffers() const;
  /// Random generators with their names; their positions belong in a checkpoint, not in a state
  /// dict.
  std::vector<std::pair<std::string, Generator*>> named_generators();
  int64_t num_parameters() const;

  /// Lays all parameters and gradients out in arenas (arena.h) on the device. `dtype` is that of
  /// the batches: kF32; kBf16 keeps f32 masters and adds bf16 twins; kF64 gives f64 masters.
  /// Gradients are cleared. Call it on the root, before the optimiser is made.
  void to(Device device, DType dtype = DType::kF32);

  /// A snapshot on the host, by name, of parameters (the f32 or f64 masters) and buffers.
  TensorMap state_dict() const;
  /// Takes numbers of any floating dtype. An Error lists every missing, unexpected (unless `strict`
  /// is false) and mis-shaped tensor, and leaves the module as it was. Counters may be missing.
  LoadReport load_state_dict(const TensorMap& dict, bool strict = true);

  void zero_grad();

  /// "layer1.0.bn2"; empty for the root.
  std::string full_name() const;
  const std::string& name() const { return name_; }
  const std::vector<std::shared_ptr<Module>>& children() const { return children_; }

 protected:
  /// Constructs a child from the arguments. A name is not empty, has no dot and is used once.
  template <class T, class... Args>
  T& add(std::string name, Args&&... args) {
    const Adoption adoption(*this, std::move(name));
    auto child = std::make_shared<T>(std::forward<Args>(args)...);
    T& reference = *child;
    children_.push_back(std::move(child));
    return reference;
  }
  /// Takes a root as a child, with its weights, its mode and what is frozen in it; then come to() on the root and the optimiser:
  ///
  ///   Classifier& backbone = adopt("backbone", make_model("resnet18", {.classes = 10, .seed = 1}));
  ///
  /// What is added after it has other random numbers than it has; what was before it has the same, where the seeds are alike.
  /// Held elsewhere, too, it is a root again when this module ends. An Error where there is none, where it has a parent or is
  /// this module's root, and where the name is not new.
  template <class T>
  T& adopt(std::string name, std::shared_ptr<T> child) {
    take(std::move(name), child);
    return *child;
  }
  template <class T>
  T& adopt(std::string name, std::unique_ptr<T> child) {
    return adopt(std::move(name), std::shared_ptr<T>(std::move(child)));
  }
  /// Undoes adopt().
  void release(Module& child);
  enum class Layout { kPlain, kConvolution };
  /// A parameter in f32, initialised; its shape is that in memory.
  Tensor add_parameter(const std::string& name, const Shape& shape, const Init& init, Layout layout = Layout::kPlain);
  /// A parameter that begins with the numbers of this tensor, f32 on the host, which is its storage from now on.
  Tensor add_parameter(const std::string& name, Tensor value);
  /// A buffer; floating ones follow to().
  Tensor add_buffer(const std::string& name, Tensor value);
  /// A generator on a stream of its own. Without a seed: the model's.
  Generator& add_generator(const std::string& name, uint64_t stream, std::optional<uint64_t> seed = {});
  /// Shows a result to the ForwardObserver; for entries other than operator().
  Tensor observed(Tensor y) const;
  uint64_t seed() const;

 private:
  friend class EvalMode;
  // While a child is constructed, tells its Module who the parent is.
  class Adoption {
   public:
    Adoption(Module& parent, std::string name);
    ~Adoption();
    Adoption(const Adoption&) = delete;
    Adoption& operator=(const Adoption&) = delete;
  };

  void check_new_name(const std::string& name) const;
  void take(std::string name, std::shared_ptr<Module> child);
  Module& root();
  template <class Self, class F>
  static void walk(Self& self, const std::string& prefix, F& f);
  template <class Get>
  std::vector<NamedTensor> collect(Get get) const;

  std::string name_;
  Module* parent_ = nullptr;
  std::optional<uint64_t> seed_;
  bool training_ = true, frozen_ = false, recompute_ = false;
  std::vector<NamedTensor> parameters_, buffers_;  // under their local names
  std::vector<std::pair<std::string, std::unique_ptr<Generator>>> generators_;
  std::vector<std::shared_ptr<Module>> children_;
  uint64_t parameter_count_ = 0, generator_count_ = 0;  // of the whole tree; kept at the root
  Tensor arena_grads_;                                  // all gradients, where to() was called on this module
};

/// Evaluation mode while it lives, whatever happens; then the modes that the module and those in it were in.
///
///   const EvalMode eval_mode(net);
///   const Tensor logits = net(images);
class EvalMode {
 public:
  explicit EvalMode(Module& module);
  ~EvalMode();
  EvalMode(const EvalMode&) = delete;
  EvalMode& operator=(const EvalMode&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> modes_;  // whether each was training
};

/// While one of these lives on this thread, it sees the result of every module by full name, in the
/// order in which they are computed, and so do those around it:
///
///   std::string first_bad;
///   ForwardObserver observer([&](const std::string& name, const Tensor& y) {
///     if (first_bad.empty() && !all_finite(y)) first_bad = name;
///   });
///   net(images);
///
/// A container is seen after its children; the root has the empty name.
class ForwardObserver {
 public:
  using Callback = std::function<void(const std::string& name, const Tensor& y)>;
  explicit ForwardObserver(Callback callback);
  ~ForwardObserver();
  ForwardObserver(const ForwardObserver&) = delete;
  ForwardObserver& operator=(const ForwardObserver&) = delete;

 private:
  friend class Module;
  Callback callback_;
  ForwardObserver* previous_;
};

}  // namespace fulcrum
