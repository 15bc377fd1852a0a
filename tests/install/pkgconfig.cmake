# Compiles a program against the installed copy with what pkg-config says, and runs it.
include(${CMAKE_CURRENT_LIST_DIR}/tools.cmake)
set(source ${WORK_DIR}/pkgconfig.cpp)
file(WRITE ${source} "#include <fulcrum/core/ops.h>\n#include <fulcrum/data/idx.h>\n#include <fulcrum/layers/resnet.h>\n"
  "#include <fulcrum/optim/optimizer.h>\n"
  "int main() {\n  fulcrum::Resnet net(8, {.classes = 2, .channels = 1});\n"
  "  fulcrum::Sgd sgd(net.parameters(), {.lr = 0.1});\n"
  "  try { fulcrum::load_idx_labels(\"nothing\"); } catch (const fulcrum::Error&) { return 0; }\n  return 1;\n}\n")
file(GLOB_RECURSE pc ${WORK_DIR}/prefix/*/fulcrum.pc)
get_filename_component(folder "${pc}" DIRECTORY)
run(${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${folder} ${PKG_CONFIG} --cflags --libs fulcrum)
separate_arguments(flags UNIX_COMMAND "${output}")
run(${COMPILER} ${source} -o ${WORK_DIR}/pkgconfig ${flags})
run(${WORK_DIR}/pkgconfig)
run(${CMAKE_COMMAND} -E env PKG_CONFIG_PATH=${folder} ${PKG_CONFIG} --exact-version=${VERSION} fulcrum)
