// Decodes PNG with libpng: every colour type and depth, interlaced or not.
#include <fulcrum/core/check.h>
#include <fulcrum/data/image_codecs.h>

#ifdef FULCRUM_WITH_PNG

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

namespace fulcrum {

namespace {

/// Reads a PNG from memory. libpng's errors jump back to setjmp, so functions that call setjmp must not have
/// local objects with destructors.
class PngReader {
 public:
  explicit PngReader(std::span<const uint8_t> file) : rest_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Reads the header. Returns false if libpng fails; message() says why.
  bool read_header() {
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_read_fn(png_, this, on_read);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_image_size() sets the limit instead
    png_read_info(png_, info_);
    return true;
  }

  ImageSize size() const { return {png_get_image_height(png_, info_), png_get_image_width(png_, info_)}; }
  bool is_grey() const { return (png_get_color_type(png_, info_) & PNG_COLOR_MASK_COLOR) == 0; }
  /// 16-bit grey without alpha: PIL's mode I;16, which PIL converts differently (cut_at_255).
  bool is_deep_grey() const {
    return png_get_bit_depth(png_, info_) == 16 && png_get_color_type(png_, info_) == PNG_COLOR_TYPE_GRAY;
  }

  /// Requests 8 bits (16 for deep grey) without alpha. Returns the bytes of a row, or 0 if libpng fails.
  size_t prepare() {
    if (setjmp(png_jmpbuf(png_))) return 0;
    if (png_get_bit_depth(png_, info_) == 16 && !is_deep_grey()) png_set_strip_16(png_);
    if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (is_grey() && png_get_bit_depth(png_, info_) < 8) png_set_expand_gray_1_2_4_to_8(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return png_get_rowbytes(png_, info_);
  }

  bool read_rows(png_bytep* rows) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_image(png_, rows);
    return true;
  }

  std::string message() const { return message_; }

 private:
  static void on_error(png_structp png, png_const_charp text) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message_, sizeof reader->message_, "%s", text);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep out, png_size_t bytes) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (bytes > reader->rest_.size()) png_error(png, "the file ends too early");
    std::memcpy(out, reader->rest_.data(), bytes);
    reader->rest_ = reader->rest_.subspan(bytes);
  }

  std::span<const uint8_t> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char message_[200] = "out of memory";
};

/// PIL's conversion of I;16 to L: clips values at 255. `pixels` are big-endian 16-bit numbers.
std::vector<uint8_t> cut_at_255(const std::vector<uint8_t>& pixels) {
  std::vector<uint8_t> cut(pixels.size() / 2);
  for (size_t i = 0; i < cut.size(); i++) cut[i] = pixels[2 * i] > 0 ? uint8_t{255} : pixels[2 * i + 1];
  return cut;
}

void read_header(PngReader& png, const std::string& name) {
  if (!png.read_header()) refuse_image(name, "corrupt PNG: " + png.message());
  check_image_size(png.size(), name);
}

}  // namespace

DecodedImage decode_png(std::span<const uint8_t> file, const std::string& name) {
  PngReader png(file);
  read_header(png, name);
  DecodedImage image = {png.size(), png.is_grey() ? PixelLayout::kGrey : PixelLayout::kRgb, {}};
  const bool deep = png.is_deep_grey();
  const size_t row_bytes = png.prepare();
  const size_t pixel_bytes = image.layout == PixelLayout::kRgb ? 3 : deep ? 2 : 1;
  if (row_bytes != static_cast<size_t>(image.size.width) * pixel_bytes)
    refuse_image(name, "corrupt PNG: " + png.message());
  // One byte of deflate expands to at most 1032 bytes, and a 1-bit pixel to three bytes. A file too short for its
  // claimed size is refused before its pixels are allocated.
  constexpr size_t kMostFromAByte = 1032 * 24;
  if (static_cast<size_t>(image.size.height) * row_bytes / kMostFromAByte > file.size())
    refuse_image(name, "corrupt PNG: the file is too short for its size of " + std::to_string(image.size.width) + "x" +
                           std::to_string(image.size.height));
  image.pixels.resize(static_cast<size_t>(image.size.height) * row_bytes);
  std::vector<png_bytep> rows(static_cast<size_t>(image.size.height));
  for (size_t i = 0; i < rows.size(); i++) rows[i] = image.pixels.data() + i * row_bytes;
  if (!png.read_rows(rows.data())) refuse_image(name, "corrupt PNG: " + png.message());
  if (deep) image.pixels = cut_at_255(image.pixels);
  return image;
}

ImageSize png_size(std::span<const uint8_t> file, const std::string& name) {
  PngReader png(file);
  read_header(png, name);
  return png.size();
}

}  // namespace fulcrum

#else

namespace fulcrum {

namespace {
[[noreturn]] void refuse(const std::string& name) {
  refuse_image(name,
               "is a PNG, and this build has no libpng: build with -DFULCRUM_PNG=ON "
               "(Debian's package libpng-dev)");
}
}  // namespace

DecodedImage decode_png(std::span<const uint8_t>, const std::string& name) { refuse(name); }
ImageSize png_size(std::span<const uint8_t>, const std::string& name) { refuse(name); }

}  // namespace fulcrum

#endif
