#include <fulcrum/optim/state.h>

namespace fulcrum {

NamedState copies_of(const NamedState& live) {
  NamedState copies;
  for (const auto& [name, tensor] : live) {
    Tensor copy = empty(tensor.shape(), {tensor.dtype(), Device()});
    copy.copy_from(tensor);
    copies.emplace(name, copy);
  }
  return copies;
}

void load_into(NamedState& live, const NamedState& state, const char* op, const char* owner) {
  for (const auto& [name, tensor] : live) {
    const auto found = state.find(name);
    check(found != state.end(), "[", op, "] the state lacks '", name, "'");
    check(found->second.shape() == tensor.shape(), "[", op, "] expected '", name, "' of shape ", tensor.shape(),
          ", got ", found->second.shape());
  }
  for (const auto& [name, tensor] : state)
    check(live.contains(name), "[", op, "] there is no '", name, "' in this ", owner);
  for (auto& [name, tensor] : live) tensor.copy_from(state.at(name));
}

}  // namespace fulcrum
