// The state of an optimiser or a risk as tensors by name: copies of live tensors, and copies back into them.
// Internal to optim/.
#pragma once

#include <map>
#include <string>

#include <fulcrum/core/tensor.h>

namespace fulcrum {

using NamedState = std::map<std::string, Tensor>;

/// On the CPU.
NamedState copies_of(const NamedState& live);
/// Throws Error, and changes nothing, if a tensor is missing, unexpected or of another shape. `op` begins the messages;
/// `owner` is whose state it is.
void load_into(NamedState& live, const NamedState& state, const char* op, const char* owner);

}  // namespace fulcrum
