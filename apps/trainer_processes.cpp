// A run in several processes: metrics and running statistics are combined over the processes, and all must begin alike.
#include <set>
#include <string>

#include <fulcrum/core/hash.h>
#include <fulcrum/core/kernels.h>

#include "apps/trainer.h"
#include "apps/world.h"

namespace fulcrum::apps {

void Trainer::add_metrics(const Batch& batch, const Tensor& logits, const Tensor& losses) {
  dispatch(totals_, [&]<class K>() {
    if (!several()) return K::add_metrics(totals_, logits, batch.labels, losses, optimizer_->weights());
    Tensor sums = zeros(totals_.shape(), options_of(totals_));
    if (part_->own.size() > 0) K::add_metrics(sums, logits, batch.labels, losses, optimizer_->weights());
    on_device().all_reduce(sums);
    K::add_into(totals_, sums);
  });
}

void Trainer::share_statistics() {
  if (!several() || config_.train.sync_bn) return;
  average_over_processes(model_->named_buffers(), on_device());
  if (!ema_) return;
  std::set<std::string> buffers;
  for (const NamedTensor& b : model_->named_buffers()) buffers.insert(b.name);
  std::vector<NamedTensor> averages;
  for (const NamedTensor& t : ema_->tensors())
    if (buffers.contains(t.name)) averages.push_back(t);
  average_over_processes(averages, on_device());
}

void Trainer::check_state_alike() {
  if (processes_.size() == 1) return;
  Hash hash;
  const auto add = [&](const TensorMap& tensors) {
    for (const auto& [name, tensor] : tensors) {
      hash.add_text(name);
      hash.add(tensor.raw(), tensor.bytes());
    }
  };
  add(model_->state_dict());
  add(optimizer_->state_dict());
  if (ema_)
    for (const NamedTensor& t : ema_->tensors()) add({{t.name, t.tensor.to(Device())}});
  const RunProgress& p = state_.progress;
  check_alike(processes_, "weights and state of the run (epoch, batch, checksum)",
              concat_text(p.epoch, " ", p.batch, " ", hash.value()));
}

}  // namespace fulcrum::apps
