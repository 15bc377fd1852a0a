#include <fulcrum/layers/classifier.h>

namespace fulcrum {

Tensor Classifier::forward(const Tensor& x) {
  check(head_ != nullptr, "[Classifier] expected add_head in the constructor of '", full_name(), "'");
  Tensor y = features(x);
  if (dropout_) y = (*dropout_)(y);
  return (*head_)(y);
}

void Classifier::add_head(const std::string& name, const LinearOptions& linear, const HeadOptions& o) {
  if (o.dropout != 0) dropout_ = &add<Dropout>("dropout", DropoutOptions{.p = o.dropout});
  if (o.normed) head_ = &add<NormedLinear>(name, NormedLinearOptions{.in = linear.in, .out = linear.out});
  else head_ = &add<Linear>(name, linear);
}

}  // namespace fulcrum
