// What the tests of data/ share: a directory that goes away, files of given bytes, Error texts.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fulcrum/core/check.h>
#include <fulcrum/data/dataset.h>
#include <fulcrum/data/image_dataset.h>

namespace fulcrum {

using Bytes = std::vector<uint8_t>;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "fulcrum-data-XXXXXX").string();
    check(mkdtemp(name.data()) != nullptr, "cannot make ", name);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, const Bytes& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream out(path_ / name, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path_ / name;
  }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    return write(name, Bytes(text.begin(), text.end()));
  }

 private:
  std::filesystem::path path_;
};

/// The text of the Error that f throws; a test failure where it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected an Error";
  return "";
}

/// Expects an Error whose text has every one of `parts`.
template <class F>
void expect_error(F&& f, const std::vector<std::string>& parts) {
  const std::string text = error_of(f);
  for (const std::string& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "expected '" << part << "' in: " << text;
}

/// n images [2, 3, 2], byte j of image i being (12·i + j) mod 256; labels i mod classes.
inline InMemoryDataset small_dataset(int64_t n, int64_t classes = 4) {
  Tensor images = empty({n, 2, 3, 2}, {.dtype = DType::kU8, .device = {}});
  for (int64_t i = 0; i < images.numel(); i++) images.data<uint8_t>()[i] = static_cast<uint8_t>(i);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < n; i++) labels.push_back(i % classes);
  return {images, labels, numbered_class_names(classes)};
}

/// One of the listing's problems has all of these parts.
inline void expect_problem(const ImageListing& listing, const std::vector<std::string>& parts) {
  const bool listed = std::ranges::any_of(listing.problems, [&](const std::string& problem) {
    return std::ranges::all_of(parts, [&](const std::string& part) { return problem.find(part) != std::string::npos; });
  });
  EXPECT_TRUE(listed) << parts[0] << "; problems: " << listing.problems.size() << " "
                      << (listing.problems.empty() ? "" : listing.problems[0]);
}

}  // namespace fulcrum
