#include <fulcrum/data/idx.h>

#include <array>
#include <cstdio>
#include <optional>

#include <fulcrum/data/file.h>

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

constexpr uint32_t kImagesMagic = 0x00000803;  // unsigned bytes, three dimensions
constexpr uint32_t kLabelsMagic = 0x00000801;  // unsigned bytes, one dimension

std::string hex(uint32_t value) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

uint32_t read_u32(InputFile& file, const char* what) {
  uint8_t b[4];
  file.read_exactly(b, sizeof b, what);
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

void read_magic(InputFile& file, uint32_t expected, const char* kind) {
  const uint32_t magic = read_u32(file, "the magic number");
  if (magic != expected)
    file.refuse(concat_text("expected magic ", hex(expected), " (", kind, ") at byte 0, got ", hex(magic)));
}

/// Reads a size from the header and multiplies `items` by it. Refuses a size of 0, and one for which the file is too
/// small to hold `items` · size bytes.
int64_t read_size(InputFile& file, const char* what, uint64_t& items) {
  const uint64_t at = file.offset();
  const uint32_t size = read_u32(file, what);
  if (size == 0) file.refuse(concat_text("expected ", what, " of at least 1 at byte ", at, ", got 0"));
  if (size > file.most_bytes() / items)
    file.refuse(concat_text("truncated: ", what, " at byte ", at, " is ", size,
                            ", which is more than a file of this size can hold"));
  items *= size;
  return size;
}

/// The first of dir/name, dir/name.gz, … that exists; appends the paths tried to `looked`.
std::optional<fs::path> find(const std::vector<fs::path>& dirs, const std::string& name, std::string& looked) {
  for (const fs::path& dir : dirs) {
    for (const char* suffix : {"", ".gz"}) {
      const fs::path path = dir / (name + suffix);
      std::error_code error;
      if (fs::exists(path, error)) return path;
      looked += "\n  " + path.string();
    }
  }
  return std::nullopt;
}

struct Family {
  const char* op;
  const char* subdirectory;
  const char* how_to_get;
  std::vector<std::string> class_names;
};

InMemoryDataset load(const Family& family, const fs::path& dir, bool train) {
  const std::vector<fs::path> dirs = {dir, dir / family.subdirectory};
  const std::string prefix = train ? "train" : "t10k";
  std::array<fs::path, 2> paths;
  const std::array<const char*, 2> names = {"-images-idx3-ubyte", "-labels-idx1-ubyte"};
  for (size_t i = 0; i < 2; i++) {
    std::string looked;
    const auto path = find(dirs, prefix + names[i], looked);
    check(path.has_value(), "[", family.op, "] found no ", prefix, names[i], "; looked for", looked, "\n",
          family.how_to_get);
    paths[i] = *path;
  }
  std::vector<int64_t> labels = load_idx_labels(paths[1]);
  const auto classes = static_cast<int64_t>(family.class_names.size());
  check_labels(labels, classes, concat_text("[", family.op, "] ", paths[1].string(), ": "));
  Tensor images = load_idx_images(paths[0]);
  check(images.size(0) == static_cast<int64_t>(labels.size()), "[", family.op,
        "] expected as many labels as images, got ", images.size(0), " images in ", paths[0].string(), " and ",
        labels.size(), " labels in ", paths[1].string());
  return {std::move(images), std::move(labels), family.class_names};
}

}  // namespace

Tensor load_idx_images(const fs::path& path) {
  InputFile file(path, "idx");
  read_magic(file, kImagesMagic, "images");
  uint64_t bytes = 1;
  const int64_t n = read_size(file, "the number of images", bytes);
  const int64_t h = read_size(file, "the height", bytes);
  const int64_t w = read_size(file, "the width", bytes);
  Tensor images = empty({n, h, w, 1}, {.dtype = DType::kU8, .device = {}});
  file.read_exactly(images.data<uint8_t>(), bytes, "pixels");
  file.expect_end();
  return images;
}

std::vector<int64_t> load_idx_labels(const fs::path& path) {
  InputFile file(path, "idx");
  read_magic(file, kLabelsMagic, "labels");
  uint64_t bytes = 1;
  read_size(file, "the number of labels", bytes);
  std::vector<uint8_t> labels(bytes);
  file.read_exactly(labels.data(), bytes, "labels");
  file.expect_end();
  return {labels.begin(), labels.end()};
}

InMemoryDataset load_fashion_mnist(const fs::path& dir, bool train) {
  const Family family = {.op = "fashion-mnist",
                         .subdirectory = "FashionMNIST/raw",
                         .how_to_get =
                             "Install it with `apt-get install dataset-fashion-mnist`, or name its directory "
                             "with --data-dir (files: github.com/zalandoresearch/fashion-mnist).",
                         .class_names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                                         "Sneaker", "Bag", "Ankle boot"}};
  return load(family, dir, train);
}

InMemoryDataset load_mnist(const fs::path& dir, bool train) {
  const Family family = {.op = "mnist",
                         .subdirectory = "MNIST/raw",
                         .how_to_get = "Name the directory of its four files with --data-dir.",
                         .class_names = numbered_class_names(10)};
  return load(family, dir, train);
}

ChannelStatistics fashion_mnist_statistics() { return {{0.2860}, {0.3530}}; }
ChannelStatistics mnist_statistics() { return {{0.1307}, {0.3081}}; }

}  // namespace fulcrum
