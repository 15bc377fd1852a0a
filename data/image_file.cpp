#include <fulcrum/data/image_file.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fulcrum/core/check.h>
#include <fulcrum/data/exif.h>
#include <fulcrum/data/image_codecs.h>
#include <fulcrum/data/image_ops.h>

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

void check_link(const std::string& name, std::string_view within) {
  std::error_code error;
  const std::string target = std::filesystem::canonical(name, error).string();
  if (!error && !target.starts_with(concat_text(within, "/")))
    refuse_image(name, concat_text("expected a file below ", within, ", got a link to ", target,
                                   "; data.follow_links = true permits it"));
}

int open_to_read(const std::string& name, std::string_view within) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  if (within.empty()) return ::open(name.c_str(), kFlags);
  const int fd = ::open(name.c_str(), kFlags | O_NOFOLLOW);
  if (fd >= 0 || errno != ELOOP) return fd;  // not a link: a single system call suffices
  check_link(name, within);
  return ::open(name.c_str(), kFlags);
}

}  // namespace

// Reads into a buffer that the thread reuses: small files cost no allocation.
std::span<const uint8_t> read_image_file(const std::string& name, std::string_view within) {
  thread_local std::vector<uint8_t> buffer;
  const Descriptor file{open_to_read(name, within)};
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
    if (n == 0) break;  // the file was truncated meanwhile; the decoder will report it
    done += static_cast<size_t>(n);
  }
  return {buffer.data(), done};
}

namespace {

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

/// PIL's conversion of CMYK to RGB; the inks are stored as 255 − ink.
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

void refuse_image(const std::string& name, const std::string& reason) { fail("[image] ", name, ": ", reason); }

void check_image_size(ImageSize size, const std::string& name) {
  if (size.height < 1 || size.width < 1 || size.height > kMaxImagePixels / size.width)
    refuse_image(name, concat_text("expected 1 to ", kMaxImagePixels, " pixels, got a height of ", size.height,
                                   " and a width of ", size.width));
}

namespace {

bool turns(Kind kind, const DecodeOptions& options) { return options.exif_orientation && kind == Kind::kJpeg; }

Image in_channels(DecodedImage decoded, int64_t channels) {
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

}  // namespace

Image decode_image(std::span<const uint8_t> file, const DecodeOptions& options, const std::string& name,
                   std::vector<uint8_t> memory) {
  const int64_t channels = options.channels;
  check(channels == 1 || channels == 3, "[image] expected 1 or 3 channels, got ", channels);
  const Kind kind = kind_of(file, name);
  const int orientation = turns(kind, options) ? exif_orientation(file) : 1;
  if (kind == Kind::kPng) return in_channels(decode_png(file, name), channels);
  std::function<DecodeNeeds(ImageSize)> needs = options.needs;
  if (needs && orientation != 1)  // the image's rows are not those of the file: decode all of them
    needs = [&](ImageSize s) {
      const DecodeNeeds asked = options.needs(orientation >= 5 ? ImageSize{s.width, s.height} : s);
      return DecodeNeeds{.least_scale = asked.least_scale};
    };
  return oriented(in_channels(decode_jpeg(file, name, needs, std::move(memory)), channels), orientation);
}

ImageSize image_size(std::span<const uint8_t> file, const std::string& name, const DecodeOptions& options) {
  const Kind kind = kind_of(file, name);
  const ImageSize size = kind == Kind::kJpeg ? jpeg_size(file, name) : png_size(file, name);
  check_image_size(size, name);
  const bool on_its_side = turns(kind, options) && exif_orientation(file) >= 5;
  return on_its_side ? ImageSize{size.width, size.height} : size;
}

Image load_image(const std::string& path, const DecodeOptions& options, std::vector<uint8_t> memory) {
  return decode_image(read_image_file(path, options.within), options, path, std::move(memory));
}

ImageSize image_size(const std::string& path, const DecodeOptions& options) {
  return image_size(read_image_file(path, options.within), path, options);
}

bool has_image_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

}  // namespace fulcrum
