// The table of docs/errors.md, run as it stands: message and exit code of every command in it.
#include <set>

#include "image_testing.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

struct Row {
  std::string command, message;
  int code;
};

// Between the first and the last backtick of a cell.
std::string code_of(const std::string& cell) {
  const size_t open = cell.find('`'), close = cell.rfind('`');
  return open == std::string::npos || close == open ? "" : cell.substr(open + 1, close - open - 1);
}

std::vector<Row> table() {
  std::ifstream page(source_path("docs/errors.md"));
  std::vector<Row> rows;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    for (size_t at = 1; at < line.size();) {
      const size_t end = line.find(" |", at);
      if (end == std::string::npos) break;
      cells.push_back(line.substr(at, end - at));
      at = end + 2;
    }
    EXPECT_EQ(cells.size(), 4u) << line;
    if (cells.size() != 4) continue;
    EXPECT_GT(cells[3].size(), 3u) << "a cure in: " << line;
    rows.push_back({code_of(cells[0]), code_of(cells[2]), std::stoi(cells[1])});
  }
  return rows;
}

// Whether the parts between "…" stand in the text, in this order.
bool matches(const std::string& text, const std::string& pattern) {
  const std::string any = "…";
  size_t at = 0;
  for (size_t begin = 0; begin <= pattern.size();) {
    const size_t end = std::min(pattern.find(any, begin), pattern.size());
    std::string part = pattern.substr(begin, end - begin);
    while (part.starts_with(' ')) part.erase(0, 1);
    while (part.ends_with(' ')) part.pop_back();
    const size_t found = text.find(part, at);
    if (found == std::string::npos) return false;
    at = found + part.size();
    begin = end + any.size();
  }
  return true;
}

// The folder in which the commands run: what the page says of it.
class ErrorIndex : public ::testing::Test {
 protected:
  void SetUp() override {
    write_data(dir_ / "data");
    add_images();
    fs::create_directory(dir_ / "empty");
    const Outcome run = run_program(train_flags(dir_, "runs/first", {"-b", "160"}));
    ASSERT_EQ(run.code, 0) << run.err;
    add_bad_data();
    add_bad_files();
  }
  fs::path at(const std::string& name) const { return dir_ / name; }
  void image(const std::string& name, int64_t side = 12) const {
    const Bytes file = png_file(image_of(side, side, std::hash<std::string>()(name)));
    write_text(at(name), {file.begin(), file.end()});
  }
  void add_images() const {
    for (const char* part : {"train", "test"})
      for (const char* name : {"cat", "dog"})
        for (int i = 0; i < 6; i++) image(concat_text("images/", part, "/", name, "/", 100 + i, ".png"));
  }
  // A copy of the data set with one file changed.
  void spoil(const std::string& name, const std::string& file,
             const std::function<std::string(std::string)>& change) const {
    fs::create_directories(at("bad"));
    fs::copy(at("data"), at("bad/" + name));
    write_text(at("bad/" + name + "/" + file), change(read_text(at("data/" + file))));
  }
  void add_bad_data() const {
    const std::string images = "train-images-idx3-ubyte", labels = "t10k-labels-idx1-ubyte";
    spoil("truncated", images, [](const std::string& t) { return t.substr(0, t.size() - 1); });
    spoil("magic", images, [](const std::string& t) { return "\1" + t.substr(1); });
    spoil("label", labels, [](const std::string& t) { return t.substr(0, t.size() - 1) + "\x0a"; });
    spoil("part", labels, [](const std::string& t) { return t; });
    fs::remove(at("bad/part/" + labels));
    for (const char* name : {"sizes", "classes", "corrupt"})
      fs::copy(at("images"), at("bad") / name, fs::copy_options::recursive);
    image("bad/sizes/train/cat/100.png", 13);
    fs::remove_all(at("bad/classes/test/dog"));
  }
  void add_bad_files() const {
    const std::string cut = read_text(at("images/test/cat/100.png")).substr(0, 200);
    const std::string last = read_text(at("runs/first/last.safetensors"));
    std::string flipped = last;
    flipped[last.size() - 9] = static_cast<char>(flipped[last.size() - 9] ^ 1);
    const std::pair<const char*, std::string> files[] = {{"corrupt/train/cat/103.png", cut},
                                                         {"cut.png", cut},
                                                         {"text.png", "this is no image"},
                                                         {"key.toml", "[optim]\nrl = 0.1\n"},
                                                         {"type.toml", "[train]\nepochs = \"many\"\n"},
                                                         {"syntax.toml", "[train\n"},
                                                         {"section.toml", "[trian]\nepochs = 1\n"},
                                                         {"label.txt", "train/cat/100.png one\n"},
                                                         {"below.txt", "train/cat/100.png -1\ntrain/dog/100.png 1\n"},
                                                         {"good.txt", "train/cat/100.png 0\ntrain/dog/100.png 1\n"},
                                                         {"gap.txt", "train/cat/100.png 0\ntrain/dog/100.png 2\n"},
                                                         {"name.txt", "cat\n"},
                                                         {"names.txt", "cat\neel\ndog\n"},
                                                         {"matrix.txt", "0.5 0.5\n0.5 0.5\n"},
                                                         {"empty.safetensors", ""},
                                                         {"text.safetensors", "these are no tensors"},
                                                         {"cut.safetensors", last.substr(0, last.size() / 2)},
                                                         {"flipped.safetensors", flipped}};
    for (const auto& [name, content] : files) write_text(at("bad") / name, content);
  }
  // A command of the page, through the shell.
  Outcome shell(const std::string& command) const {
    const std::string program = fs::path(FULCRUM_PROGRAM).parent_path().string();
    const std::string line =
        "cd '" + dir_.path().string() + "' && unset FULCRUM_DEVICE FULCRUM_OUTPUT FULCRUM_THREADS && PATH='" + program +
        "':$PATH FULCRUM_DATA_DIR=data && export PATH FULCRUM_DATA_DIR && (" + command + ") >out.txt 2>err.txt";
    const int status = std::system(line.c_str());
    return {WEXITSTATUS(status), read_text(at("out.txt")), read_text(at("err.txt"))};
  }

  TempDir dir_;
};

TEST_F(ErrorIndex, EveryRowIsTrue) {
  const std::vector<Row> rows = table();
  EXPECT_GE(rows.size(), 50u);
  std::set<std::string> seen;
  for (const Row& row : rows) {
    EXPECT_TRUE(seen.insert(row.command).second) << "twice: " << row.command;
#ifndef FULCRUM_WITH_PNG
    if (row.command.find("images") != std::string::npos || row.command.find("bad/") != std::string::npos) continue;
#endif
    const Outcome got = shell(row.command);
    EXPECT_EQ(got.code, row.code) << row.command << "\n" << got.err;
    EXPECT_EQ(got.out, "") << row.command;
    EXPECT_NE(got.err.find("error: "), std::string::npos) << row.command << "\n" << got.err;
    EXPECT_TRUE(matches(got.err, row.message)) << row.command << "\nexpected: " << row.message << "\ngot: " << got.err;
  }
}

}  // namespace
}  // namespace fulcrum::testing
