# CUDA 12.4 or newer with cuBLASLt, cuDNN 9 and cudnn-frontend: the language CUDA and the
# targets CUDA::…, CUDNN::cudnn and cudnn_frontend::cudnn_frontend. The toolkit comes from CMAKE_CUDA_COMPILER, CUDAToolkit_ROOT, PATH,
# /usr/local/cuda or pip's wheels, in this order; cuDNN from CUDNN_ROOT, the toolkit or the wheels.

# Folders nvidia/* of the Python that is active, with bin, include and lib in each.
set(FULCRUM_CUDA_WHEELS "")
find_program(PYTHON3 python3)
if(PYTHON3)
  execute_process(COMMAND ${PYTHON3} -c "import nvidia; print(*nvidia.__path__, sep=';')"
                  OUTPUT_VARIABLE roots OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  foreach(root ${roots})
    file(GLOB folders LIST_DIRECTORIES true ${root}/*)
    list(APPEND FULCRUM_CUDA_WHEELS ${folders})
  endforeach()
endif()

if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  list(TRANSFORM FULCRUM_CUDA_WHEELS APPEND /bin OUTPUT_VARIABLE wheel_programs)
  find_program(FULCRUM_NVCC nvcc HINTS ${CUDAToolkit_ROOT}/bin $ENV{CUDAToolkit_ROOT}/bin
               PATHS /usr/local/cuda/bin ${wheel_programs})
  if(NOT FULCRUM_NVCC)
    message(FATAL_ERROR "FULCRUM_CUDA=ON: there is no nvcc in CUDAToolkit_ROOT, PATH, /usr/local/cuda/bin or a "
                        "wheel nvidia-cuda-nvcc; build with FULCRUM_CUDA=OFF, or name the toolkit by "
                        "-DCUDAToolkit_ROOT=...")
  endif()
  set(CMAKE_CUDA_COMPILER ${FULCRUM_NVCC})
endif()
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
# Shared, because cuDNN's frontend looks for it by name.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)

# Wheels hold libcudart.so.13 and no libcudart.so.
get_filename_component(toolkit ${CMAKE_CUDA_COMPILER} REALPATH)
get_filename_component(toolkit ${toolkit}/../.. ABSOLUTE)
if(toolkit IN_LIST FULCRUM_CUDA_WHEELS)
  set(CUDAToolkit_ROOT ${toolkit})
  list(APPEND CMAKE_PREFIX_PATH ${FULCRUM_CUDA_WHEELS})  # before the system's cuDNN
  foreach(library cudart cublasLt)
    file(GLOB files ${toolkit}/lib/lib${library}.so.*)
    list(GET files 0 file)
    set(CUDA_${library}_LIBRARY ${file} CACHE FILEPATH "")
  endforeach()
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/cuda-wheel)
  file(CREATE_LINK ${CUDA_cudart_LIBRARY} ${PROJECT_BINARY_DIR}/cuda-wheel/libcudart.so SYMBOLIC)
  set(CMAKE_CUDA_FLAGS_INIT "-L${PROJECT_BINARY_DIR}/cuda-wheel -L${toolkit}/lib")
endif()

set(architectures "${CMAKE_CUDA_ARCHITECTURES}")
enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 does not know that nvcc 12 does
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit 12.4 REQUIRED)
if("${architectures}" STREQUAL "")
  if(CUDAToolkit_VERSION VERSION_LESS 12.8)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100)  # and code for what comes later
  endif()
endif()
find_package(CUDNN 9 REQUIRED)
find_package(cudnn_frontend 1.32 REQUIRED)
message(STATUS "CUDA ${CUDAToolkit_VERSION}, cuDNN ${CUDNN_VERSION}, cudnn-frontend ${cudnn_frontend_VERSION}, "
               "architectures ${CMAKE_CUDA_ARCHITECTURES}")
