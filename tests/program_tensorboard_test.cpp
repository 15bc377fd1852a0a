// Event files: the checksums of RFC 3720, the records read back, and what a resumed run tells
// TensorBoard. tests/tensorboard asks TensorBoard's own reader where it is installed.
#include "apps/tensorboard.h"

#include "program_testing.h"

namespace fulcrum::testing {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> event_files(const fs::path& dir) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) files.push_back(entry.path());
  return files;
}

template <class T>
T number_at(const std::string& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

uint32_t masked(std::string_view data) {
  const uint32_t crc = apps::crc32c(data);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

// The Event messages of a file, with both checksums of each record checked.
std::vector<std::string> records(const fs::path& file) {
  const std::string bytes = read_text(file);
  std::vector<std::string> found;
  for (size_t at = 0; at < bytes.size();) {
    const auto length = number_at<uint64_t>(bytes, at);
    EXPECT_EQ(number_at<uint32_t>(bytes, at + 8), masked(std::string_view(bytes).substr(at, 8)));
    found.push_back(bytes.substr(at + 12, length));
    EXPECT_EQ(number_at<uint32_t>(bytes, at + 12 + length), masked(found.back()));
    at += length + 16;
  }
  return found;
}

TEST(TensorBoard, ChecksumsAreThoseOfRfc3720) {
  EXPECT_EQ(apps::crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(apps::crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(apps::crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(TensorBoard, WritesScalarsAndLeavesOutWhatIsNotFinite) {
  const TempDir dir;
  apps::EventWriter(dir.path(), 0).add(7, {{"test/top1", 0.5}, {"risk/log_u", std::nan("")}});
  ASSERT_EQ(event_files(dir.path()).size(), 1u);
  const auto events = records(event_files(dir.path())[0]);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_NE(events[0].find("brain.Event:2"), std::string::npos);
  // wall_time (9 bytes), step 7, summary {value {tag, simple_value}}.
  const std::string rest = events[1].substr(9);
  const std::string value = std::string("\x0a\x09test/top1\x15\x00\x00\x00\x3f", 16);
  EXPECT_EQ(rest, std::string("\x10\x07\x2a\x12\x0a\x10", 6) + value);
}

TEST(TensorBoard, AContinuationTellsWhereItBegins) {
  const TempDir dir;
  apps::EventWriter first(dir.path(), 0);
  apps::EventWriter second(dir.path(), 300);
  const auto files = event_files(dir.path());
  ASSERT_EQ(files.size(), 2u);  // although both began in one second
  for (const auto& file : files) {
    const auto events = records(file);
    if (events.size() == 1) continue;
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[1].substr(9), std::string("\x10\xac\x02\x3a\x02\x08\x01", 7));
  }
}

TEST(TensorBoard, ARunWritesEveryNumberOfItsEpochs) {
  const TempDir dir;
  write_data(dir / "data");
  ASSERT_EQ(run_program(train_flags(dir, "run", {"--epochs", "2"})).code, 0);
  ASSERT_EQ(event_files(dir / "run").size(), 1u);
  const auto events = records(event_files(dir / "run")[0]);
  ASSERT_EQ(events.size(), 3u);
  for (const char* tag : {"train/loss", "test/top1", "test/balanced", "lr", "images_per_s"})
    EXPECT_NE(events[2].find(tag), std::string::npos) << tag;
}

}  // namespace
}  // namespace fulcrum::testing
