# fulcrum_library(core SOURCES … LINKS … PRIVATE_HEADERS …): a folder is a target, linked to what the
# folder may use. Private headers are not installed. Shared libraries export what is Fulcrum's alone.

include(GNUInstallDirs)

# <fulcrum/core/tensor.h> is the same path in the tree and after installation.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include/fulcrum)
foreach(folder core layers optim data)
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${PROJECT_BINARY_DIR}/include/fulcrum/${folder} SYMBOLIC)
endforeach()

if(NOT FULCRUM_SANITIZE MATCHES "^(ON|OFF|TRUE|FALSE|YES|NO|1|0|thread)$")
  message(FATAL_ERROR "FULCRUM_SANITIZE: expected ON, OFF or thread, got '${FULCRUM_SANITIZE}'")
endif()

function(fulcrum_options target)
  set(options -Wall -Wextra -Wconversion)
  if(FULCRUM_WERROR)
    list(APPEND options -Werror)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # False alarms: GCC bug 105651 in std::string's operator+, 105593 in its own AVX-512 headers.
    list(APPEND options -Wno-restrict -Wno-maybe-uninitialized)
  endif()
  if(FULCRUM_CPU_ARCH)
    list(APPEND options -march=${FULCRUM_CPU_ARCH})
  endif()
  # nvcc has its own words; device code calls constexpr functions of the standard library.
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${options}>"
                                           "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>")
  if(FULCRUM_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    target_link_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
  endif()
  if(FULCRUM_SANITIZE STREQUAL "thread")
    target_compile_options(${target} PRIVATE -fsanitize=thread -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=thread)
  elseif(FULCRUM_SANITIZE OR FULCRUM_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=undefined
                                             -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

function(fulcrum_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS;PRIVATE_HEADERS" ${ARGN})
  add_library(fulcrum_${name} ${ARG_SOURCES})
  add_library(fulcrum::${name} ALIAS fulcrum_${name})
  target_link_libraries(fulcrum_${name} PUBLIC ${ARG_LINKS})
  target_include_directories(fulcrum_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
                                                    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(fulcrum_${name} PUBLIC cxx_std_20)
  set_target_properties(fulcrum_${name} PROPERTIES EXPORT_NAME ${name} FULCRUM_PRIVATE_HEADERS "${ARG_PRIVATE_HEADERS}")
  fulcrum_options(fulcrum_${name})
  if(BUILD_SHARED_LIBS)
    fulcrum_shared(fulcrum_${name})
  endif()
endfunction()

function(fulcrum_shared target)
  set(exported ${PROJECT_SOURCE_DIR}/cmake/exported.map)
  target_link_options(${target} PRIVATE LINKER:--version-script=${exported})
  # Below 1.0 a minor version may break.
  set_target_properties(${target} PROPERTIES VERSION ${PROJECT_VERSION} LINK_DEPENDS ${exported}
                                             SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endfunction()

# A second build of a shared library for a level of x86-64, where the dynamic loader looks for it before
# the plain one (glibc's ld.so(8), "glibc-hwcaps").
function(fulcrum_cpu_level target level)
  set(twin ${target}_${level})
  add_library(${twin} SHARED)
  foreach(property SOURCES COMPILE_DEFINITIONS COMPILE_OPTIONS COMPILE_FEATURES INCLUDE_DIRECTORIES LINK_LIBRARIES)
    get_target_property(value ${target} ${property})
    if(value)
      set_target_properties(${twin} PROPERTIES ${property} "${value}")
    endif()
  endforeach()
  target_compile_options(${twin} PRIVATE -march=${level})
  if(level STREQUAL "x86-64-v4")
    target_compile_options(${twin} PRIVATE -mavx512bf16)  # used where the processor has it (core/cpu/processor.h)
  endif()
  fulcrum_shared(${twin})
  set(folder glibc-hwcaps/${level})
  set_target_properties(${twin} PROPERTIES OUTPUT_NAME ${target}
                                           LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${folder})
  install(TARGETS ${twin} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/${folder} NAMELINK_SKIP)
endfunction()

# fulcrum_compiled_again(NAME SANITIZE address FOLDERS core … EXCEPT REGEX SOURCES …): a static library of the folders'
# sources, but for oneDNN's and those that match, and of others, with that sanitizer. Not fulcrum_options: the
# processor's own vectors are of no use there.
function(fulcrum_compiled_again name)
  cmake_parse_arguments(ARG "" "SANITIZE;EXCEPT" "FOLDERS;SOURCES" ${ARGN})
  foreach(folder ${ARG_FOLDERS})
    get_target_property(sources fulcrum_${folder} SOURCES)
    list(FILTER sources EXCLUDE REGEX "onednn.cpp$|TARGET_OBJECTS|${ARG_EXCEPT}")
    list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/${folder}/)
    list(APPEND ARG_SOURCES ${sources})
  endforeach()
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_BINARY_DIR}/include)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_compile_options(${name} PUBLIC -Wall -Wextra -Wconversion -Werror -Wno-restrict -Wno-maybe-uninitialized -g1
                                        -fsanitize=${ARG_SANITIZE} -fno-omit-frame-pointer PRIVATE -O1)
  target_link_options(${name} PUBLIC -fsanitize=${ARG_SANITIZE})
  target_link_libraries(${name} PUBLIC Eigen3::Eigen OpenMP::OpenMP_CXX Threads::Threads)
  foreach(codec ZLIB JPEG PNG)
    if(FULCRUM_${codec})
      target_compile_definitions(${name} PUBLIC FULCRUM_WITH_${codec})
      target_link_libraries(${name} PUBLIC ${codec}::${codec})
    endif()
  endforeach()
endfunction()
