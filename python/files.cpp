// Tensors on disk, as safetensors.
#include "bindings.h"

#include <fulcrum/core/serialize.h>

namespace fulcrum::python {

void bind_files(nb::module_& m) {
  m.def(
      "save_file",
      [](const TensorMap& tensors, const std::filesystem::path& path,
         const std::map<std::string, std::string>& metadata) {
        save_tensors(path, {tensors, metadata});
      },
      "tensors"_a, "path"_a, "metadata"_a = std::map<std::string, std::string>(), Unlocked(),
      "Writes tensors by name as a safetensors file, entirely or not at all: on any failure an existing file is "
      "unchanged.");
  m.def(
      "load_file", [](const std::filesystem::path& path) { return load_tensors(path).tensors; }, "path"_a, Unlocked(),
      "The tensors of a safetensors file by name, on the CPU. The header is checked before any data is read.");
  m.def(
      "load_metadata", [](const std::filesystem::path& path) { return read_tensor_index(path).metadata; }, "path"_a,
      Unlocked(), "The metadata of a safetensors file; only its header is read.");
}

}  // namespace fulcrum::python
