#include "pgwire/copy_format.h"

namespace ecluse {

CopyFormat CopyFormat::Csv() {
  CopyFormat format;
  format.format = Format::csv;
  format.delimiter = ',';
  format.null.clear();
  return format;
}

size_t CopyRowEnd::Find(std::string_view bytes, size_t* next, bool end) {
  for (; scanned_ < bytes.size(); ++scanned_) {
    const char c = bytes[scanned_];
    if (csv_) {
      // An escape other than the quote protects the character behind it.
      if (quoted_ && c == escape_ && c != quote_) {
        if (scanned_ + 1 == bytes.size() && !end) return std::string::npos;
        ++scanned_;
        continue;
      }
      if (c == quote_) quoted_ = !quoted_;
      if (quoted_) continue;
    } else if (c == '\\') {
      if (scanned_ + 1 == bytes.size() && !end) return std::string::npos;
      ++scanned_;
      continue;
    }
    if (c != '\n' && c != '\r') continue;
    if (c == '\r' && scanned_ + 1 == bytes.size() && !end) return std::string::npos;  // perhaps the start of \r\n
    const size_t size = scanned_;
    *next = scanned_ + (c == '\r' && scanned_ + 1 < bytes.size() && bytes[scanned_ + 1] == '\n' ? 2 : 1);
    scanned_ = 0;
    quoted_ = false;
    return size;
  }
  return std::string::npos;
}

bool ReadCsvRow(std::string_view row, const CopyFormat& format, CopyValues* values) {
  size_t at = 0;
  while (true) {
    std::string value;
    bool quoted = false, inside = false;
    for (; at < row.size(); ++at) {
      const char c = row[at];
      if (inside && c == format.escape && at + 1 < row.size() &&
          (row[at + 1] == format.quote || row[at + 1] == format.escape)) {
        value += row[++at];
      } else if (c == format.quote) {
        inside = !inside;
        quoted = true;
      } else if (!inside && c == format.delimiter) {
        break;
      } else {
        value += c;
      }
    }
    if (inside) return false;
    if (!quoted && value == format.null)
      values->push_back(std::nullopt);
    else
      values->push_back(std::move(value));
    if (at == row.size()) return true;
    ++at;
  }
}

void AppendCopyText(std::string& out, std::string_view value, char delimiter) {
  constexpr std::string_view kLetters = "btnvfr";  // of the characters from \b to \r, which stand in a row
  const auto control = [](char c) { return c >= '\b' && c <= '\r'; };
  size_t begin = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (!control(c) && c != '\\' && c != delimiter) continue;
    out += value.substr(begin, i - begin);
    out += '\\';
    out += control(c) ? kLetters[static_cast<size_t>(c - '\b')] : c;
    begin = i + 1;
  }
  out += value.substr(begin);
}

}  // namespace ecluse
