// CsvReader: reads a table of comma-separated values (RFC 4180), one row at a time. Internal to data/.
//
//   CsvReader csv("metadata.csv", "wilds");
//   const size_t y = csv.column("y");            // throws Error if the header has no such column
//   while (csv.next()) use(csv[y], csv.line());
//
// Fields may be quoted; a quoted field may contain commas, line ends and doubled quotes. Every Error
// names the file and the line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace fulcrum {

class CsvReader {
 public:
  /// Opens the file and reads the header. Throws Error if there is none.
  CsvReader(const std::filesystem::path& path, std::string op);

  /// The index of a column. Throws Error, listing the columns, if the name is missing or occurs twice.
  size_t column(const std::string& name) const;
  /// Reads the next row; false after the last one. Throws Error if a row is malformed or its number of fields differs
  /// from the header's.
  bool next();
  const std::string& operator[](size_t column) const { return fields_[column]; }
  /// The line on which the row starts; the header is line 1.
  int64_t line() const { return row_line_; }

 private:
  [[noreturn]] void refuse(const std::string& reason) const;
  /// Reads the fields of the next row into fields_; none at the end of the file.
  void read_row();
  /// Reads up to the closing quote; the opening quote has been read.
  void read_quoted(std::string& field);
  int get();

  std::filesystem::path path_;
  std::string op_;
  std::ifstream in_;
  std::vector<std::string> header_, fields_;
  int64_t line_ = 1, row_line_ = 1;
};

}  // namespace fulcrum
