include(${CMAKE_CURRENT_LIST_DIR}/tools.cmake)
build(${CMAKE_CURRENT_LIST_DIR}/headers ${WORK_DIR}/headers-build -DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix)
