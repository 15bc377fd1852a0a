// Loads libraries on first use: without them the program still starts, and computes on the CPU, and its start does not
// wait for the hundreds of megabytes of cuBLASLt.
#pragma once

namespace fulcrum::cuda {

/// Loads the library `file`.`major` ("libcudnn.so", 9) from the library path, else from `folder`. It stays loaded.
/// Throws an Error that calls it `what` if there is none.
void* open_library(const char* what, const char* file, int major, const char* folder);
/// Finds a function of the library. Throws Error if it has none of this name.
void* find_function(void* library, const char* name);

}  // namespace fulcrum::cuda
