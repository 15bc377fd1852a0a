# CUDA 12.4 or newer with cuBLASLt, cuDNN 9 and cudnn-frontend: the language CUDA and the targets CUDA::…,
# CUDNN::cudnn and cudnn_frontend::cudnn_frontend. NCCL, for several GPUs, where it is found. The toolkit comes from CMAKE_CUDA_COMPILER, CUDAToolkit_ROOT,
# PATH, /usr/local/cuda or pip's wheels, in this order; cuDNN from CUDNN_ROOT, the toolkit or the wheels. What
# is missing is an error where FULCRUM_CUDA is ON; where it is AUTO, it is said, and FULCRUM_CUDA becomes OFF.

# ---- where to look ------------------------------------------------------------------------------
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

if(CMAKE_CUDA_COMPILER)
  set(FULCRUM_NVCC ${CMAKE_CUDA_COMPILER})
elseif(DEFINED ENV{CUDACXX})
  set(FULCRUM_NVCC $ENV{CUDACXX})
else()
  list(TRANSFORM FULCRUM_CUDA_WHEELS APPEND /bin OUTPUT_VARIABLE wheel_programs)
  find_program(FULCRUM_NVCC nvcc HINTS ${CUDAToolkit_ROOT}/bin $ENV{CUDAToolkit_ROOT}/bin
               PATHS /usr/local/cuda/bin ${wheel_programs})
endif()

if(FULCRUM_NVCC)
  get_filename_component(toolkit ${FULCRUM_NVCC} REALPATH)
  get_filename_component(toolkit ${toolkit}/../.. ABSOLUTE)
  if(NOT CUDAToolkit_ROOT)
    set(CUDAToolkit_ROOT ${toolkit})
  endif()
  # Wheels hold libcudart.so.13 and no libcudart.so.
  if(toolkit IN_LIST FULCRUM_CUDA_WHEELS)
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
endif()

# ---- what is there ------------------------------------------------------------------------------
set(missing "")
if(NOT FULCRUM_NVCC)
  string(APPEND missing "\n  nvcc, in CUDAToolkit_ROOT, PATH, /usr/local/cuda/bin or a wheel nvidia-cuda-nvcc")
else()
  find_package(CUDAToolkit QUIET)
  if(NOT CUDAToolkit_FOUND OR CUDAToolkit_VERSION VERSION_LESS 12.4)
    string(APPEND missing "\n  CUDA 12.4 or newer; ${FULCRUM_NVCC} is ${CUDAToolkit_VERSION}")
  elseif(NOT CUDA_cublasLt_LIBRARY)
    string(APPEND missing "\n  cuBLASLt of CUDA ${CUDAToolkit_VERSION}")
  endif()
  find_package(CUDNN 9 QUIET)
  if(NOT CUDNN_FOUND)
    string(APPEND missing "\n  cuDNN 9, in CUDNN_ROOT, the toolkit or a wheel nvidia-cudnn")
  endif()
  find_package(cudnn_frontend 1.32 QUIET)
  if(NOT cudnn_frontend_FOUND)
    string(APPEND missing "\n  cudnn-frontend 1.32: CUDNN_FRONTEND_ROOT, or scripts/setup.sh --deps-only fetches it")
  endif()
endif()
if(missing)
  if(NOT FULCRUM_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "FULCRUM_CUDA=${FULCRUM_CUDA} needs${missing}\nFULCRUM_CUDA=OFF builds for the CPU alone")
  endif()
  message(STATUS "No CUDA back-end, which needs${missing}")
  set(FULCRUM_CUDA OFF)
  return()
endif()
set(FULCRUM_CUDA ON)

# ---- the language -------------------------------------------------------------------------------
set(CMAKE_CUDA_COMPILER ${FULCRUM_NVCC})
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
# Shared, because cuDNN's frontend looks for it by name.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
set(architectures "${CMAKE_CUDA_ARCHITECTURES}")
enable_language(CUDA)
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 does not know that nvcc 12 does
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
if("${architectures}" STREQUAL "")
  if(CUDAToolkit_VERSION VERSION_LESS 12.8)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 100)  # and code for what comes later
  endif()
endif()
find_package(NCCL 2 QUIET)
if(NOT NCCL_FOUND)
  message(STATUS "No NCCL (libnccl-dev, or a wheel nvidia-nccl): training runs on one GPU")
endif()
message(STATUS "CUDA ${CUDAToolkit_VERSION}, cuDNN ${CUDNN_VERSION}, cudnn-frontend ${cudnn_frontend_VERSION}, "
               "architectures ${CMAKE_CUDA_ARCHITECTURES}")
