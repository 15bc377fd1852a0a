# The headers of cudnn-frontend as the target cudnn_frontend::cudnn_frontend. Looks in
# CUDNN_FRONTEND_ROOT, the system, and where scripts/setup.sh puts them.
find_path(CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${CUDNN_FRONTEND_ROOT} ENV CUDNN_FRONTEND_ROOT
          PATHS ${PROJECT_SOURCE_DIR}/build/third-party/cudnn-frontend PATH_SUFFIXES include)
mark_as_advanced(CUDNN_FRONTEND_INCLUDE)

include(${CMAKE_CURRENT_LIST_DIR}/header_version.cmake)
if(CUDNN_FRONTEND_INCLUDE)
  header_version(cudnn_frontend_VERSION ${CUDNN_FRONTEND_INCLUDE}/cudnn_frontend_version.h
                 CUDNN_FRONTEND_MAJOR_VERSION CUDNN_FRONTEND_MINOR_VERSION CUDNN_FRONTEND_PATCH_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(cudnn_frontend REQUIRED_VARS CUDNN_FRONTEND_INCLUDE
  VERSION_VAR cudnn_frontend_VERSION
  REASON_FAILURE_MESSAGE "scripts/setup.sh --deps-only fetches it where nvcc is, CUDNN_FRONTEND_ROOT names it")
if(cudnn_frontend_FOUND AND NOT TARGET cudnn_frontend::cudnn_frontend)
  add_library(cudnn_frontend::cudnn_frontend INTERFACE IMPORTED)
  # No JSON: halves the time to compile. Loaded by name: the program starts where there is no cuDNN.
  set_target_properties(cudnn_frontend::cudnn_frontend PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${CUDNN_FRONTEND_INCLUDE}
    INTERFACE_COMPILE_DEFINITIONS "CUDNN_FRONTEND_SKIP_JSON_LIB;NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING")
endif()
