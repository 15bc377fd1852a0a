// CsvReader: a table of comma-separated values (RFC 4180), a row at a time. Internal to data/.
//
//   CsvReader csv("metadata.csv", "wilds");
//   const size_t y = csv.column("y");            // an Error where the header has no such column
//   while (csv.next()) use(csv[y], csv.line());
//
// Fields may stand in double quotes, with doubled quotes, commas and line ends in them. Every Error
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
  /// Reads the header. An Error where there is none.
  CsvReader(const std::filesystem::path& path, std::string op);

  /// Its number; an Error that lists the columns where it is missing or comes twice.
  size_t column(const std::string& name) const;
  /// False after the last row. An Error for a row that is malformed or has not as many fields as the
  /// header.
  bool next();
  const std::string& operator[](size_t column) const { return fields_[column]; }
  /// The line on which the row starts; the header is line 1.
  int64_t line() const { return row_line_; }

 private:
  [[noreturn]] void refuse(const std::string& reason) const;
  /// The fields of the next row; none at the end.
  void read_row();
  /// What follows the opening quote, up to the closing one.
  void read_quoted(std::string& field);
  int get();

  std::filesystem::path path_;
  std::string op_;
  std::ifstream in_;
  std::vector<std::string> header_, fields_;
  int64_t line_ = 1, row_line_ = 1;
};

}  // namespace fulcrum
