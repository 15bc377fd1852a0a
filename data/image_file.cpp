#include <fulcrum/data/image_file.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <system_error>

#include <fulcrum/core/check.h>
#include <fulcrum/data/image_codecs.h>

namespace fulcrum {

namespace {

[[noreturn]] void refuse_errno(const std::string& name, const char* action) {
  refuse_image(name, concat_text("cannot ", action, ": ", std::generic_category().message(errno)));
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

/// The whole file, into a buffer that a thread uses again: small files cost no allocation.
std::span<const uint8_t> read_file(const std::string& name) {
  thread_local std::vector<uint8_t> buffer;
  const Descriptor file{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) refuse_errno(name, "open");
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) refuse_errno(name, "look at it");
  if (!S_ISREG(status.st_mode)) refuse_image(name, "expected a regular file");
  const auto bytes = static_cast<size_t>(status.st_size);
  if (buffer.size() < bytes) buffer.resize(bytes);
  size_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::read(file.fd, buffer.data() + done, bytes - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse_errno(name, "read");
    if (n == 0) break;  // it has become shorter; the decoder will say so
    done += static_cast<size_t>(n);
  }
  return {buffer.data(), done};
}

enum class Kind { kJpeg, kPng };

Kind kind_of(std::span<const uint8_t> file, const std::string& name) {
  constexpr std::array<uint8_t, 3> kJpegStart = {0xFF, 0xD8, 0xFF};
  constexpr std::array<uint8_t, 8> kPngStart = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  const auto starts = [&](std::span<const uint8_t> magic) {
    return file.size() >= magic.size() && std::equal(magic.begin(), magic.end(), file.begin());
  };
  if (starts(kJpegStart)) return Kind::kJpeg;
  if (starts(kPngStart)) return Kind::kPng;
  if (file.empty()) refuse_image(name, "expected a JPEG or PNG file, got an empty one");
  refuse_image(name, "expected a JPEG or PNG file, got other first bytes");
}

/// PIL's L of RGB: the ITU-R 601-2 luma in 16 bits.
uint8_t luma(const uint8_t* rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

/// PIL's CMYK to RGB; inks are stored as 255 − ink.
void inverted_cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb) {
  const int light = cmyk[3];
  for (int c = 0; c < 3; c++) {
    const int product = (255 - cmyk[c]) * light + 128;
    rgb[c] = static_cast<uint8_t>(light - ((product + (product >> 8)) >> 8));
  }
}

std::vector<uint8_t> to_rgb(DecodedImage image, size_t pixels) {
  if (image.layout == PixelLayout::kRgb) return std::move(image.pixels);
  std::vector<uint8_t> rgb(3 * pixels);
  for (size_t i = 0; i < pixels; i++) {
    if (image.layout == PixelLayout::kGrey) {
      std::fill_n(rgb.begin() + static_cast<std::ptrdiff_t>(3 * i), 3, image.pixels[i]);
    } else {
      inverted_cmyk_to_rgb(&image.pixels[4 * i], &rgb[3 * i]);
    }
  }
  return rgb;
}

}  // namespace

void refuse_image(const std::string& name, const std::string& reason) {
  fail("[image] ", name, ": ", reason);
}

void check_image_size(ImageSize size, const std::string& name) {
  if (size.height < 1 || size.width < 1 || size.height > kMaxImagePixels / size.width)
    refuse_image(name, concat_text("expected 1 to ", kMaxImagePixels, " pixels, got a height of ",
                                   size.height, " and a width of ", size.width));
}

Image decode_image(std::span<const uint8_t> file, int64_t channels, const std::string& name) {
  check(channels == 1 || channels == 3, "[image] expected 1 or 3 channels, got ", channels);
  DecodedImage decoded =
      kind_of(file, name) == Kind::kJpeg ? decode_jpeg(file, name) : decode_png(file, name);
  Image image = {decoded.size.height, decoded.size.width, channels, {}};
  const auto pixels = static_cast<size_t>(image.height * image.width);
  if (channels == 1 && decoded.layout == PixelLayout::kGrey) {
    image.pixels = std::move(decoded.pixels);
    return image;
  }
  image.pixels = to_rgb(std::move(decoded), pixels);
  if (channels == 1) {
    for (size_t i = 0; i < pixels; i++) image.pixels[i] = luma(&image.pixels[3 * i]);
    image.pixels.resize(pixels);
  }
  return image;
}

ImageSize image_size(std::span<const uint8_t> file, const std::string& name) {
  const ImageSize size =
      kind_of(file, name) == Kind::kJpeg ? jpeg_size(file, name) : png_size(file, name);
  check_image_size(size, name);
  return size;
}

Image load_image(const std::string& path, int64_t channels) {
  return decode_image(read_file(path), channels, path);
}

ImageSize image_size(const std::string& path) {
  return image_size(read_file(path), path);
}

bool has_image_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

}  // namespace fulcrum
