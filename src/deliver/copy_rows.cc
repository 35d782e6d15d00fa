#include "deliver/copy_rows.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/limits.h"

namespace ecluse {
namespace {

void AppendText(std::string& out, std::string_view value, const Plan::Copy& copy) {
  for (char c : value) {
    switch (c) {
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\v':
        out += "\\v";
        break;
      case '\\':
        out += "\\\\";
        break;
      default:
        if (c == copy.delimiter) out += '\\';
        out += c;
    }
  }
}

void AppendCsv(std::string& out, std::string_view value, const Plan::Copy& copy, bool only_column) {
  const char special[] = {copy.delimiter, copy.quote, '\r', '\n'};
  // A lone `\.` would read as the end of the data, and a value like the NULL string as NULL.
  bool quote = value == copy.null || (only_column && value == "\\.") ||
               value.find_first_of(std::string_view(special, sizeof special)) != std::string_view::npos;
  if (!quote) {
    out += value;
    return;
  }
  out += copy.quote;
  for (char c : value) {
    if (c == copy.quote || c == copy.escape) out += copy.escape;
    out += c;
  }
  out += copy.quote;
}

}  // namespace

void WriteCopyStart(std::string& out, const Plan::Copy& copy, std::span<const pg::FieldDescription> columns) {
  std::vector<int16_t> formats(columns.size(), 0);
  pg::WriteCopyResponse(out, 'H', 0, formats);
  if (!copy.header) return;
  pg::MessageWriter writer(out, 'd');
  for (size_t i = 0; i < columns.size(); ++i) {
    if (i > 0) out += copy.delimiter;
    if (copy.format == Plan::Copy::Format::csv)
      AppendCsv(out, columns[i].name, copy, columns.size() == 1);
    else
      AppendText(out, columns[i].name, copy);
  }
  out += '\n';
  writer.End();
}

void WriteCopyRow(std::string& out, std::string_view payload, const Plan::Copy& copy) {
  pg::Values values;
  CHECK(pg::ReadDataRow(payload, &values));
  pg::MessageWriter writer(out, 'd');
  bool first = true;
  for (pg::Values::Value value : values) {
    if (!first) out += copy.delimiter;
    first = false;
    if (!value)
      out += copy.null;
    else if (copy.format == Plan::Copy::Format::csv)
      AppendCsv(out, *value, copy, values.size() == 1);
    else
      AppendText(out, *value, copy);
  }
  out += '\n';
  writer.End();
}

void WriteCopyRows(std::string& out, std::string_view messages, const Plan::Copy& copy) {
  pg::Frame frame;
  while (pg::NextFrame(messages, limits::kUpstreamMessage, &frame) == pg::FrameState::frame) {
    WriteCopyRow(out, frame.payload, copy);
    messages.remove_prefix(frame.whole.size());
  }
}

void WriteCopyEnd(std::string& out, std::string_view tag) {
  pg::WriteEmpty(out, 'c');
  pg::WriteCommandComplete(out, fmt::format("COPY {}", std::max<int64_t>(pg::TagRows(tag), 0)));
}

std::unexpected<Error> CopyReader::Bad(std::string_view what) const {
  return Fail("22P04", fmt::format("COPY data, line {}: {}", line_, what),
              "Correct this line and send the data again; nothing of it was stored.", "copy.format");
}

// The size of the first row in pending_, without its newline; npos where it is not complete. `next` is where the one
// after it starts.
size_t CopyReader::EndOfRow(size_t* next, bool end) {
  bool csv = copy_.format == Plan::Copy::Format::csv;
  for (; scanned_ < pending_.size(); ++scanned_) {
    char c = pending_[scanned_];
    if (csv) {
      // An escape other than the quote protects the character behind it.
      if (quoted_ && c == copy_.escape && c != copy_.quote) {
        if (scanned_ + 1 == pending_.size() && !end) return std::string::npos;
        ++scanned_;
        continue;
      }
      if (c == copy_.quote) quoted_ = !quoted_;
      if (quoted_) continue;
    } else if (c == '\\') {
      if (scanned_ + 1 == pending_.size() && !end) return std::string::npos;
      ++scanned_;
      continue;
    }
    if (c != '\n' && c != '\r') continue;
    if (c == '\r' && scanned_ + 1 == pending_.size() && !end) return std::string::npos;  // perhaps the start of \r\n
    size_t size = scanned_;
    *next = scanned_ + (c == '\r' && scanned_ + 1 < pending_.size() && pending_[scanned_ + 1] == '\n' ? 2 : 1);
    return size;
  }
  return std::string::npos;
}

Status CopyReader::Take(std::string_view piece, std::vector<CopyValues>* rows) {
  pending_ += piece;
  return Drain(false, rows);
}

Status CopyReader::Finish(std::vector<CopyValues>* rows) {
  ECLUSE_OK(Drain(true, rows));
  if (quoted_) return Bad("a quoted value has no end");
  if (pending_.empty() || ended_) return {};
  std::string last = std::exchange(pending_, {});
  return Line(last, rows);
}

Status CopyReader::Drain(bool end, std::vector<CopyValues>* rows) {
  size_t start = 0;
  size_t next = 0;
  while (!ended_) {
    size_t size = EndOfRow(&next, end);
    if (size == std::string::npos) break;
    ECLUSE_OK(Line(std::string_view(pending_).substr(start, size - start), rows));
    start = next;
    scanned_ = next;
    quoted_ = false;
  }
  if (ended_) start = pending_.size();
  pending_.erase(0, start);
  scanned_ -= std::min(start, scanned_);
  if (pending_.size() > limits::kClientMessage) return Bad("a row is too long");
  return {};
}

Status CopyReader::Line(std::string_view line, std::vector<CopyValues>* rows) {
  ++line_;
  if (skip_header_) {
    skip_header_ = false;
    return {};
  }
  if (line == "\\.") {
    ended_ = true;
    return {};
  }
  CopyValues values;
  values.reserve(columns_);
  ECLUSE_OK(copy_.format == Plan::Copy::Format::csv ? CsvLine(line, &values) : TextLine(line, &values));
  if (values.size() < columns_) return Bad(fmt::format("{} values for {} columns", values.size(), columns_));
  if (values.size() > columns_) return Bad(fmt::format("more values than the {} columns", columns_));
  rows->push_back(std::move(values));
  return {};
}

namespace {

bool Octal(char c) { return c >= '0' && c <= '7'; }

// A backslash sequence of the text format, `at` behind the backslash; moves `at` past it.
char Unescape(std::string_view line, size_t* at) {
  char c = line[(*at)++];
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      break;
  }
  if (Octal(c)) {
    int value = c - '0';
    for (int i = 0; i < 2 && *at < line.size() && Octal(line[*at]); ++i) value = value * 8 + (line[(*at)++] - '0');
    return static_cast<char>(value);
  }
  if (c == 'x' && *at < line.size() && std::isxdigit(static_cast<unsigned char>(line[*at]))) {
    int value = 0;
    for (int i = 0; i < 2 && *at < line.size() && std::isxdigit(static_cast<unsigned char>(line[*at])); ++i) {
      char digit = static_cast<char>(std::tolower(static_cast<unsigned char>(line[(*at)++])));
      value = value * 16 + (digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return static_cast<char>(value);
  }
  return c;
}

}  // namespace

Status CopyReader::TextLine(std::string_view line, CopyValues* values) const {
  size_t at = 0;
  while (true) {
    size_t start = at;
    std::string value;
    while (at < line.size() && line[at] != copy_.delimiter) {
      if (line[at] != '\\') {
        value += line[at++];
        continue;
      }
      if (++at == line.size()) return Bad("a backslash at the end");
      value += Unescape(line, &at);
    }
    if (line.substr(start, at - start) == copy_.null)
      values->push_back(std::nullopt);
    else
      values->push_back(std::move(value));
    if (at == line.size()) return {};
    ++at;
  }
}

Status CopyReader::CsvLine(std::string_view line, CopyValues* values) const {
  size_t at = 0;
  while (true) {
    std::string value;
    bool quoted = false, inside = false;
    for (; at < line.size(); ++at) {
      char c = line[at];
      if (inside && c == copy_.escape && at + 1 < line.size() &&
          (line[at + 1] == copy_.quote || line[at + 1] == copy_.escape)) {
        value += line[++at];
      } else if (c == copy_.quote) {
        inside = !inside;
        quoted = true;
      } else if (!inside && c == copy_.delimiter) {
        break;
      } else {
        value += c;
      }
    }
    if (inside) return Bad("a quoted value has no end");
    if (!quoted && value == copy_.null)
      values->push_back(std::nullopt);
    else
      values->push_back(std::move(value));
    if (at == line.size()) return {};
    ++at;
  }
}

}  // namespace ecluse
