#include <fulcrum/data/cifar.h>

#include <fulcrum/data/file.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kSide = 32, kPlane = kSide * kSide, kPixels = 3 * kPlane;

struct Family {
  const char* op;
  const char* subdirectory;
  int64_t coarse_classes;  // 0: records have one label
  int64_t classes;
  const char* names_file;
  std::vector<std::string> default_names;

  size_t label_bytes() const { return coarse_classes > 0 ? 2 : 1; }
  size_t record_bytes() const { return label_bytes() + kPixels; }
};

/// Returns `dir`, or the directory below it that the archive unpacks to, whichever has the file. Throws Error if
/// neither has it.
fs::path find_directory(const Family& family, const fs::path& dir, const std::string& name) {
  std::string looked;
  for (const fs::path& candidate : {dir, dir / family.subdirectory}) {
    std::error_code error;
    if (fs::exists(candidate / name, error)) return candidate;
    looked += "\n  " + (candidate / name).string();
  }
  std::error_code ignored;
  const auto has = [&](const char* file) { return fs::is_regular_file(dir / file, ignored); };
  const bool python = fs::exists(dir / "cifar-10-batches-py", ignored) ||
                      fs::exists(dir / "cifar-100-python", ignored) || has("data_batch_1") ||
                      (has("train") && has("meta"));
  fail("[", family.op, "] found no ", name, "; looked for", looked,
       python ? "\nWhat is there looks like the Python version, as torchvision downloads it; "
                "scripts/data/cifar_from_python.py of the sources makes the binary version of it."
              : "",
       "\nGet the binary version from ", "www.cs.toronto.edu/~kriz/cifar.html and name its directory with --data-dir.");
}

int64_t count_records(const Family& family, const fs::path& path) {
  const InputFile file(path, family.op);
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error), record = family.record_bytes();
  if (error) file.refuse("cannot be opened: " + error.message());
  if (bytes == 0) file.refuse(concat_text("the file is empty, expected records of ", record, " bytes"));
  if (bytes % record != 0)
    file.refuse(concat_text("truncated, or not CIFAR's binary version: expected a multiple of ", record, " bytes, got ",
                            bytes, ": record ", bytes / record, " at byte ", bytes / record * record, " has ",
                            bytes % record, " bytes"));
  return static_cast<int64_t>(bytes / record);
}

void check_label(const InputFile& file, int64_t record, const char* kind, int64_t label, int64_t classes) {
  if (label >= classes)
    file.refuse(concat_text("record ", record, ": expected a ", kind, " in [0, ", classes, "), got ", label));
}

/// Converts a red, a green and a blue plane to interleaved pixels.
void interleave(uint8_t* image, const uint8_t* planes) {
  for (int64_t i = 0; i < kPlane; i++)
    for (int64_t c = 0; c < 3; c++) image[3 * i + c] = planes[c * kPlane + i];
}

void read_records(const Family& family, const fs::path& path, int64_t count, uint8_t* images,
                  std::vector<int64_t>& labels) {
  InputFile file(path, family.op);
  std::vector<uint8_t> record(family.record_bytes());
  for (int64_t i = 0; i < count; i++) {
    file.read_exactly(record.data(), record.size(), concat_text("record ", i));
    if (family.coarse_classes > 0) check_label(file, i, "coarse label", record[0], family.coarse_classes);
    const int64_t label = record[family.label_bytes() - 1];
    check_label(file, i, "label", label, family.classes);
    labels.push_back(label);
    interleave(images + i * kPixels, record.data() + family.label_bytes());
  }
}

std::vector<std::string> class_names(const Family& family, const fs::path& dir) {
  const fs::path path = dir / family.names_file;
  std::error_code error;
  if (!fs::exists(path, error)) return family.default_names;
  std::vector<std::string> names;
  for (const std::string& line : read_lines(path, family.op))
    if (!line.empty()) names.push_back(line);
  check(static_cast<int64_t>(names.size()) == family.classes, "[", family.op, "] ", path.string(), ": expected ",
        family.classes, " class names, one a line, got ", names.size());
  return names;
}

InMemoryDataset load(const Family& family, const fs::path& dir, const std::vector<std::string>& files) {
  const fs::path found = find_directory(family, dir, files.front());
  std::vector<int64_t> counts;
  int64_t total = 0;
  for (const std::string& name : files) {
    counts.push_back(count_records(family, found / name));
    total += counts.back();
  }
  Tensor images = empty({total, kSide, kSide, 3}, {.dtype = DType::kU8, .device = {}});
  std::vector<int64_t> labels;
  labels.reserve(static_cast<size_t>(total));
  for (size_t f = 0; f < files.size(); f++) {
    uint8_t* out = images.data<uint8_t>() + static_cast<int64_t>(labels.size()) * kPixels;
    read_records(family, found / files[f], counts[f], out, labels);
  }
  return {std::move(images), std::move(labels), class_names(family, found)};
}

}  // namespace

InMemoryDataset load_cifar10(const fs::path& dir, bool train) {
  const Family family = {
      .op = "cifar10",
      .subdirectory = "cifar-10-batches-bin",
      .coarse_classes = 0,
      .classes = 10,
      .names_file = "batches.meta.txt",
      .default_names = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}};
  if (!train) return load(family, dir, {"test_batch.bin"});
  return load(family, dir,
              {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"});
}

InMemoryDataset load_cifar100(const fs::path& dir, bool train) {
  const Family family = {.op = "cifar100",
                         .subdirectory = "cifar-100-binary",
                         .coarse_classes = 20,
                         .classes = 100,
                         .names_file = "fine_label_names.txt",
                         .default_names = numbered_class_names(100)};
  return load(family, dir, {train ? "train.bin" : "test.bin"});
}

const std::vector<int64_t>& cifar100_superclasses() {
  // In the order of fine_label_names.txt (apple, aquarium_fish, baby, …); the numbers are those of
  // coarse_label_names.txt.
  static const std::vector<int64_t> superclasses = {
      4,  1,  14, 8,  0,  6,  7,  7, 18, 3,  3,  14, 9, 18, 7,  11, 3,  9, 7,  11, 6,  11, 5,  10, 7,
      6,  13, 15, 3,  15, 0,  11, 1, 10, 12, 14, 16, 9, 11, 5,  5,  19, 8, 8,  15, 13, 14, 17, 18, 10,
      16, 4,  17, 4,  2,  0,  17, 4, 18, 17, 10, 3,  2, 12, 12, 16, 12, 1, 9,  19, 2,  10, 0,  1,  16,
      12, 9,  13, 15, 13, 16, 19, 2, 4,  6,  19, 5,  5, 8,  19, 18, 1,  2, 15, 6,  0,  17, 8,  14, 13};
  return superclasses;
}

ChannelStatistics cifar10_statistics() { return {{0.4914, 0.4822, 0.4465}, {0.2023, 0.1994, 0.2010}}; }
ChannelStatistics cifar100_statistics() { return {{0.5071, 0.4865, 0.4409}, {0.2673, 0.2564, 0.2762}}; }

}  // namespace fulcrum
