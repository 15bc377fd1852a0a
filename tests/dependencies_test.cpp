// The rules of docs/design.md on who may include whom, read from the sources.
#include <fstream>
#include <regex>
#include <set>

#include "testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

struct Include {
  std::string file;    // "core/cpu/conv.cpp"
  std::string folder;  // "core"
  std::string header;  // what stands between the brackets or quotes
  bool quoted;
};

const std::vector<Include>& includes() {
  static const std::vector<Include> all = [] {
    const std::regex line_of(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"].*)");
    std::vector<Include> found;
    for (const char* folder : {"core", "layers", "optim", "data", "apps"}) {
      for (const auto& entry : fs::recursive_directory_iterator(source_path(folder))) {
        const std::string extension = entry.path().extension();
        const std::set<std::string> sources{".h", ".cpp", ".inc", ".cu", ".cuh"};
        if (!sources.count(extension)) continue;
        std::ifstream file(entry.path());
        std::smatch match;
        for (std::string line; std::getline(file, line);)
          if (std::regex_match(line, match, line_of))
            found.push_back(
                {entry.path().lexically_relative(source_path("")).string(), folder, match[2], match[1] == "\""});
      }
    }
    return found;
  }();
  return all;
}

bool is_header(const std::string& file) { return file.ends_with(".h") || file.ends_with(".inc"); }

TEST(Dependencies, TheSourcesAreFound) {
  std::set<std::string> folders;
  for (const Include& i : includes()) folders.insert(i.folder);
  EXPECT_EQ(folders, (std::set<std::string>{"core", "layers", "optim", "data", "apps"}));
  EXPECT_GT(includes().size(), 100u);
}

// apps → {data, optim, layers} → core; the middle three never include each other.
TEST(Dependencies, PointOneWay) {
  const std::map<std::string, std::set<std::string>> allowed{{"core", {"core"}},
                                                             {"layers", {"layers", "core"}},
                                                             {"optim", {"optim", "core"}},
                                                             {"data", {"data", "core"}},
                                                             {"apps", {"apps", "data", "optim", "layers", "core"}}};
  const std::string prefix = "fulcrum/";
  for (const Include& i : includes()) {
    if (!i.header.starts_with(prefix)) continue;
    const std::string rest = i.header.substr(prefix.size());
    const std::string target = rest.substr(0, rest.find('/'));
    EXPECT_TRUE(allowed.at(i.folder).count(target)) << i.file << " includes " << i.header;
  }
}

TEST(Dependencies, OwnHeadersAreNamedAsUsersNameThem) {
  for (const Include& i : includes())
    if (i.folder != "apps") {
      EXPECT_FALSE(i.quoted && !i.header.ends_with(".inc")) << i.file << " includes \"" << i.header << "\"";
    }
}

TEST(Dependencies, HeadersDoNotShowTheLibrariesBehindThem) {
  const std::regex hidden("(cuda|cudnn|cublas|nccl|mpi|Eigen|dnnl|oneapi)[^/]*[./].*");
  for (const Include& i : includes())
    if (is_header(i.file) && !i.file.starts_with("core/cuda/")) {
      EXPECT_FALSE(std::regex_match(i.header, hidden)) << i.file << " includes " << i.header;
    }
}

TEST(Dependencies, EachLibraryHasItsPlace) {
  for (const Include& i : includes()) {
    if (i.header.starts_with("oneapi/") || i.header.starts_with("dnnl")) {
      EXPECT_EQ(i.file, "core/cpu/onednn.cpp");
    }
    if (i.header.starts_with("cudnn_frontend")) {
      EXPECT_EQ(i.file, "core/cuda/conv_graph.h");
    }
    if (i.header == "fulcrum/core/cuda/conv_graph.h") {
      EXPECT_EQ(i.file, "core/cuda/cudnn.cpp");
    }
    if (i.header == "mpi.h") {
      EXPECT_EQ(i.file, "core/mpi/communicator.cpp");
    }
    if (i.header.starts_with("Eigen/")) {
      EXPECT_TRUE(i.file.starts_with("core/cpu/")) << i.file;
    }
  }
}

// A kernel never sees the tape, an operation never sees a back-end.
TEST(Dependencies, KernelsAndTheTapeDoNotKnowEachOther) {
  for (const Include& i : includes()) {
    const bool kernel = i.file.starts_with("core/cpu/") || i.file.starts_with("core/cuda/");
    if (kernel) {
      EXPECT_NE(i.header, "fulcrum/core/autograd.h") << i.file;
      EXPECT_NE(i.header, "fulcrum/core/ops.h") << i.file;
    } else {
      // The runtime names no toolkit: devices, streams, memory.
      EXPECT_FALSE(i.header.starts_with("fulcrum/core/cpu/") ||
                   (i.header.starts_with("fulcrum/core/cuda/") && i.header != "fulcrum/core/cuda/runtime.h"))
          << i.file << " includes " << i.header;
    }
  }
}

// Optimisers and risks run what the back-ends offer; they hold no device code of their own.
TEST(Dependencies, OptimHasNoThreads) {
  for (const Include& i : includes())
    if (i.folder == "optim") {
      EXPECT_NE(i.header, "omp.h") << i.file;
    }
}

}  // namespace
}  // namespace fulcrum::testing
