#include <fulcrum/core/cuda/library.h>

#include <dlfcn.h>

#include <fulcrum/core/check.h>

namespace fulcrum::cuda {

void* open_library(const char* what, const char* file, int major, const char* folder) {
  const std::string name = concat_text(file, ".", major);
  if (void* library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  const std::string reason = ::dlerror();
  void* library = ::dlopen(concat_text(folder, "/", name).c_str(), RTLD_NOW | RTLD_LOCAL);
  check(library, "[cuda] expected ", what, " ", major, " (", name, ") on the library path, got: ", reason);
  return library;
}

void* find_function(void* library, const char* name) {
  void* function = ::dlsym(library, name);
  check(function, "[cuda] expected a library with ", name, ", got: ", ::dlerror());
  return function;
}

}  // namespace fulcrum::cuda
