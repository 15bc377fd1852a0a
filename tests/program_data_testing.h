// Folders of small images, for tests of the program.
#pragma once

#include "image_testing.h"
#include "program_testing.h"

namespace fulcrum::testing {

namespace fs = std::filesystem;

class ProgramData : public ::testing::Test {
 protected:
  void SetUp() override {
#ifndef FULCRUM_WITH_PNG
    GTEST_SKIP() << "a build without libpng";
#endif
    add_images("train", 24);
    add_images("test", 6);
  }
  /// n images 12x12 of each of two classes.
  void add_images(const std::string& part, uint64_t n) {
    for (const char* name : {"cat", "dog"})
      for (uint64_t i = 0; i < n; i++)
        write_image(fmt_path(part, name, i), 12, 2 * (part.size() * 100 + i) + (*name == 'd'));
  }
  static std::string fmt_path(const std::string& part, const std::string& name, uint64_t i) {
    return concat_text(part, "/", name, "/", 100 + i, ".png");
  }
  void write_image(const std::string& path, int64_t side, uint64_t seed) {
    const Bytes file = png_file(image_of(side, side, seed));
    write_text(root() / path, {file.begin(), file.end()});
  }
  fs::path root() const { return dir_ / "images"; }
  Flags on_folder(const Flags& more = {}) const {
    return merged({"--dataset", "folder", "--data-dir", root().string()}, more);
  }
  static Outcome data(const std::string& what, const Flags& flags) {
    Flags words = {"data", what};
    words.insert(words.end(), flags.begin(), flags.end());
    return run_program(words);
  }
  Outcome train(const std::string& run, const Flags& flags) const { return run_program(train_flags(dir_, run, flags)); }
  static json last_line(const std::string& out) { return json::parse(out.substr(out.rfind('\n', out.size() - 2) + 1)); }

  TempDir dir_;
};

}  // namespace fulcrum::testing
