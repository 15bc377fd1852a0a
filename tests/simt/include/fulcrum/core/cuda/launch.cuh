// Stands in for core/cuda/launch.cuh where device code is compiled for the CPU.
#pragma once

#include <fulcrum/core/cuda/runtime.h>

#include "simt.h"

namespace fulcrum::cuda {

struct Grid {
  unsigned blocks, threads;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, Arguments... arguments) {
  simt::launch(grid.blocks, grid.threads, [=] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace fulcrum::cuda
