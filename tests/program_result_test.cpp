// What a command found, on stdout: JSON to programs, text on a terminal.
#include <cstdio>

#include "apps/result.h"
#include "program_testing.h"

namespace fulcrum::testing {
namespace {

TEST(Result, IsAlignedText) {
  const json result = {{"top1", 0.62140000000000001},
                       {"images", 123456},
                       {"images_per_s", 83123.7},
                       {"ms", 9999.6},
                       {"few", nullptr},
                       {"auroc", std::nan("")},
                       {"onnx", "a \"model\".onnx"},
                       {"per_class", {1.0, 0.25, nullptr}},
                       {"spread", {{"mean", 0.5}, {"sd", 0.012345}}},
                       {"none", json::array()},
                       {"best", {{"epoch", 3}, {"a", 1}, {"b", 2}, {"c", 3}, {"top1", 2.0 / 3}}}};
  EXPECT_EQ(apps::readable_text(result), R"(auroc         -
best
  a      1
  b      2
  c      3
  epoch  3
  top1   0.6667
few           -
images        123456
images_per_s  83124
ms            10000
none          
onnx          a "model".onnx
per_class     1  0.25  -
spread        mean 0.5  sd 0.01235
top1          0.6214
)");
  std::vector<int> many(1000, 7);
  EXPECT_EQ(apps::readable_text({{"k", many}}), "k  7  7  7  7  7  7  7  7  7  7  … (1000 in all)\n");
}

// script(1) is where every terminal is: bsdutils is essential.
TEST(Result, IsJsonWhereStdoutIsNoTerminal) {
  if (std::system("command -v script >/dev/null") != 0) GTEST_SKIP() << "no script(1)";
  const TempDir dir;
  write_data(dir / "data");
  const std::string command = concat_text(FULCRUM_PROGRAM, " data stats --data-dir ", dir / "data");
  const Outcome piped = run_program({"data", "stats", "--data-dir", dir / "data"});
  ASSERT_EQ(piped.code, 0) << piped.err;
  EXPECT_EQ(json::parse(piped.out.substr(piped.out.rfind("\n{") + 1))["shape"].size(), 3u);
  const std::string record = concat_text("script -qec '", command, "' /dev/null </dev/null");
  FILE* terminal = popen(record.c_str(), "r");
  ASSERT_NE(terminal, nullptr);
  std::string text(1 << 16, '\0');
  text.resize(fread(text.data(), 1, text.size(), terminal));
  EXPECT_EQ(pclose(terminal), 0) << text;
  EXPECT_NE(text.find("\nclasses      "), std::string::npos) << text;
  EXPECT_EQ(text.find("{\""), std::string::npos) << text;
}

}  // namespace
}  // namespace fulcrum::testing
