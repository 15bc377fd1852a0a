// Optimisers: SGD, Adam and AdamW over parameter arenas, each with a Risk that weighs the samples.
//
//   Sgd opt(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 2e-4});
//   opt.zero_grad();
//   opt.weigh(cross_entropy(net(images), labels)).backward();   // Σ p_i l_i; the mean by default
//   opt.step();
//
// One of several processes (core/communicator.h) gives its part of each batch, and the weights are those of the whole:
//
//   opt.distribute(*communicator);
//   opt.backward(opt.weigh(cross_entropy(net(part), part_labels), {.total = 128}));   // gradients are summed on the way
//   opt.step();
//
// The parameters move into one arena (core/arena.h), or are in one already, as after Module::to: that comes first. One that has
// no gradient has the gradient 0: momentum and weight decay go on, as in PyTorch with zero_grad(set_to_none=False).
//
// ABSGD is in absgd.h. After the first non-finite loss or gradient step() changes nothing any more,
// so that the last good weights survive until somebody looks: finite().
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

/// A batch that was weighed, of all processes.
struct WeighedBatch {
  Tensor losses, weights;  // [B], detached
  BatchContext context;
};

/// Parameters that share hyper-parameters.
struct ParamGroup {
  std::vector<Tensor> parameters = {};
  double lr_scale = 1;                      // times the optimiser's learning rate
  std::optional<double> weight_decay = {};  // instead of the optimiser's
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Σ pᵢ lᵢ of losses [B], to be differentiated; p from the risk, without gradient.
  Tensor weigh(const Tensor& losses, const BatchContext& context = {});
  /// The weights of the last weigh(), [B]; in one of several processes those of its own samples.
  const Tensor& weights() const { return weights_; }
  /// The whole batch of the last weigh().
  const WeighedBatch& batch() const { return batch_; }
  /// From now on this process is one of several, each with a slice of the batch (slice_of), in the order of ranks;
  /// where that is empty, with a sample that is not counted. weigh() weighs the whole batch, so each sample has the
  /// weight that it has in one process; step() updates by the sum of all gradients. Every process calls the same
  /// functions.
  void distribute(Communicator& communicator);
  /// objective.backward(), the last pass before step(): where there are several processes, gradients are summed over
  /// them while others are still computed.
  void backward(const Tensor& objective);
  /// Sets the gradient of every parameter of its own to zero. An Error, as of step(), where a parameter was moved since.
  void zero_grad();
  /// Clips, where asked to, and updates every parameter (and its bf16 twin).
  void step();

  double lr() const { return lr_; }
  void set_lr(double lr);
  Risk& risk() { return *risk_; }
  void set_risk(std::unique_ptr<Risk> risk);

  /// Norm of all gradients before clipping in the last step. Waits for the device.
  double gradient_norm() const { return control_.to_vector()[kNorm]; }
  /// Steps done. Waits for the device.
  int64_t steps() const { return static_cast<int64_t>(control_.to_vector()[kStep]); }
  /// False from the first non-finite loss or gradient on. Waits for the device.
  bool finite() const { return control_.to_vector()[kBad] == 0; }
  /// What kernels read instead of the host: f64 [kControlSize] (UpdateControl in kernel_types.h), live.
  const Tensor& control() const { return control_; }
  /// Lets step() update again.
  void clear_non_finite();

  /// What a checkpoint must hold beside the model's state_dict() and Module::named_generators(), copied to the CPU: steps,
  /// momentum and the like, the risk's u. Learning rate and hyper-parameters are not in it.
  ///
  ///   save_tensors("optimizer.safetensors", {opt.state_dict()});
  ///   opt.load_state_dict(load_tensors("optimizer.safetensors").tensors);   // goes on bit for bit
  std::map<std::string, Tensor> state_dict();
  /// An Error names what is missing, unexpected or of another shape; nothing is changed then.
  void load_state_dict(const std::map<std::string, Tensor>& state);
  /// The same but for slots(), as handles on live tensors. Keys "control", "risk.…".
  std::map<std::string, Tensor> state();
  /// The optimiser's memory of each parameter, in the order of parameters(): {"momentum": […]}.
  std::map<std::string, std::vector<Tensor>> slots() const;
  const std::vector<Tensor>& parameters() const { return parameters_; }

 protected:
  Optimizer(std::vector<ParamGroup> groups, double lr, double weight_decay, double max_norm);
  /// A zeroed arena laid out like the parameters.
  Tensor add_slot(const char* name);
  virtual void update() = 0;

  Arena arena_;
  Segments segments_;
  Tensor control_;  // f64 [kControlSize]

 private:
  /// Losses and context of all processes.
  WeighedBatch gathered(const Tensor& losses, const BatchContext& context) const;
  /// The part of `weights` that belongs to the `samples` of this process.
  Tensor own_part(const Tensor& weights, int64_t samples) const;
  /// Refuses parameters that have left the arena; gradients that were set come back into it, unless they are sums already.
  void attach(bool summed = false);
  std::vector<ParamGroup> groups_;
  std::vector<Tensor> parameters_;
  std::vector<Slice> runs_;  // of the arena
  std::map<std::string, Tensor> slots_;
  std::unique_ptr<Risk> risk_;
  Tensor weights_;
  WeighedBatch batch_;
  Communicator* communicator_ = nullptr;
  std::unique_ptr<GradientBuckets> buckets_;
  double lr_, weight_decay_, max_norm_;
};

struct SgdOptions {
  double lr;
  double momentum = 0;
  double weight_decay = 0;
  bool nesterov = false;
  double max_norm = 0;  // clip the gradient to this norm; 0: do not
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
  double lr;
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
