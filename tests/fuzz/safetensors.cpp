// Safetensors files: the header alone, and with the numbers.
#include <fulcrum/core/serialize.h>

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  const auto path = fuzz::as_file({data, size});
  fuzz::refuses_or_reads([&] { read_tensor_index(path); });
  return fuzz::refuses_or_reads([&] { load_tensors(path); });
}
