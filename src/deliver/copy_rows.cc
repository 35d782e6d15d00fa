#include "deliver/copy_rows.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/limits.h"

namespace ecluse {
namespace {

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
      AppendCopyText(out, columns[i].name, copy.delimiter);
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
      AppendCopyText(out, *value, copy.delimiter);
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

Status CopyReader::Take(std::string_view piece, std::vector<CopyValues>* rows) {
  pending_ += piece;
  return Drain(false, rows);
}

Status CopyReader::Finish(std::vector<CopyValues>* rows) {
  ECLUSE_OK(Drain(true, rows));
  if (row_end_.quoted()) return Bad("a quoted value has no end");
  if (pending_.empty() || ended_) return {};
  std::string last = std::exchange(pending_, {});
  return Line(last, rows);
}

Status CopyReader::Drain(bool end, std::vector<CopyValues>* rows) {
  size_t start = 0;
  size_t next = 0;
  while (!ended_) {
    const std::string_view left = std::string_view(pending_).substr(start);
    const size_t size = row_end_.Find(left, &next, end);
    if (size == std::string::npos) break;
    ECLUSE_OK(Line(left.substr(0, size), rows));
    start += next;
  }
  if (ended_) start = pending_.size();
  pending_.erase(0, start);
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
  if (copy_.format == Plan::Copy::Format::csv) {
    if (!ReadCsvRow(line, copy_, &values)) return Bad("a quoted value has no end");
  } else {
    ECLUSE_OK(TextLine(line, &values));
  }
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

}  // namespace ecluse
