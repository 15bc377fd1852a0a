# cuDNN's headers, and the folder of its library, which is loaded when a GPU is first used:
# the target CUDNN::cudnn. Looks in CUDNN_ROOT, next to CUDA and in FULCRUM_CUDA_WHEELS.
find_path(CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} PATHS ${FULCRUM_CUDA_WHEELS} PATH_SUFFIXES include)
file(GLOB CUDNN_HINTS ${CUDNN_INCLUDE}/../lib ${CUDNN_INCLUDE}/../lib64)
find_library(CUDNN_LIBRARY NAMES libcudnn.so.9 HINTS ${CUDNN_HINTS} ${CUDAToolkit_LIBRARY_DIR}
             PATHS ${FULCRUM_CUDA_WHEELS} PATH_SUFFIXES lib lib64)
mark_as_advanced(CUDNN_INCLUDE CUDNN_LIBRARY)

include(${CMAKE_CURRENT_LIST_DIR}/header_version.cmake)
if(CUDNN_INCLUDE)
  header_version(CUDNN_VERSION ${CUDNN_INCLUDE}/cudnn_version.h
                 CUDNN_MAJOR CUDNN_MINOR CUDNN_PATCHLEVEL)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CUDNN REQUIRED_VARS CUDNN_LIBRARY CUDNN_INCLUDE VERSION_VAR CUDNN_VERSION)
if(CUDNN_FOUND AND NOT TARGET CUDNN::cudnn)
  get_filename_component(CUDNN_FOLDER ${CUDNN_LIBRARY} DIRECTORY)
  add_library(CUDNN::cudnn INTERFACE IMPORTED)
  set_target_properties(CUDNN::cudnn PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${CUDNN_INCLUDE}
                        INTERFACE_COMPILE_DEFINITIONS FULCRUM_CUDNN_FOLDER="${CUDNN_FOLDER}")
endif()
