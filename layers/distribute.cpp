#include <fulcrum/layers/distribute.h>

#include <fulcrum/core/autograd.h>
#include <fulcrum/core/ops.h>
#include <fulcrum/layers/layers.h>

namespace fulcrum {

void distribute(Module& model, const std::shared_ptr<const BatchPart>& part, bool sync_batch_norm) {
  if (auto* norm = dynamic_cast<BatchNorm*>(&model); norm && sync_batch_norm) norm->distribute(part);
  if (auto* dropout = dynamic_cast<Dropout*>(&model)) dropout->distribute(part);
  for (const auto& child : model.children()) distribute(*child, part, sync_batch_norm);
}

void average_over_processes(const std::vector<NamedTensor>& buffers, Communicator& communicator) {
  if (communicator.size() == 1) return;
  const NoGrad no_grad;
  for (const NamedTensor& b : buffers) {
    if (!is_floating(b.tensor.dtype())) continue;
    Tensor sum = b.tensor;
    communicator.all_reduce(sum);
    sum.copy_from(sum / static_cast<double>(communicator.size()));
  }
}

}  // namespace fulcrum
