// Libraries that are loaded when the first operation needs them: the program starts, and computes on
// the CPU, where there are none, and a start does not wait for the hundreds of megabytes of cuBLASLt.
#pragma once

namespace fulcrum::cuda {

/// The library `file`.`major` ("libcudnn.so", 9) of the library path, else of `folder`. It stays loaded.
/// An Error that calls it `what` where there is none.
void* open_library(const char* what, const char* file, int major, const char* folder);
/// A function of it; an Error where it has none of this name.
void* find_function(void* library, const char* name);

}  // namespace fulcrum::cuda
