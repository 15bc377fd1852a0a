// Checkpoints: the checksum, the metadata, and whether the tensors are those of the run.
#include <fulcrum/layers/resnet.h>

#include "apps/checkpoint.h"
#include "apps/sealed_file.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fulcrum;
  static Resnet model(8, {.classes = 2, .channels = 1});
  static Sgd optimizer((model.to({}), model.parameters()), SgdOptions{.lr = 0.1});
  const auto path = fuzz::as_file({data, size});
  fuzz::refuses_or_reads([&] { apps::evaluated_tensors(apps::load_sealed(path)); });
  return fuzz::refuses_or_reads([&] {
    apps::RunState state{model, optimizer, {}, {}};
    apps::load_checkpoint(path, state, {1, 2});
  });
}
