// safetensors files: what is written, what is read, and what is refused.
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <iterator>

#include "testing.h"

namespace fulcrum {
namespace {

using testing::same_bits;
using testing::TempDir;

std::string little_endian(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; i++) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

// A file with this header and this many zero bytes of numbers.
std::string file_bytes(const std::string& header, size_t data_bytes) {
  return little_endian(header.size()) + header + std::string(data_bytes, '\0');
}

void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

size_t files_in(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

// The text of the Error that loading these bytes throws; "" when it throws none.
std::string load_error(const std::string& bytes) {
  const TempDir dir;
  write_bytes(dir / "x.safetensors", bytes);
  try {
    load_tensors(dir / "x.safetensors");
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("x.safetensors"), std::string::npos) << error.what();
    return error.what();
  }
  return "";
}

#define EXPECT_REFUSED(bytes, part)                                                                       \
  {                                                                                                       \
    const std::string text = load_error(bytes);                                                           \
    EXPECT_NE(text.find(part), std::string::npos) << "got '" << text << "', expected '" << (part) << "'"; \
  }

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

TEST(Serialize, RoundTripOfEveryDtype) {
  const TempDir dir;
  TensorFile file;
  for (DType dtype : {DType::kF32, DType::kBf16, DType::kF64, DType::kU8, DType::kI32, DType::kI64})
    file.tensors[name_of(dtype)] = from_vector({2, 3}, {0, 1, 2, 3, 250, 5}, {dtype, {}});
  file.tensors["scalar"] = from_vector({}, std::vector<int64_t>{42});
  file.tensors["odd"] = from_vector({3}, {1, 2, 3}, {DType::kU8, {}});
  file.tensors["a \"quoted\" \\ näme\n\t\x01"] = ones({1});
  file.metadata = {{"config", "[data]\nname = \"x\"\n"}, {"", "empty key"}, {"λ", ""}};
  save_tensors(dir / "t.safetensors", file);

  const TensorFile loaded = load_tensors(dir / "t.safetensors");
  EXPECT_EQ(loaded.metadata, file.metadata);
  ASSERT_EQ(loaded.tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) EXPECT_TRUE(same_bits(loaded.tensors.at(name), tensor)) << name;
  EXPECT_EQ(files_in(dir.path()), 1u) << "the temporary file is gone";
}

TEST(Serialize, EveryTensorIsAlignedToItsDtype) {
  const TempDir dir;
  TensorFile file;
  file.tensors = {{"a", ones({3}, {DType::kU8, {}})},
                  {"b", ones({1}, {DType::kBf16, {}})},
                  {"c", ones({1}, {DType::kF64, {}})},
                  {"d", ones({3}, {DType::kF32, {}})}};
  save_tensors(dir / "t.safetensors", file);
  const TensorIndex index = read_tensor_index(dir / "t.safetensors");
  ASSERT_EQ(index.entries.size(), 4u);
  for (const auto& [name, e] : index.entries) {
    EXPECT_EQ(e.begin % size_of(e.dtype), 0u) << name;
    EXPECT_EQ(e.end - e.begin, file.tensors.at(name).bytes()) << name;
  }
}

TEST(Serialize, WritesTheFormatByteForByte) {
  const TempDir dir;
  save_tensors(dir / "t.safetensors", {{{"w", from_vector({1, 2}, std::vector<double>{1, 2})}}, {{"k", "v"}}});
  std::string header = R"({"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string numbers("\0\0\x80\x3f\0\0\0\x40", 8);
  EXPECT_EQ(read_bytes(dir / "t.safetensors"), little_endian(header.size()) + header + numbers);
}

TEST(Serialize, ReadsSpacesEscapesAndAnyOrder) {
  const TempDir dir;
  const std::string header =
      "{ \"second\" : {\"data_offsets\": [4, 5], \"shape\": [], \"dtype\": \"U8\"},\n"
      "\t\"\\u0061\\u00e4\\u03bb\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\": " +
      entry("F32", "[1]", "[0,4]") + ",\"__metadata__\":{} }   ";
  write_bytes(dir / "t.safetensors", file_bytes(header, 5));
  const TensorFile file = load_tensors(dir / "t.safetensors");
  EXPECT_EQ(file.tensors.at("second").shape(), Shape{});
  EXPECT_EQ(file.tensors.count("aäλ😀/\b\f\n\r\t"), 1u);
  write_bytes(dir / "empty.safetensors", file_bytes("{}", 0));
  EXPECT_TRUE(load_tensors(dir / "empty.safetensors").tensors.empty());
}

TEST(Serialize, RefusesWhatIsNoSafetensorsFile) {
  const TempDir dir;
  EXPECT_ERROR(load_tensors(dir / "absent"), "No such file");
  EXPECT_ERROR(load_tensors(dir.path()), "expected a regular file");
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  EXPECT_ERROR(load_tensors(dir / "pipe"), "expected a regular file");
  EXPECT_REFUSED("", "at least 8 bytes");
  EXPECT_REFUSED("1234567", "at least 8 bytes");
  EXPECT_REFUSED(little_endian(100) + "{}", "header of at most 2 bytes, got a length of 100");
  EXPECT_REFUSED(little_endian(~uint64_t{0}) + "{}", "header of at most 2 bytes");
  EXPECT_REFUSED(std::string(8, '\0'), "expected '{'");
  EXPECT_REFUSED(std::string("\x1f\x8b") + std::string(100, 'x'), "safetensors header of at most");
}

TEST(Serialize, RefusesAHeaderAboveTheLimit) {
  const TempDir dir;
  const auto path = dir / "x.safetensors";
  write_bytes(path, little_endian(100'000'001));
  std::filesystem::resize_file(path, 200'000'000);  // sparse
  EXPECT_ERROR(load_tensors(path), "at most 100000000 bytes, got a length of 100000001");
}

TEST(Serialize, RefusesMalformedJson) {
  const std::string good = "{\"a\":" + entry("U8", "[1]", "[0,1]") + "}";
  EXPECT_EQ(load_error(file_bytes(good, 1)), "");
  for (size_t length = 0; length < good.size(); length++)
    EXPECT_NE(load_error(file_bytes(good.substr(0, length), 1)), "") << good.substr(0, length);
  EXPECT_REFUSED(file_bytes(" " + good, 1), "expected '{'");
  EXPECT_REFUSED(file_bytes(good + "x", 1), "only spaces after the last '}'");
  EXPECT_REFUSED(file_bytes(good + std::string(1, '\0'), 1), "only spaces after the last '}'");
  EXPECT_REFUSED(file_bytes("[]", 0), "expected '{'");
  EXPECT_REFUSED(file_bytes("{\"a\":[]}", 0), "expected '{'");
  EXPECT_REFUSED(file_bytes("{\"a\xff\":1}", 0), "UTF-8");
  EXPECT_REFUSED(file_bytes("{\"\xc0\x80\":1}", 0), "UTF-8");
  EXPECT_REFUSED(file_bytes("{\"\xed\xa0\x80\":1}", 0), "UTF-8");
  EXPECT_REFUSED(file_bytes("{\"a\nb\":1}", 0), "no control character");
  EXPECT_REFUSED(file_bytes("{\"\\x\":1}", 0), "an escape of JSON");
  EXPECT_REFUSED(file_bytes("{\"\\u12g4\":1}", 0), "a hexadecimal digit");
  EXPECT_REFUSED(file_bytes("{\"\\udc00\":1}", 0), "a pair of surrogates");
  EXPECT_REFUSED(file_bytes("{\"\\ud800\\u0061\":1}", 0), "a pair of surrogates");
  EXPECT_REFUSED(file_bytes("{\"__metadata__\":{\"k\":1}}", 0), "expected '\"'");
  for (const char* number : {"-1", "1.5", "1e2", "01", "\"1\"", "null", "+1", "0x1"})
    EXPECT_REFUSED(file_bytes("{\"a\":" + entry("U8", "[" + std::string(number) + "]", "[0,1]") + "}", 1), "expected");
  EXPECT_REFUSED(file_bytes("{\"a\":" + entry("U8", "[18446744073709551616]", "[0,1]") + "}", 1),
                 "a number below 2^64");
  EXPECT_REFUSED(file_bytes("{\"a\":" + entry("U8", "[1,1,1,1,1,1]", "[0,1]") + "}", 1), "at most 5 numbers");
}

TEST(Serialize, RefusesBadEntriesByName) {
  const auto one = [](const std::string& e, size_t bytes) { return file_bytes("{\"fc.weight\":" + e + "}", bytes); };
  EXPECT_REFUSED(one(entry("F16", "[1]", "[0,2]"), 2), "\"fc.weight\": expected dtype F32");
  EXPECT_REFUSED(one(entry("F32", "[0]", "[0,0]"), 0), "\"fc.weight\": expected sizes of at least 1");
  EXPECT_REFUSED(one(entry("F32", "[2]", "[0,4]"), 4), "expected 8 bytes for F32 [2], got data_offsets [0, 4]");
  EXPECT_REFUSED(one(entry("F32", "[1]", "[4,0]"), 4), "got data_offsets [4, 0]");
  EXPECT_REFUSED(one(entry("F32", "[4294967296,4294967296,4]", "[0,0]"), 0), "fewer than 2^63 bytes");
  EXPECT_REFUSED(one(entry("U8", "[1]", "[18446744073709551614,18446744073709551615]"), 1), "inside the file");
  EXPECT_REFUSED(one(entry("U8", "[1]", "[0]"), 1), "expected two data_offsets");
  EXPECT_REFUSED(one(entry("U8", "[1]", "[0,1,2]"), 1), "at most 2 numbers");
  EXPECT_REFUSED(one("{\"dtype\":\"U8\",\"shape\":[1]}", 1), "got no data_offsets");
  EXPECT_REFUSED(one("{\"dtype\":\"U8\",\"data_offsets\":[0,1]}", 1), "got no shape");
  EXPECT_REFUSED(one("{}", 0), "got no dtype");
  EXPECT_REFUSED(one("{\"dtype\":\"U8\",\"dtype\":\"U8\"}", 0), "each once, got \"dtype\"");
  EXPECT_REFUSED(one("{\"crc\":1}", 0), "each once, got \"crc\"");
}

TEST(Serialize, RefusesOverlapsHolesDuplicatesAndWrongSizes) {
  const auto two = [](const std::string& a, const std::string& b, size_t bytes, const std::string& second = "b") {
    return file_bytes("{\"a\":" + entry("U8", "[2]", a) + ",\"" + second + "\":" + entry("U8", "[2]", b) + "}", bytes);
  };
  EXPECT_EQ(load_error(two("[2,4]", "[0,2]", 4)), "");
  EXPECT_REFUSED(two("[0,2]", "[1,3]", 3), "\"b\": expected its data_offsets to start at 2");
  EXPECT_REFUSED(two("[0,2]", "[0,2]", 2), "to start at 2");
  EXPECT_REFUSED(two("[0,2]", "[3,5]", 5), "\"b\": expected its data_offsets to start at 2");
  EXPECT_REFUSED(two("[1,3]", "[3,5]", 5), "\"a\": expected its data_offsets to start at 0");
  EXPECT_REFUSED(two("[0,2]", "[2,4]", 3), "\"b\": expected a file of at least");
  EXPECT_REFUSED(two("[0,2]", "[2,4]", 5), "as its header says");
  EXPECT_REFUSED(two("[0,2]", "[2,4]", 4, "a"), "\"a\": expected one of that name");
  EXPECT_REFUSED(file_bytes("{\"__metadata__\":{},\"__metadata__\":{}}", 0), "expected one __metadata__");
  EXPECT_REFUSED(file_bytes("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0), "metadata \"k\"");
  // A petabyte claimed by a small file is refused before memory is asked for.
  EXPECT_REFUSED(file_bytes("{\"a\":" + entry("U8", "[1125899906842624]", "[0,1125899906842624]") + "}", 8),
                 "truncated");
}

TEST(Serialize, LongAndStrangeNamesDoNotFloodTheMessage) {
  const std::string name = "\\u001b[31m" + std::string(100'000, 'x');
  const std::string text = load_error(file_bytes("{\"" + name + "\":{}}", 0));
  EXPECT_LT(text.size(), 400u);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(Serialize, RefusesToWriteWhatItCouldNotRead) {
  const TempDir dir;
  const auto path = dir / "t.safetensors";
  EXPECT_ERROR(save_tensors(path, {{{"w", Tensor()}}, {}}), "undefined one named \"w\"");
  EXPECT_ERROR(save_tensors(path, {{{"__metadata__", ones({1})}}, {}}), "other than __metadata__");
  EXPECT_ERROR(save_tensors(path, {{{"\xff", ones({1})}}, {}}), "a name in UTF-8");
  EXPECT_ERROR(save_tensors(path, {{}, {{"k", "\xff"}}}), "metadata in UTF-8");
  EXPECT_EQ(files_in(dir.path()), 0u);
  EXPECT_ERROR(save_tensors(dir / "no" / "folder", {}), "No such file");
}

TEST(Serialize, AFullDiskLeavesTheOldFile) {
  const TempDir dir;
  const auto path = dir / "last.safetensors";
  save_tensors(path, {{{"w", ones({4})}}, {{"epoch", "1"}}});
  const std::string before = read_bytes(path);

  // The limit makes write() fail half-way, as a full disk does.
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{100'000, old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_ERROR(save_tensors(path, {{{"w", ones({100'000})}}, {{"epoch", "2"}}}), "File too large");
  setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_EQ(read_bytes(path), before);
  EXPECT_EQ(files_in(dir.path()), 1u) << "the temporary file is gone";
  // What an earlier process left when it was killed does not stand in the way.
  write_bytes(dir / "last.safetensors.tmp", std::string(1'000'000, 'x'));
  save_tensors(path, {{{"w", ones({100'000})}}, {{"epoch", "2"}}});
  EXPECT_EQ(load_tensors(path).metadata.at("epoch"), "2");
  EXPECT_EQ(files_in(dir.path()), 1u);
}

TEST(Serialize, AFailedReplacementRemovesTheTemporaryFile) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "taken");
  write_bytes(dir / "taken" / "file", "");
  EXPECT_ERROR(write_file_atomically(dir / "taken", {"text"}), "cannot replace");
  EXPECT_EQ(files_in(dir.path()), 1u);
}

TEST(ReadTextFile, GivesAllOfAFileOrAnError) {
  const TempDir dir;
  const std::string text = std::string(200'000, 'x') + '\0' + "end";
  write_bytes(dir / "file", text);
  EXPECT_EQ(read_text_file(dir / "file"), text);
  EXPECT_ERROR(read_text_file(dir / "none"), "none: cannot open: No such file");
  EXPECT_ERROR(read_text_file(dir.path()), "cannot read: Is a directory");
  EXPECT_ERROR(read_text_file("/proc/self/mem"), "/proc/self/mem: cannot read: Input/output error");
}

}  // namespace
}  // namespace fulcrum
