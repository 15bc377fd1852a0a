# The sources of the CUDA back-end that call libraries. The one that includes cuDNN's headers is a target of its own:
# warnings in them are not ours to fix, and optimising their templates only costs time.
add_library(fulcrum_cudnn OBJECT ${CMAKE_CURRENT_LIST_DIR}/cudnn.cpp)
target_link_libraries(fulcrum_cudnn PRIVATE CUDNN::cudnn cudnn_frontend::cudnn_frontend CUDA::cudart)
target_include_directories(fulcrum_cudnn PRIVATE ${PROJECT_BINARY_DIR}/include)
target_compile_definitions(fulcrum_cudnn PRIVATE FULCRUM_WITH_CUDA FULCRUM_CUDA_MAJOR=${CUDAToolkit_VERSION_MAJOR})
target_compile_features(fulcrum_cudnn PRIVATE cxx_std_20)
fulcrum_options(fulcrum_cudnn)
target_compile_options(fulcrum_cudnn PRIVATE -O1)

target_sources(fulcrum_core PRIVATE cuda/conv.cpp cuda/conv_names.cpp cuda/conv_trial.cpp cuda/gemm.cpp cuda/cublas.cpp cuda/cublas_library.cpp
                                    cuda/library.cpp cuda/runtime.cpp $<TARGET_OBJECTS:fulcrum_cudnn>)
if(NCCL_FOUND)
  target_sources(fulcrum_core PRIVATE cuda/nccl.cpp)
  set_source_files_properties(cuda/nccl.cpp PROPERTIES INCLUDE_DIRECTORIES ${NCCL_INCLUDE}
                              COMPILE_DEFINITIONS "FULCRUM_NCCL_FOLDER=\"${NCCL_FOLDER}\"")
else()
  target_sources(fulcrum_core PRIVATE cuda/nccl_absent.cpp)
endif()
get_filename_component(cublas_folder ${CUDA_cublasLt_LIBRARY} DIRECTORY)
set_source_files_properties(cuda/cublas_library.cpp PROPERTIES COMPILE_DEFINITIONS FULCRUM_CUBLAS_FOLDER="${cublas_folder}")
target_compile_definitions(fulcrum_core PUBLIC FULCRUM_WITH_CUDA)
target_link_libraries(fulcrum_core PRIVATE CUDA::cudart ${CMAKE_DL_LIBS})
