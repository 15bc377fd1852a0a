// Loaded before all other libraries (LD_PRELOAD), answers for the driver, the devices and cuDNN as FULCRUM_PRETEND says.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include <cuda_runtime_api.h>

namespace {
bool pretends(const char* what) {
  const char* all = std::getenv("FULCRUM_PRETEND");
  return all && std::strcmp(all, what) == 0;
}
}  // namespace

extern "C" cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  if (pretends("no driver") || pretends("old driver")) return cudaErrorInsufficientDriver;
  if (pretends("stub driver")) return cudaErrorStubLibrary;
  if (pretends("no device")) return cudaErrorNoDevice;
  if (pretends("broken driver")) return cudaErrorUnknown;
  *count = 1;
  return cudaSuccess;
}

extern "C" cudaError_t cudaDriverGetVersion(int* version) {
  *version = pretends("no driver") || pretends("stub driver") ? 0 : pretends("old driver") ? 12010 : 99000;
  return cudaSuccess;
}

extern "C" cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "a device of the test");
  return cudaSuccess;
}

extern "C" void* dlopen(const char* file, int flags) {
  static const auto real = reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));
  // What null opens is all that is loaded, with the function below.
  if (file && std::strstr(file, "libcudnn.so")) file = pretends("old cuDNN") ? nullptr : "no-libcudnn.so";
  return real(file, flags);
}

extern "C" std::size_t cudnnGetVersion() { return 8907; }
