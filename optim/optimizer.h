// Optimizer: SGD, Adam and AdamW over parameter arenas, each with a Risk that weights the samples.
//
//   Sgd opt(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 2e-4});
//   opt.zero_grad();
//   opt.weigh(cross_entropy(net(images), labels)).backward();   // Σ p_i l_i; the mean by default
//   opt.step();
//
// With several processes (core/communicator.h), each process passes its part of the batch; the weights are computed on
// the whole batch:
//
//   opt.distribute(*communicator);
//   opt.backward(opt.weigh(cross_entropy(net(part), part_labels), {.total = 128}));   // also sums the gradients
//   opt.step();
//
// The constructor moves the parameters into one arena (core/arena.h) unless they are in one already, as after
// Module::to(), which must come first. A parameter without a gradient counts as having gradient 0: momentum and weight
// decay still apply, as in PyTorch with zero_grad(set_to_none=False).
//
// ABSGD is in absgd.h. After the first non-finite loss or gradient, step() no longer changes anything, so that the last
// good weights are kept; query finite().
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fulcrum/core/arena.h>
#include <fulcrum/core/communicator.h>
#include <fulcrum/core/kernel_types.h>
#include <fulcrum/optim/gradient_buckets.h>
#include <fulcrum/optim/risk.h>

namespace fulcrum {

/// The losses, weights and context of a batch, gathered from all processes.
struct WeighedBatch {
  Tensor losses, weights;  // [B], detached
  BatchContext context;
};

/// Parameters that share hyper-parameters.
struct ParamGroup {
  std::vector<Tensor> parameters = {};
  double lr_scale = 1;                      // multiplies the optimiser's learning rate
  std::optional<double> weight_decay = {};  // replaces the optimiser's
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Returns the objective Σ pᵢ lᵢ of per-sample losses [B]. The weights p come from the risk and are constant in the
  /// backward pass.
  Tensor weigh(const Tensor& losses, const BatchContext& context = {});
  /// The weights of the last weigh(), [B]; with several processes, those of this process's samples.
  const Tensor& weights() const { return weights_; }
  /// The whole batch of the last weigh().
  const WeighedBatch& batch() const { return batch_; }
  /// Trains with several processes from now on. Each process has a slice of every batch (slice_of), in the order of
  /// ranks; if its slice is empty, it passes one sample, which is not counted. weigh() weights the whole batch, so each
  /// sample has the same weight as in a single process; step() updates with the sum of all gradients. Every process
  /// must call the same functions.
  void distribute(Communicator& communicator);
  /// Runs objective.backward(), as the last pass before step(). With several processes, sums gradients over them while
  /// the pass is still running.
  void backward(const Tensor& objective);
  /// Sets the gradients of this optimiser's parameters to zero. Like step(), throws Error if a parameter was moved or
  /// frozen since the optimiser was created.
  void zero_grad();
  /// Clips the gradients (if max_norm is set) and updates every parameter and its bf16 twin.
  void step();

  double lr() const { return lr_; }
  void set_lr(double lr);
  Risk& risk() { return *risk_; }
  void set_risk(std::unique_ptr<Risk> risk);

  /// Norm of all gradients before clipping in the last step. Waits for the device.
  double gradient_norm() const { return control_.to_vector()[kNorm]; }
  /// Steps done. Waits for the device.
  int64_t steps() const { return static_cast<int64_t>(control_.to_vector()[kStep]); }
  /// False after a non-finite loss or gradient, until clear_non_finite(). Waits for the device.
  bool finite() const { return control_.to_vector()[kBad] == 0; }
  /// The live state that kernels read on the device: f64 [kControlSize] (UpdateControl in kernel_types.h).
  const Tensor& control() const { return control_; }
  /// Lets step() update again after a non-finite loss or gradient.
  void clear_non_finite();

  /// What a checkpoint needs in addition to the model's state_dict() and Module::named_generators(), copied to the CPU:
  /// the step count, momentum and other slots, and the risk's state (e.g. u). It does not contain the learning rate and
  /// hyper-parameters.
  ///
  ///   save_tensors("optimizer.safetensors", {opt.state_dict()});
  ///   opt.load_state_dict(load_tensors("optimizer.safetensors").tensors);   // resumes bit for bit
  std::map<std::string, Tensor> state_dict();
  /// Throws Error, and changes nothing, if a tensor is missing, unexpected or of another shape; the error names it.
  void load_state_dict(const std::map<std::string, Tensor>& state);
  /// The same without slots(), as handles on the live tensors. Keys: "control", "risk.…".
  std::map<std::string, Tensor> state();
  /// The optimiser's per-parameter state, in the order of parameters(): {"momentum": […]}.
  std::map<std::string, std::vector<Tensor>> slots() const;
  const std::vector<Tensor>& parameters() const { return parameters_; }

 protected:
  Optimizer(std::vector<ParamGroup> groups, double lr, double weight_decay, double max_norm);
  /// Adds a zeroed arena laid out like the parameters, for per-parameter state.
  Tensor add_slot(const char* name);
  virtual void update() = 0;

  Arena arena_;
  Segments segments_;
  Tensor control_;  // f64 [kControlSize]

 private:
  /// Gathers the losses and contexts of all processes.
  WeighedBatch gathered(const Tensor& losses, const BatchContext& context) const;
  /// The part of `weights` that belongs to this process's `samples`; zeros if its slice is empty.
  Tensor own_part(const Tensor& weights, int64_t samples) const;
  /// Throws Error if a parameter has left the arena or was frozen. Copies gradients from set_grad() back into the
  /// arena; throws Error for those if `summed`: the arena's gradients have been summed over the processes already.
  void attach(bool summed = false);
  std::vector<ParamGroup> groups_;
  std::vector<Tensor> parameters_;
  std::vector<Slice> runs_;  // ranges of the arena that hold the parameters
  std::map<std::string, Tensor> slots_;
  std::unique_ptr<Risk> risk_;
  Tensor weights_;
  WeighedBatch batch_;
  Communicator* communicator_ = nullptr;
  std::unique_ptr<GradientBuckets> buckets_;
  double lr_, weight_decay_, max_norm_;
};

/// In place of a learning rate, which has no default.
inline constexpr double kNotGiven = std::numeric_limits<double>::quiet_NaN();

struct SgdOptions {
  double lr = kNotGiven;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  double max_norm = 0;  // clip the gradient to this norm; 0: do not clip
};

/// torch.optim.SGD.
class Sgd : public Optimizer {
 public:
  Sgd(std::vector<Tensor> parameters, const SgdOptions& options);
  Sgd(std::vector<ParamGroup> groups, const SgdOptions& options);

 private:
  void update() override;
  SgdRule rule_;
  Tensor momentum_;
};

struct AdamOptions {
  double lr = kNotGiven;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  // true: AdamW
  double max_norm = 0;
};

/// torch.optim.Adam and, with `decoupled`, torch.optim.AdamW.
class Adam : public Optimizer {
 public:
  Adam(std::vector<Tensor> parameters, const AdamOptions& options);
  Adam(std::vector<ParamGroup> groups, const AdamOptions& options);

 private:
  void update() override;
  AdamRule rule_;
  Tensor first_, second_;
};

}  // namespace fulcrum
