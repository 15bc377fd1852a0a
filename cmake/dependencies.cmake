# Everything past OpenMP, Eigen and GoogleTest can be switched off.
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})  # FindoneDNN.cmake

# fulcrum_dependency(ZLIB …): finds a package that the libraries link to, here and, because static
# libraries leave linking to their user, in the installed fulcrumConfig.cmake.
set(FULCRUM_DEPENDENCIES "")
macro(fulcrum_dependency)
  find_package(${ARGV} REQUIRED)
  string(REPLACE ";" " " arguments "${ARGV}")
  string(APPEND FULCRUM_DEPENDENCIES "find_dependency(${arguments})\n")
endmacro()
fulcrum_dependency(OpenMP COMPONENTS CXX)
fulcrum_dependency(Threads)
if(FULCRUM_ONEDNN)
  fulcrum_dependency(oneDNN)
endif()
if(FULCRUM_ZLIB)
  fulcrum_dependency(ZLIB)
endif()
if(FULCRUM_JPEG)
  fulcrum_dependency(JPEG)
endif()
if(FULCRUM_PNG)
  fulcrum_dependency(PNG)
endif()

if(FULCRUM_MPI STREQUAL "AUTO")
  set(MPI_CXX_SKIP_MPICXX ON)
  find_package(MPI COMPONENTS CXX QUIET)
  set(FULCRUM_MPI ${MPI_CXX_FOUND})
  if(NOT MPI_CXX_FOUND)
    message(STATUS "No MPI (libopenmpi-dev): training runs in one process")
  endif()
endif()
if(FULCRUM_MPI)
  set(MPI_CXX_SKIP_MPICXX ON)
  fulcrum_dependency(MPI COMPONENTS CXX)
endif()

find_package(Eigen3 REQUIRED NO_MODULE)  # headers that no header of ours shows: no user needs it

if(FULCRUM_APPS OR FULCRUM_JSON)
  find_package(nlohmann_json REQUIRED CONFIG)  # headers, too
endif()

if(FULCRUM_APPS)
  find_package(CLI11 REQUIRED CONFIG)
  find_package(fmt REQUIRED CONFIG)
  find_path(TOMLPLUSPLUS_INCLUDE toml++/toml.h REQUIRED)
endif()

if(FULCRUM_TESTS)
  find_package(GTest REQUIRED)
endif()

if(FULCRUM_CUDA)
  include(${CMAKE_CURRENT_LIST_DIR}/cuda.cmake)  # with AUTO it says ON or OFF from here on
endif()
if(FULCRUM_CUDA)
  # The installed libraries link to CUDA's runtime; cuDNN and cuBLAS are loaded when they are needed.
  string(APPEND FULCRUM_DEPENDENCIES "find_dependency(CUDAToolkit)\n")
endif()
