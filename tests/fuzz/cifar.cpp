// CIFAR's binary version: CIFAR-10 and, with two labels a record, CIFAR-100.
#include <fulcrum/data/cifar.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  const auto& file = fuzz::as_file({data, size});
  static const fuzz::Folder folder({{"test_batch.bin", file}, {"test.bin", file}});
  fuzz::refuses_or_reads([&] { load_cifar10(folder.path(), /*train=*/false); });
  return fuzz::refuses_or_reads([&] { load_cifar100(folder.path(), /*train=*/false); });
}
