#include <fulcrum/data/csv.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fulcrum/core/check.h>
#include <fulcrum/data/file.h>

namespace fulcrum {

namespace {
constexpr int kEnd = std::char_traits<char>::eof();
constexpr size_t kMaxFields = 4096;
}  // namespace

CsvReader::CsvReader(const std::filesystem::path& path, std::string op) : path_(path), op_(std::move(op)) {
  check_regular(path, op_);
  in_.open(path, std::ios::binary);
  check(in_.is_open(), "[", op_, "] ", path_.string(), ": cannot be opened");
  std::array<char, 3> mark{};  // the byte order mark that spreadsheets write
  if (!in_.read(mark.data(), mark.size()) || std::string_view(mark.data(), mark.size()) != "\xEF\xBB\xBF") {
    in_.clear();
    in_.seekg(0);
  }
  read_row();
  if (fields_.empty()) refuse("expected a header of column names, got an empty file");
  header_ = fields_;
}

size_t CsvReader::column(const std::string& name) const {
  const auto found = std::ranges::find(header_, name);
  if (found != header_.end() && std::find(found + 1, header_.end(), name) == header_.end())
    return static_cast<size_t>(found - header_.begin());
  std::string columns;
  for (const std::string& column : header_) columns += (columns.empty() ? "'" : ", '") + column + "'";
  fail("[", op_, "] ", path_.string(), ": line 1: expected one column '", name, "', got ", columns);
}

bool CsvReader::next() {
  do {
    row_line_ = line_;
    read_row();
  } while (fields_.size() == 1 && fields_[0].empty() && header_.size() > 1);  // an empty line
  if (fields_.empty()) return false;
  if (fields_.size() != header_.size())
    refuse(concat_text("expected ", header_.size(), " fields, as the header has, got ", fields_.size()));
  return true;
}

void CsvReader::refuse(const std::string& reason) const {
  fail("[", op_, "] ", path_.string(), ": line ", row_line_, ": ", reason);
}

int CsvReader::get() {
  const int c = in_.get();
  if (c == kEnd && !in_.eof()) refuse("cannot be read");
  if (c == '\n') line_++;
  return c;
}

void CsvReader::read_row() {
  fields_.clear();
  int c = get();
  if (c == kEnd) return;
  for (std::string field;; field.clear()) {
    if (c == '"') {
      read_quoted(field);
      if (c = get(); c == '\r') c = get();
      if (c != ',' && c != '\n' && c != kEnd) refuse("expected a comma after a closing quote");
    } else {
      for (; c != ',' && c != '\n' && c != kEnd; c = get()) {
        if (c == '"') refuse("expected quotes around a whole field, got one inside");
        if (field.size() == kMaxLineBytes) refuse(concat_text("expected fields of at most ", kMaxLineBytes, " bytes"));
        field += static_cast<char>(c);
      }
      if (c != ',' && field.ends_with('\r')) field.pop_back();
    }
    if (fields_.size() == kMaxFields) refuse(concat_text("expected at most ", kMaxFields, " fields"));
    fields_.push_back(std::move(field));
    if (c != ',') return;
    c = get();
  }
}

void CsvReader::read_quoted(std::string& field) {
  for (int c = get();; c = get()) {
    if (c == kEnd) refuse("expected a closing quote, got the end of the file");
    if (c == '"') {
      if (in_.peek() != '"') return;
      in_.get();
    }
    if (field.size() == kMaxLineBytes) refuse(concat_text("expected fields of at most ", kMaxLineBytes, " bytes"));
    field += static_cast<char>(c);
  }
}

}  // namespace fulcrum
