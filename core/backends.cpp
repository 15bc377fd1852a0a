#include <fulcrum/core/backends.h>

#include <fulcrum/core/cuda/runtime.h>

namespace fulcrum {

std::vector<Backend> backends() {
  std::vector<Backend> all{{Device(), describe_cpu()}};
  for (int i = 0; i < cuda::device_count(); i++)
    all.push_back({Device(Device::Kind::kCuda, i), cuda::describe_device(i)});
  return all;
}

}  // namespace fulcrum
