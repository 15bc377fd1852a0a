# cmake --install BUILD --prefix P: libraries, public headers, fulcrumConfig.cmake, program, documents.
# Nothing installed names the source or the build tree, and P may be moved afterwards.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fulcrum)

install(TARGETS fulcrum_all fulcrum_core fulcrum_layers fulcrum_optim fulcrum_data EXPORT fulcrumTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
set_target_properties(fulcrum_all PROPERTIES EXPORT_NAME fulcrum)
install(EXPORT fulcrumTargets NAMESPACE fulcrum:: DESTINATION ${config_dir})

# Every header next to a folder's sources is public, but for those that its target calls private;
# core/cpu and core/cuda are the insides of back-ends, but for the runtime that kernels.h speaks to.
foreach(folder core layers optim data)
  file(GLOB headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.h ${PROJECT_SOURCE_DIR}/${folder}/*.inc)
  get_target_property(private fulcrum_${folder} FULCRUM_PRIVATE_HEADERS)
  foreach(header ${private})
    if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${folder}/${header})
      message(FATAL_ERROR "${folder}/CMakeLists.txt: there is no private header ${header}")
    endif()
    list(REMOVE_ITEM headers ${PROJECT_SOURCE_DIR}/${folder}/${header})
  endforeach()
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fulcrum/${folder})
endforeach()

install(FILES ${PROJECT_SOURCE_DIR}/core/cuda/runtime.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fulcrum/core/cuda)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/fulcrumConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/cmake/fulcrumConfig.cmake INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/fulcrumConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)  # below 1.0 a minor version may break
install(FILES ${PROJECT_BINARY_DIR}/cmake/fulcrumConfig.cmake ${PROJECT_BINARY_DIR}/cmake/fulcrumConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/FindoneDNN.cmake DESTINATION ${config_dir})

if(FULCRUM_APPS)
  # Libraries outside of the system's folders are found where they were found.
  file(RELATIVE_PATH libraries /p/${CMAKE_INSTALL_BINDIR} /p/${CMAKE_INSTALL_LIBDIR})
  set_target_properties(fulcrum PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON INSTALL_RPATH "$ORIGIN/${libraries}")
  install(TARGETS fulcrum RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION ${CMAKE_INSTALL_DOCDIR})

# pkg-config: static libraries leave linking to their user, so what they link to stands in Libs. Not in a
# build with CUDA, whose libraries find_package(CUDAToolkit) names.
if(NOT FULCRUM_CUDA)
  set(FULCRUM_PC_LIBS " ${OpenMP_CXX_FLAGS} -pthread")
  foreach(pair ONEDNN:dnnl ZLIB:z JPEG:jpeg PNG:png MPI:mpi)
    string(REPLACE ":" ";" pair ${pair})
    list(GET pair 0 option)
    list(GET pair 1 library)
    if(FULCRUM_${option})
      string(APPEND FULCRUM_PC_LIBS " -l${library}")
    endif()
  endforeach()
  set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  file(RELATIVE_PATH FULCRUM_PC_ROOT /p/${pc_dir} /p)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/fulcrum.pc.in ${PROJECT_BINARY_DIR}/cmake/fulcrum.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/fulcrum.pc DESTINATION ${pc_dir})
endif()

# cpack -G DEB in the build folder: the program, the libraries and the headers in one Debian package.
# scripts/package.sh makes the one that runs on other machines than this.
if(PROJECT_IS_TOP_LEVEL)
  set(CPACK_PACKAGE_CONTACT "Fulcrum's developers <fulcrum@localhost>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
  set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION science)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  # Whoever links to the libraries needs the headers' libraries, too.
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS "g++, cmake, libdnnl-dev, zlib1g-dev, libjpeg-dev, libpng-dev")
  set(CPACK_STRIP_FILES ON)
  include(CPack)
endif()
