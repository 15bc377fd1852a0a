// Decodes JPEG with libjpeg: baseline and progressive; grey, RGB and CMYK.
#include <fulcrum/core/check.h>
#include <fulcrum/data/image_codecs.h>

#ifdef FULCRUM_WITH_JPEG

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>
#include <utility>

#include <jpeglib.h>
// After jpeglib.h, on which it depends.
#include <jerror.h>

namespace fulcrum {

namespace {

/// libjpeg reports an error by calling a function that must not return.
struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg hands out a pointer to it
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* error = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, error->message);
  std::longjmp(error->jump, 1);
}

/// Ignores warnings, as PIL does (real data sets are full of them), except the one for a file that ends too
/// early.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

/// A decompressor that a thread reuses: creating one costs as much as decoding a small image.
class Decompressor {
 public:
  Decompressor() {
    info_.err = jpeg_std_error(&error_.base);
    error_.base.error_exit = on_error;
    error_.base.emit_message = on_message;
    error_.message[0] = '\0';
    created_ = create();
  }
  ~Decompressor() { jpeg_destroy_decompress(&info_); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  /// Reads the header. Returns false if libjpeg fails; message() says why.
  bool start(std::span<const uint8_t> file) {
    if (!created_) return false;
    if (setjmp(error_.jump)) return false;
    jpeg_abort_decompress(&info_);  // resets the state that the previous image has left
    jpeg_mem_src(&info_, const_cast<unsigned char*>(file.data()), static_cast<unsigned long>(file.size()));
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  ImageSize size() const { return {info_.image_height, info_.image_width}; }
  /// The layout of the decoded pixels. Throws Error for a number of components that PIL does not support either.
  PixelLayout layout(const std::string& name) const {
    switch (info_.num_components) {
      case 1: return PixelLayout::kGrey;
      case 3: return PixelLayout::kRgb;
      case 4: return PixelLayout::kInvertedCmyk;
      default: refuse_image(name, concat_text("expected 1, 3 or 4 components, got ", info_.num_components));
    }
  }

  /// Reduces the sides to `eighths`/8; returns the size of the image that decode() then writes.
  ImageSize reduce(unsigned eighths) {
    info_.scale_num = eighths;
    info_.scale_denom = 8;
    const auto reduced = [&](JDIMENSION side) { return (int64_t{side} * eighths + 7) / 8; };
    return {reduced(info_.image_height), reduced(info_.image_width)};
  }

  /// Decodes the first `wanted` rows (or all, if there are fewer) to `out`, [height, width, components]. Returns false
  /// if libjpeg fails.
  bool decode(uint8_t* out, int64_t wanted) {
    if (setjmp(error_.jump)) return false;
    info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : info_.num_components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_start_decompress(&info_);
    const size_t row_bytes = size_t{info_.output_width} * static_cast<size_t>(info_.output_components);
    std::array<JSAMPROW, 16> rows;  // one call per row would take a measurable part of a small image's time
    const auto end = static_cast<JDIMENSION>(std::min(wanted, int64_t{info_.output_height}));
    while (info_.output_scanline < end) {
      const size_t count = std::min<size_t>(rows.size(), end - info_.output_scanline);
      for (size_t i = 0; i < count; i++) rows[i] = out + (info_.output_scanline + i) * row_bytes;
      jpeg_read_scanlines(&info_, rows.data(), static_cast<JDIMENSION>(count));
    }
    if (end == info_.output_height) jpeg_finish_decompress(&info_);  // otherwise the next start() aborts this image
    return true;
  }

  std::string message() const { return error_.message; }

 private:
  bool create() {
    if (setjmp(error_.jump)) return false;
    jpeg_create_decompress(&info_);
    return true;
  }

  jpeg_decompress_struct info_{};
  ErrorManager error_{};
  bool created_ = false;
};

Decompressor& start(std::span<const uint8_t> file, const std::string& name) {
  thread_local Decompressor jpeg;
  if (!jpeg.start(file)) refuse_image(name, "corrupt JPEG: " + jpeg.message());
  check_image_size(jpeg.size(), name);
  return jpeg;
}

/// The smallest scale of at least `least_scale`, in eighths, among those for which libjpeg has fast code.
unsigned eighths_of(double least_scale) {
  unsigned eighths = 1;
  while (eighths < 8 && eighths < 8 * least_scale) eighths *= 2;
  return eighths;
}

}  // namespace

DecodedImage decode_jpeg(std::span<const uint8_t> file, const std::string& name,
                         const std::function<DecodeNeeds(ImageSize)>& needs, std::vector<uint8_t> memory) {
  Decompressor& jpeg = start(file, name);
  const DecodeNeeds asked = needs ? needs(jpeg.size()) : DecodeNeeds();
  const unsigned eighths = eighths_of(asked.least_scale);
  DecodedImage image = {jpeg.reduce(eighths), jpeg.layout(name), std::move(memory)};
  const size_t bytes = image.layout == PixelLayout::kGrey ? 1 : image.layout == PixelLayout::kRgb ? 3 : 4;
  image.pixels.resize(static_cast<size_t>(image.size.height * image.size.width) * bytes);
  const int64_t rows = std::clamp(asked.rows, int64_t{1}, jpeg.size().height);
  const int64_t reduced_rows = (rows * eighths + 7) / 8 + 1;  // + 1 because scaled_box() rounds
  if (!jpeg.decode(image.pixels.data(), reduced_rows)) refuse_image(name, "corrupt JPEG: " + jpeg.message());
  return image;
}

ImageSize jpeg_size(std::span<const uint8_t> file, const std::string& name) { return start(file, name).size(); }

}  // namespace fulcrum

#else

namespace fulcrum {

namespace {
[[noreturn]] void refuse(const std::string& name) {
  refuse_image(name,
               "is a JPEG, and this build has no libjpeg: build with -DFULCRUM_JPEG=ON "
               "(Debian's package libjpeg-dev)");
}
}  // namespace

DecodedImage decode_jpeg(std::span<const uint8_t>, const std::string& name,
                         const std::function<DecodeNeeds(ImageSize)>&, std::vector<uint8_t>) {
  refuse(name);
}
ImageSize jpeg_size(std::span<const uint8_t>, const std::string& name) { refuse(name); }

}  // namespace fulcrum

#endif
