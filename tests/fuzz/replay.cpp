// The driver where there is no libFuzzer: gives every file of the folders to the target, once. One that is called good
// must be read, or the target would look at nothing but refusals.
//
//   fuzz_png tests/fuzz/corpus/png
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "fuzz.h"

int main(int argc, char** argv) {
  int files = 0;
  for (int i = 1; i < argc; i++)
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string bytes(std::istreambuf_iterator<char>(in), {});
      std::printf("%s\n", entry.path().c_str());
      const int before = fulcrum::fuzz::reads;
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      files++;
      if (entry.path().filename().string().starts_with("good") && fulcrum::fuzz::reads == before) {
        std::fprintf(stderr, "refused\n");
        return 1;
      }
    }
  if (files > 0) return 0;
  std::fprintf(stderr, "no files\n");
  return 1;
}
