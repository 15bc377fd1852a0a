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
// One line declares, registers and names a child; adopt() registers an existing module, such as a network from
// make_model. Children hold pointers to their parents, so a module can be neither copied nor moved; a function can
// still return one by value as a temporary.
//
// Names are torchvision's ("layer1.0.bn1.weight"). Convolution weights are [out, kh, kw, in] in
// memory and [out, in, kh, kw] in a state dict, so that PyTorch can read Fulcrum's state dicts and vice
// versa.
#pragma once

#include <concepts>
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

/// How to initialise a parameter. Fans are PyTorch's: for [out, kh, kw, in], in·kh·kw and out·kh·kw.
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
  bool convolution = false;  // a convolution weight: [out, kh, kw, in] in memory, OIHW on disk
};

/// Fills a parameter with random numbers drawn on the host, convolution weights in OIHW order: element i
/// of the stream is element i of PyTorch's tensor. Also refreshes the parameter's twin. Kaiming and Xavier
/// require a matrix or a convolution weight.
void fill(const NamedTensor& parameter, const Init& init, uint64_t seed, uint64_t stream);

/// Copies [out, kh, kw, in] to [out, in, kh, kw] and back: for tensors laid out like a convolution
/// weight (momentum, moving averages).
Tensor to_oihw(const Tensor& weight);
Tensor from_oihw(const Tensor& weight);

/// Keys missing from, and unexpected in, a loaded state dict.
struct LoadReport {
  std::vector<std::string> missing, unexpected;
};

class Module : public std::enable_shared_from_this<Module> {
 public:
  /// Initial values are drawn from (seed, streams::kInit + index of the parameter in the whole model). A
  /// child without a seed of its own uses its parent's; the root's default is 0.
  explicit Module(std::optional<uint64_t> seed = {});
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Tensor forward(const Tensor& x) = 0;
  /// Returns forward(x) and passes it to the ForwardObservers, if any.
  Tensor operator()(const Tensor& x);

  /// Switches between training (batch statistics, dropout) and evaluation mode. Frozen modules stay in evaluation mode.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }
  /// Excludes this module and its descendants from training: their parameters get no gradients, and they stay in
  /// evaluation mode even after train(), so that running statistics do not change. Call it before to() and before
  /// creating the optimiser.
  void freeze();
  /// Undoes freeze(): parameters require gradients again, and the next train() switches to training mode. Then create
  /// a new optimiser; an earlier one does not have these parameters.
  void unfreeze();
  bool frozen() const { return frozen_; }
  /// Activation checkpointing: a call saves only x for the backward pass, which runs forward(x) again
  /// (core/recompute.h).
  void set_recompute(bool on = true) { recompute_ = on; }

  /// The parameters that require a gradient, for an optimiser. They are in order of registration, a module's
  /// own before its children's, as in PyTorch's named_parameters().
  std::vector<Tensor> parameters() const;
  /// All parameters, including frozen ones.
  std::vector<NamedTensor> named_parameters() const;
  /// State that is not trained: running statistics (f32 or f64) and counters (i64, on the host).
  std::vector<NamedTensor> named_buffers() const;
  /// The random generators with their names. A checkpoint must save their positions; a state dict does not
  /// contain them.
  std::vector<std::pair<std::string, Generator*>> named_generators();
  int64_t num_parameters() const;

  /// Moves all parameters and gradients into arenas (arena.h) on the device. `dtype` is the dtype of
  /// the batches: kF32; kBf16 keeps f32 masters and adds bf16 twins; kF64 gives f64 masters.
  /// Gradients are cleared. Call it on the root, before creating the optimiser.
  void to(Device device, DType dtype = DType::kF32);

  /// Returns copies, on the host and by name, of the parameters (the f32 or f64 masters) and buffers.
  TensorMap state_dict() const;
  /// Copies the tensors of `dict`, of any floating-point dtype, into parameters and buffers. Throws Error, and
  /// changes nothing, if tensors are missing or unexpected (only if `strict`) or have a wrong shape; the error lists
  /// all of them. Counters may be missing.
  LoadReport load_state_dict(const TensorMap& dict, bool strict = true);

  void zero_grad();

  /// The name from the root, e.g. "layer1.0.bn2"; empty for the root.
  std::string full_name() const;
  const std::string& name() const { return name_; }
  const std::vector<std::shared_ptr<Module>>& children() const { return children_; }

 protected:
  /// Constructs a child from the arguments. Throws Error if the name is empty, contains a dot or is already used.
  template <class T, class... Args>
  T& add(std::string name, Args&&... args) requires std::constructible_from<T, Args...> {
    const Adoption adoption(*this, std::move(name));
    auto child = std::make_shared<T>(std::forward<Args>(args)...);
    T& reference = *child;
    children_.push_back(std::move(child));
    return reference;
  }
  /// Makes an existing root a child, with its weights, its mode and its frozen parts. Afterwards call to() on the new
  /// root and create the optimiser:
  ///
  ///   Classifier& backbone = adopt("backbone", make_model("resnet18", {.classes = 10, .seed = 1}));
  ///
  /// Children added later get random numbers that differ from the adopted child's. Children added earlier may share
  /// initial values with it if the seeds are equal. If other owners hold the child, it becomes a root again when this
  /// module is destroyed. Throws Error if `child` is null, has a parent or is this module's root, and if the name is
  /// already used.
  template <class T>
  T& adopt(std::string name, std::shared_ptr<T> child) {
    take(std::move(name), child);
    return *child;
  }
  template <class T>
  T& adopt(std::string name, std::unique_ptr<T> child) {
    return adopt(std::move(name), std::shared_ptr<T>(std::move(child)));
  }
  /// Undoes adopt(): removes the child, which becomes a root if it has other owners. Throws Error if it is not a child.
  void release(Module& child);
  enum class Layout { kPlain, kConvolution };
  /// Adds an initialised f32 parameter of this shape in memory.
  Tensor add_parameter(const std::string& name, const Shape& shape, const Init& init, Layout layout = Layout::kPlain);
  /// Adds `value`, f32 on the host, as a parameter. The parameter uses the tensor's storage; no copy is made.
  Tensor add_parameter(const std::string& name, Tensor value);
  /// Adds a buffer. to() moves floating-point buffers; others stay on the host.
  Tensor add_buffer(const std::string& name, Tensor value);
  /// Adds a random generator with its own stream and with `seed`, by default the model's seed.
  Generator& add_generator(const std::string& name, uint64_t stream, std::optional<uint64_t> seed = {});
  /// Passes y to the ForwardObservers and returns it; for entry points other than operator().
  Tensor observed(Tensor y) const;
  uint64_t seed() const;

 private:
  friend class EvalMode;
  // Passes the parent and name to the Module constructor of a child during add().
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
  Tensor arena_grads_;                                  // all gradients, if to() was called on this module
};

/// Puts a module into evaluation mode for a scope. The destructor restores the mode of the module and of each
/// descendant, also after an exception.
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

/// While an observer lives on this thread, its callback gets the result of every module with the full name,
/// in order of computation. Observers nest; each of them is called:
///
///   std::string first_bad;
///   ForwardObserver observer([&](const std::string& name, const Tensor& y) {
///     if (first_bad.empty() && !all_finite(y)) first_bad = name;
///   });
///   net(images);
///
/// A container is reported after its children; the root has an empty name.
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
