# NCCL's header, and the folder of its library, which is loaded when several GPUs train together: NCCL_INCLUDE and
# NCCL_FOLDER. Looks in NCCL_ROOT, next to CUDA, in the system and in FULCRUM_CUDA_WHEELS.
find_path(NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATHS ${FULCRUM_CUDA_WHEELS} PATH_SUFFIXES include)
find_library(NCCL_LIBRARY NAMES libnccl.so.2 HINTS ${NCCL_INCLUDE}/../lib ${NCCL_INCLUDE}/../lib64 ${CUDAToolkit_LIBRARY_DIR}
             PATHS ${FULCRUM_CUDA_WHEELS} PATH_SUFFIXES lib lib64)
mark_as_advanced(NCCL_INCLUDE NCCL_LIBRARY)

include(${CMAKE_CURRENT_LIST_DIR}/header_version.cmake)
if(NCCL_INCLUDE)
  header_version(NCCL_VERSION ${NCCL_INCLUDE}/nccl.h
                 NCCL_MAJOR NCCL_MINOR NCCL_PATCH)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_LIBRARY NCCL_INCLUDE VERSION_VAR NCCL_VERSION)
if(NCCL_FOUND)
  get_filename_component(NCCL_FOLDER ${NCCL_LIBRARY} DIRECTORY)
endif()
