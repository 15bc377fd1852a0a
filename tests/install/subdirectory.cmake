include(${CMAKE_CURRENT_LIST_DIR}/tools.cmake)
build(${CMAKE_CURRENT_LIST_DIR}/subdirectory ${WORK_DIR}/subdirectory-build -DFULCRUM_DIR=${SOURCE_DIR})
