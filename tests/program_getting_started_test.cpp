// docs/getting-started.md does what it says: the commands of "Your own images" as they stand there,
// on small photographs; those of "Train" on a tiny data set, cut short.
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

// Expects the command to end well in the folder; `environment` is "NAME=value …".
void expect_works(const fs::path& folder, const std::string& environment, const std::string& command) {
  const std::string log = (folder / "log").string();
  const std::string line = "cd " + folder.string() + " && " + environment + " " + command;
  const int status = std::system((line + " >" + log + " 2>&1").c_str());
  EXPECT_EQ(status, 0) << command << "\n" << read_text(log);
}

void link_program(const fs::path& folder) {
  fs::create_directory(folder / "build");
  fs::create_symlink(FULCRUM_PROGRAM, folder / "build/fulcrum");
}

std::string page() { return read_text(fs::path(FULCRUM_SOURCE_DIR) / "docs/getting-started.md"); }

TEST(GettingStartedPage, TheFirstRun) {
  const TempDir dir;
  write_data(dir / "data");
  link_program(dir.path());
  const Section train = section_of(page(), "Train");
  ASSERT_EQ(train.commands.size(), 3u);
  const std::string environment = "FULCRUM_THREADS=1 FULCRUM_DATA_DIR=" + (dir / "data").string();
  expect_works(dir.path(), environment, train.commands[0] + " --epochs 1 --set data.n_max=30");
  expect_works(dir.path(), environment, train.commands[1]);
  expect_works(dir.path(), environment, train.commands[2] + " --seconds 0.1");
}

TEST(GettingStartedPage, OwnImages) {
#ifndef FULCRUM_WITH_PNG
  GTEST_SKIP() << "this build reads no PNG";
#endif
  const TempDir dir;
  write_photos(dir / "photos");
  link_program(dir.path());
  const Section own = section_of(page(), "Your own images");
  write_text(dir / "photos.toml", own.files.at("toml"));
  ASSERT_EQ(own.commands.size(), 8u);
  for (const std::string& command : own.commands) expect_works(dir.path(), "FULCRUM_THREADS=1", command);
  EXPECT_TRUE(fs::is_regular_file(dir / "runs/photos/report.html"));
  EXPECT_TRUE(fs::is_regular_file(dir / "comparison.html"));
}

}  // namespace
}  // namespace fulcrum::testing
