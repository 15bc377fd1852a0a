#include <fulcrum/core/check.h>
#include <fulcrum/data/file.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#ifdef FULCRUM_WITH_ZLIB
#include <zlib.h>
#endif

namespace fulcrum {

namespace {

namespace fs = std::filesystem;

bool starts_like_gzip(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return in.get() == 0x1f && in.get() == 0x8b;
}

}  // namespace

void check_regular(const fs::path& path, const std::string& op) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  check(fs::exists(status), "[", op, "] ", path.string(), ": expected a file, there is none");
  check(fs::is_regular_file(status), "[", op, "] ", path.string(), ": expected a file, got a ",
        fs::is_directory(status) ? "directory" : "special file");
}

#ifdef FULCRUM_WITH_ZLIB

struct InputFile::Handle {
  gzFile file = nullptr;

  explicit Handle(const std::string& name) : file(gzopen(name.c_str(), "rb")) {
    if (file != nullptr) gzbuffer(file, 1u << 16);
  }
  ~Handle() {
    if (file != nullptr) gzclose(file);
  }
  bool open() const { return file != nullptr; }
  /// Returns the number of bytes read, or -1 and sets `reason`.
  int64_t read(void* out, size_t bytes, std::string& reason) {
    const int got = gzread(file, out, static_cast<unsigned>(bytes));
    int code = Z_OK;
    const char* text = gzerror(file, &code);
    // Z_BUF_ERROR: the file ends inside the gzip stream, possibly inside the checksum at its end.
    if (got > 0 || (got == 0 && code != Z_BUF_ERROR)) return got;
    reason = code == Z_ERRNO       ? std::strerror(errno)
             : code == Z_BUF_ERROR ? "truncated gzip data"
                                   : "corrupt gzip data: " + std::string(text);
    return -1;
  }
};

#else

struct InputFile::Handle {
  std::FILE* file = nullptr;

  explicit Handle(const std::string& name) : file(std::fopen(name.c_str(), "rb")) {}
  ~Handle() {
    if (file != nullptr) std::fclose(file);
  }
  bool open() const { return file != nullptr; }
  int64_t read(void* out, size_t bytes, std::string& reason) {
    const size_t got = std::fread(out, 1, bytes, file);
    if (got == bytes || std::ferror(file) == 0) return static_cast<int64_t>(got);
    reason = std::strerror(errno);
    return -1;
  }
};

#endif

InputFile::InputFile(const fs::path& path, std::string op) : op_(std::move(op)), name_(path.string()) {
  check_regular(path, op_);
  errno = 0;
  handle_ = std::make_unique<Handle>(name_);
  if (!handle_->open()) refuse(concat_text("cannot be opened: ", std::strerror(errno)));
  std::error_code error;
  most_bytes_ = fs::file_size(path, error);
  if (error) refuse("cannot be opened: " + error.message());
  if (starts_like_gzip(path)) {
#ifndef FULCRUM_WITH_ZLIB
    refuse("is gzipped and this build has no zlib (FULCRUM_ZLIB=OFF): gunzip it first");
#endif
    // Deflate's largest factor is 1032 (zlib's "Maximum Compression Factor").
    most_bytes_ = most_bytes_ * 1032 + 64;
  }
}

InputFile::~InputFile() = default;

size_t InputFile::read(void* out, size_t bytes) {
  constexpr size_t kChunk = size_t{1} << 30;  // gzread counts in int
  size_t done = 0;
  while (done < bytes) {
    std::string reason;
    const int64_t got = handle_->read(static_cast<char*>(out) + done, std::min(kChunk, bytes - done), reason);
    if (got < 0) refuse(concat_text(reason, " (after byte ", offset_, ")"));
    if (got == 0) break;
    done += static_cast<size_t>(got);
    offset_ += static_cast<uint64_t>(got);
  }
  return done;
}

void InputFile::read_exactly(void* out, size_t bytes, const std::string& what) {
  const uint64_t start = offset_;
  const size_t got = read(out, bytes);
  if (got == bytes) return;
  refuse(start + got == 0 ? concat_text("the file is empty, expected ", what)
                          : concat_text("truncated: expected ", bytes, " bytes of ", what, " from byte ", start,
                                        ", the file ends at byte ", offset_));
}

void InputFile::expect_end() {
  const uint64_t end = offset_;
  char extra = 0;
  if (read(&extra, 1) != 0) refuse(concat_text("expected the end at byte ", end, ", got more bytes"));
}

void InputFile::refuse(const std::string& reason) const { fail("[", op_, "] ", name_, ": ", reason); }

void for_each_line(const fs::path& path, const std::string& op,
                   const std::function<void(std::string_view text, int64_t number)>& line) {
  check_regular(path, op);
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  check(in.is_open(), "[", op, "] ", path.string(), ": cannot be opened: ", std::strerror(errno));
  std::string buffer(kMaxLineBytes + 2, '\0');  // room for a carriage return and getline's terminating zero
  int64_t number = 0;
  while (in.getline(buffer.data(), static_cast<std::streamsize>(buffer.size()))) {
    auto length = static_cast<size_t>(in.gcount());
    if (!in.eof()) length--;  // gcount() includes the line end
    std::string_view text(buffer.data(), length);
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (number == 0 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // UTF-8 byte order mark
    check(text.size() <= kMaxLineBytes, "[", op, "] ", path.string(), ": line ", number + 1, ": expected at most ",
          kMaxLineBytes, " bytes, got more");  // the room for a carriage return held another byte
    check(text.find('\0') == std::string_view::npos, "[", op, "] ", path.string(), ": line ", number + 1,
          ": expected text, got a byte 0");
    line(text, ++number);
  }
  check(!in.bad(), "[", op, "] ", path.string(), ": ", std::strerror(errno), " after line ", number);
  check(in.eof(), "[", op, "] ", path.string(), ": line ", number + 1, ": expected at most ", kMaxLineBytes,
        " bytes, got more");
}

std::vector<std::string> read_lines(const fs::path& path, const std::string& op) {
  std::vector<std::string> lines;
  for_each_line(path, op, [&](std::string_view text, int64_t) { lines.emplace_back(text); });
  return lines;
}

}  // namespace fulcrum
