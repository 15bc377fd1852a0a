# Python 3.9 or newer with its headers, and nanobind of that Python (`pip install nanobind`): what python/ is built
# with. Where something is missing, it is an error if FULCRUM_PYTHON is ON; if it is AUTO, it is said, and
# FULCRUM_PYTHON becomes OFF.
set(missing "")
if(FULCRUM_SANITIZE OR FULCRUM_FUZZ)
  string(APPEND missing "\n  no sanitizers, which Python would have to load first")
endif()
find_package(Python 3.9 QUIET COMPONENTS Interpreter Development.Module)
if(NOT Python_FOUND)
  string(APPEND missing "\n  Python 3.9 with headers (python3-dev); Python_EXECUTABLE names one")
else()
  execute_process(COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
                  OUTPUT_VARIABLE nanobind_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_package(nanobind 3.1 QUIET CONFIG)
  if(NOT nanobind_FOUND)
    string(APPEND missing "\n  nanobind 3.1 (${Python_EXECUTABLE} -m pip install nanobind)")
  endif()
endif()
if(missing)
  if(NOT FULCRUM_PYTHON STREQUAL "AUTO")
    message(FATAL_ERROR "FULCRUM_PYTHON=${FULCRUM_PYTHON} needs${missing}")
  endif()
  message(STATUS "No Python package, which needs${missing}")
  set(FULCRUM_PYTHON OFF)
  return()
endif()
set(FULCRUM_PYTHON ON)
message(STATUS "Python package for ${Python_EXECUTABLE} (${Python_VERSION}), nanobind ${nanobind_VERSION}")

# The static libraries go into a shared one. Hidden, their symbols are called as directly as in a program.
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
