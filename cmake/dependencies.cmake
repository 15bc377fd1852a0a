# Everything past OpenMP, Eigen and GoogleTest can be switched off.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(Threads REQUIRED)

if(FULCRUM_ONEDNN)
  # Not find_package(dnnl): Debian's CMake files for it demand OpenCL.
  find_path(DNNL_INCLUDE oneapi/dnnl/dnnl.hpp REQUIRED)
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  add_library(DNNL::dnnl UNKNOWN IMPORTED)
  set_target_properties(DNNL::dnnl PROPERTIES IMPORTED_LOCATION ${DNNL_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${DNNL_INCLUDE})
endif()

if(FULCRUM_ZLIB)
  find_package(ZLIB REQUIRED)
endif()

if(FULCRUM_JPEG)
  find_package(JPEG REQUIRED)
endif()
if(FULCRUM_PNG)
  find_package(PNG REQUIRED)
endif()

if(FULCRUM_APPS)
  find_package(CLI11 REQUIRED CONFIG)
  find_package(nlohmann_json REQUIRED CONFIG)
  find_package(fmt REQUIRED CONFIG)
  find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
endif()

if(FULCRUM_TESTS)
  find_package(GTest REQUIRED)
endif()

if(FULCRUM_CUDA)
  message(FATAL_ERROR "FULCRUM_CUDA=ON: the CUDA back-end is declared in core/kernels.inc and not complete; "
                      "build with FULCRUM_CUDA=OFF")
endif()
