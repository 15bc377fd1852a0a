// docs/getting-started.md does what it says: the commands of "Your own images" as they stand there,
// on small photographs.
#include <map>
#include <sstream>

#include "image_testing.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

struct Section {
  Flags commands;                            // indented lines that run the program
  std::map<std::string, std::string> files;  // "toml" → the fenced block
};

Section section_of(const std::string& page, const std::string& title) {
  const size_t begin = page.find("\n## " + title + "\n");
  check(begin != std::string::npos, "docs/getting-started.md has no section ", title);
  std::istringstream lines(page.substr(begin + 1, page.find("\n## ", begin + 1) - begin));
  Section section;
  std::string* fenced = nullptr;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      fenced = fenced ? nullptr : &section.files[line.substr(3)];
    } else if (fenced) {
      *fenced += line + "\n";
    } else if (line.starts_with("    build/fulcrum ")) {
      section.commands.push_back(line.substr(4));
    }
  }
  return section;
}

// Small and few: what is tested is that the commands work.
void write_photos(const fs::path& dir) {
  for (const char* part : {"train", "test"})
    for (const char* name : {"cat", "dog"})
      for (int i = 0; i < 6; i++) {
        const Bytes png = png_file(image_of(40, 48, static_cast<uint64_t>(i + (name[0] == 'c' ? 0 : 100))));
        write_text(dir / part / name / (std::to_string(i) + ".png"), {png.begin(), png.end()});
      }
}

TEST(GettingStartedPage, ItsCommandsWorkAsTheyStand) {
#ifndef FULCRUM_WITH_PNG
  GTEST_SKIP() << "this build reads no PNG";
#endif
  const std::string page = read_text(fs::path(FULCRUM_SOURCE_DIR) / "docs/getting-started.md");
  const TempDir dir;
  write_photos(dir / "photos");
  fs::create_directory(dir / "build");
  fs::create_symlink(FULCRUM_PROGRAM, dir / "build/fulcrum");
  const Section own = section_of(page, "Your own images");
  write_text(dir / "photos.toml", own.files.at("toml"));
  ASSERT_EQ(own.commands.size(), 8u);
  for (const std::string& command : own.commands) {
    const std::string log = (dir / "log").string();
    const int status = std::system(("cd " + dir.path().string() + " && FULCRUM_THREADS=1 " +
                                    command + " >log 2>&1").c_str());
    EXPECT_EQ(status, 0) << command << "\n" << read_text(log);
  }
  EXPECT_TRUE(fs::is_regular_file(dir / "runs/photos/report.html"));
  EXPECT_TRUE(fs::is_regular_file(dir / "comparison.html"));
}

}  // namespace
}  // namespace fulcrum::testing
