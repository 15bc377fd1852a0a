// Stands in for NCCL on emulated devices: the host's communicator, on copies, in the order of the emulated stream.
#include <cstring>

#include <fulcrum/core/communicator.h>
#include <fulcrum/core/cuda/runtime.h>

#include "recorder.h"

namespace fulcrum::cuda {

namespace {

/// A copy of a device's tensor on the host. The destructor copies it back.
class OnHost {
 public:
  explicit OnHost(const Tensor& t) : device_(t), host_(empty(t.shape(), {t.dtype(), {}})) {
    std::memcpy(host_.raw(), device_.raw(), host_.bytes());
  }
  ~OnHost() { std::memcpy(device_.raw(), host_.raw(), host_.bytes()); }
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;
  Tensor& operator*() { return host_; }

 private:
  Tensor device_, host_;
};

class EmulatedDevices : public Communicator {
 public:
  explicit EmulatedDevices(Communicator& host)
      : Communicator({host.rank(), host.size(), host.local_rank(), host.local_size()}), host_(host) {}

  void all_reduce(Tensor& values) override {
    if (values.device().is_cpu()) return host_.all_reduce(values);
    simt::enqueue([this, values] { host_.all_reduce(*OnHost(values)); });
  }
  void start_all_reduce(const Tensor& values) override {
    Tensor same = values;
    all_reduce(same);
  }
  void advance() override {}
  void finish() override {}
  void all_gather(Tensor& all, const Tensor& part, const std::vector<int64_t>& rows) override {
    if (all.device().is_cpu()) return host_.all_gather(all, part, rows);
    simt::enqueue([this, all, part, rows] {
      OnHost to(all);
      if (!part) return host_.all_gather(*to, {}, rows);
      OnHost from(part);
      host_.all_gather(*to, *from, rows);
    });
  }
  void broadcast(Tensor& values) override {
    if (values.device().is_cpu()) return host_.broadcast(values);
    simt::enqueue([this, values] { host_.broadcast(*OnHost(values)); });
  }
  bool fail(int exit_code) override { return host_.fail(exit_code); }
  void await_failure() override { host_.await_failure(); }
  void shut_down(bool) override {}

 private:
  Communicator& host_;
};

}  // namespace

std::unique_ptr<Communicator> connect_devices(Communicator& host, Device) {
  return std::make_unique<EmulatedDevices>(host);
}

}  // namespace fulcrum::cuda
