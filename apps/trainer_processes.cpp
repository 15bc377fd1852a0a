// What a run in several processes adds up over them: metrics, and running statistics.
#include <set>
#include <string>

#include "apps/trainer.h"

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

}  // namespace fulcrum::apps
