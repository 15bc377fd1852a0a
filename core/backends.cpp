#include <fulcrum/core/backends.h>

namespace fulcrum {

std::vector<Backend> backends() { return {{Device(), describe_cpu()}}; }

}  // namespace fulcrum
