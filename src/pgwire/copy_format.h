// COPY's text and CSV formats (PostgreSQL manual, "COPY", File Formats): where a row ends, what its values are, and how
// a value is written. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ecluse {

struct CopyFormat {
  enum class Format { text, csv, binary } format = Format::text;
  char delimiter = '\t';
  std::string null = "\\N";
  bool header = false;
  char quote = '"', escape = '"';

  static CopyFormat Csv();  // as PostgreSQL has it without further options: commas, an unquoted empty value is NULL
};

// The values of one row; nullopt is NULL.
using CopyValues = std::vector<std::optional<std::string>>;

// Finds where rows end, text or CSV, in bytes that come in pieces. What it looks at begins with a row.
class CopyRowEnd {
 public:
  explicit CopyRowEnd(const CopyFormat& format)
      : csv_(format.format == CopyFormat::Format::csv), quote_(format.quote), escape_(format.escape) {}

  // The size of the first row of `bytes`, without its newline, and in `next` where the one behind it begins; npos where
  // it is not complete. Asked again with the same bytes and more behind them, it goes on where it was. `end`: nothing
  // comes behind `bytes`.
  size_t Find(std::string_view bytes, size_t* next, bool end);
  // A value's quote is open where it stands.
  bool quoted() const { return quoted_; }

 private:
  bool csv_;
  char quote_, escape_;
  bool quoted_ = false;
  size_t scanned_ = 0;
};

// Reads the values of one CSV row, given without its newline. False where a quote has no end.
bool ReadCsvRow(std::string_view row, const CopyFormat& format, CopyValues* values);

// A value of the text format, which is not NULL.
void AppendCopyText(std::string& out, std::string_view value, char delimiter);

}  // namespace ecluse
