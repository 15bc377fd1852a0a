// fulcrum doctor, info, completion and man: what the program says about the machine and itself.
#include <fulcrum/core/cuda/runtime.h>

#include "program_testing.h"

namespace fulcrum::testing {
namespace {

json doctor(const Flags& environment, int code) {
  const Outcome got = run_program({"doctor", "--json"}, {}, environment);
  EXPECT_EQ(got.code, code) << got.out << got.err;
  return json::parse(got.out);
}

json check_named(const json& report, const std::string& name) {
  for (const json& c : report["checks"])
    if (c["name"] == name) return c;
  ADD_FAILURE() << "no check " << name << " in " << report;
  return {};
}

TEST(Doctor, EveryLineIsOkOrHasACure) {
  const json report = doctor({}, 0);
  EXPECT_TRUE(report["ok"].get<bool>());
  for (const char* name :
       {"build", "compiler", "cmake", "cpu", "oneDNN", "threads", "memory", "disk", "data", "images", "cuda"})
    check_named(report, name);
  for (const json& c : report["checks"]) {
    EXPECT_NE(c["found"], "");
    EXPECT_EQ(c["state"] == "ok", c["cure"] == "") << c;
  }
  const Outcome text = run_program({"doctor"});
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("ok      build"), std::string::npos) << text.out;
}

TEST(Doctor, FailsWhereTheEnvironmentAsksForWhatIsNotThere) {
  const json data = doctor({"FULCRUM_DATA_DIR=/nowhere"}, 1);
  EXPECT_FALSE(data["ok"].get<bool>());
  EXPECT_EQ(check_named(data, "data")["state"], "missing");
  EXPECT_EQ(check_named(data, "data")["found"], "FULCRUM_DATA_DIR = /nowhere, which is no folder");
  if (cuda::device_count() > 0) return;
  EXPECT_EQ(check_named(doctor({"FULCRUM_DEVICE=cuda"}, 1), "cuda")["state"], "missing");
}

TEST(Doctor, ToolsThatOnlyBuildingNeedsBreakNothing) {
  const std::string path = std::getenv("PATH");
  setenv("PATH", "/nowhere", 1);
  const Outcome got = run_program({"doctor", "--json"});
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(got.err, "");  // the shell's own complaints that there is no such program
  EXPECT_EQ(check_named(json::parse(got.out), "cmake")["state"], "missing");
}

// torchvision's documentation: 25,557,032 parameters, 4.09 GFLOPS (multiply-adds) at 224.
TEST(Info, LayersOfAModelAsJson) {
  const Outcome got = run_program({"info", "--model", "resnet50", "--json"});
  ASSERT_EQ(got.code, 0) << got.err;
  const json m = json::parse(got.out);
  EXPECT_EQ(m["image"], json({224, 224, 3}));
  EXPECT_EQ(m["parameters"], 25'557'032);
  EXPECT_NEAR(m["multiply_adds"].get<double>() * 1e-9, 4.09, 0.005);
  EXPECT_EQ(m["flop"], 2 * m["multiply_adds"].get<int64_t>());
  int64_t parameters = 0;
  for (const json& layer : m["layers"]) parameters += layer["parameters"].get<int64_t>();
  EXPECT_EQ(parameters, m["parameters"]);
  EXPECT_EQ(m["layers"][0]["output"], json({1, 112, 112, 64}));
  EXPECT_EQ(json::parse(run_program({"info", "--model", "resnet32", "--json"}).out)["image"], json({32, 32, 3}));
}

// By hand for ResNet-8 at 32×32: the image 3·1024; conv1, bn1 and layer1's two convolutions and norms
// 6·16·1024; layer2 4·32·256; layer3 4·64·64; pool and fc 64 + 10 (pooled twice in shape, once in memory).
TEST(Info, CountsWhatTheBackwardPassNeeds) {
  const json m = json::parse(run_program({"info", "--model", "resnet8", "--json"}).out);
  EXPECT_EQ(m["saved_bytes"]["f32"], 4 * (3 * 1024 + 6 * 16 * 1024 + 4 * 32 * 256 + 4 * 64 * 64 + 64 + 10));
  EXPECT_EQ(m["saved_bytes"]["bf16"], m["saved_bytes"]["f32"].get<int64_t>() / 2);
  // ResNet-10 at 32×32: stem at 16×16, whose norm's result the pool frees, and that pool's 8×8 with a winner of 4 bytes
  // each; four blocks, of which three have a shortcut, whose convolution is kept and whose norm is not.
  const json deep = json::parse(run_program({"info", "--model", "resnet10", "--image-size", "32", "--json"}).out);
  const int64_t stem = 64 * 256 + 64 * 64, blocks = 4 * 64 * 64 + 5 * (128 * 16 + 256 * 4 + 512);
  EXPECT_EQ(deep["saved_bytes"]["f32"], 4 * (3 * 1024 + stem + blocks + 512 + 1000) + 4 * 64 * 64);
}

// ---- completion and man: what they say is what --help says ----

// Long flags of a command in its help.
std::vector<std::string> flags_of(const std::string& command) {
  std::istringstream help(run_program({command, "--help"}).out);
  std::vector<std::string> flags;
  for (std::string line; std::getline(help, line);) {
    const size_t at = line.find("--");
    if (!line.starts_with("  ") || line.size() < 3 || line[2] != '-' || at == std::string::npos || at > 12) continue;
    flags.push_back(line.substr(at, line.find_first_of(" ,", at) - at));
  }
  return flags;
}

TEST(Completion, KnowsEveryFlagOfEveryShell) {
  const std::vector<std::string> train = flags_of("train");
  ASSERT_GT(train.size(), 30u);
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome got = run_program({"completion", shell});
    ASSERT_EQ(got.code, 0) << got.err;
    for (const std::string& flag : train) {
      const std::string name = shell == std::string("fish") ? "-l " + flag.substr(2) : flag;
      EXPECT_NE(got.out.find(name), std::string::npos) << shell << " lacks " << flag;
    }
    for (const char* part : {"predict", "cifar10-lt", "resnext50_32x4d"})
      EXPECT_NE(got.out.find(part), std::string::npos) << part;
  }
  expect_refused(run_program({"completion", "tcsh"}), 2, {"tcsh"});
}

// The shells read what is written for them.
TEST(Completion, ScriptsAreValid) {
  const TempDir dir;
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    if (std::system(("command -v " + shell + " >/dev/null").c_str()) != 0) continue;
    write_text(dir / shell, run_program({"completion", shell}).out);
    EXPECT_EQ(std::system((shell + " -n " + (dir / shell).string()).c_str()), 0) << shell;
  }
}

TEST(Completion, BashCompletesCommandsFlagsAndValues) {
  const TempDir dir;
  write_text(dir / "script", run_program({"completion", "bash"}).out);
  const auto complete = [&](const std::string& words, int count) {
    const std::string command = "bash -c 'source " + (dir / "script").string() + "; COMP_WORDS=(" + words +
                                "); COMP_CWORD=" + std::to_string(count) + "; _fulcrum; echo \"${COMPREPLY[*]}\"' > " +
                                (dir / "out").string();
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return read_text(dir / "out");
  };
  EXPECT_EQ(complete("fulcrum pre", 1), "predict\n");
  EXPECT_EQ(complete("fulcrum data pa", 2), "pack\n");
  EXPECT_EQ(complete("fulcrum data pack --thr", 3), "--threads\n");
  EXPECT_EQ(complete("fulcrum train --model resnet1", 3), "resnet110 resnet10 resnet18 resnet101 resnet152\n");
  EXPECT_EQ(complete("fulcrum predict run --format c", 4), "csv\n");
  EXPECT_EQ(complete("fulcrum eval run", 2), "\n") << "files are left to the shell";
}

TEST(Man, HasEveryCommandAndSetting) {
  const Outcome got = run_program({"man"});
  ASSERT_EQ(got.code, 0) << got.err;
  EXPECT_EQ(got.out.find(".TH FULCRUM 1"), 0u);
  for (const char* part : {".SS predict", ".SS data pack", "\\-\\-weight\\-decay", ".SH EXIT STATUS", ".SH SETTINGS"})
    EXPECT_NE(got.out.find(part), std::string::npos) << part;
  // Settings once.
  const size_t first = got.out.find("\\-\\-weight\\-decay");
  EXPECT_EQ(got.out.find("\\-\\-weight\\-decay", first + 1), std::string::npos);
  if (std::system("command -v mandoc >/dev/null") != 0) GTEST_SKIP() << "no mandoc to read it";
  const TempDir dir;
  write_text(dir / "fulcrum.1", got.out);
  const std::string page = (dir / "fulcrum.1").string();
  EXPECT_EQ(std::system(("mandoc -T lint -W error " + page).c_str()), 0);
}

}  // namespace
}  // namespace fulcrum::testing
