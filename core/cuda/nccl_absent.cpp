// connect_devices in a build with CUDA and without NCCL.
#include <fulcrum/core/communicator.h>
#include <fulcrum/core/cuda/runtime.h>

namespace fulcrum::cuda {

std::unique_ptr<Communicator> connect_devices(Communicator&, Device) {
  fail(
      "[nccl] several GPUs need NCCL, and this build has none: install libnccl-dev or a wheel nvidia-nccl, and configure anew");
}

}  // namespace fulcrum::cuda
