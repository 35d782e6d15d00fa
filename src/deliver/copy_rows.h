// Rows in COPY's text and CSV formats (PostgreSQL manual, "COPY", File Formats), made from rows in text format and read
// back into values. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pgwire/codec.h"
#include "pgwire/copy_format.h"
#include "plan/plan.h"

namespace ecluse {

// Appends CopyOutResponse and, where `copy` asks for one, the header line.
void WriteCopyStart(std::string& out, const Plan::Copy& copy, std::span<const pg::FieldDescription> columns);
// Appends one CopyData message for the DataRow of this payload, whose values are in text format.
void WriteCopyRow(std::string& out, std::string_view payload, const Plan::Copy& copy);
// The same for a run of DataRow messages.
void WriteCopyRows(std::string& out, std::string_view messages, const Plan::Copy& copy);
// Appends CopyDone and CommandComplete `COPY n`, n being the number at the end of `tag`.
void WriteCopyEnd(std::string& out, std::string_view tag);

// Reads what a client sends in COPY FROM STDIN, in pieces of any size. A row may span pieces and messages.
class CopyReader {
 public:
  CopyReader(const Plan::Copy& copy, size_t columns)
      : copy_(copy), row_end_(copy), columns_(columns), skip_header_(copy.header) {}

  // Takes a piece; complete rows are appended to `rows`. An Error (22P04) names the line.
  Status Take(std::string_view piece, std::vector<CopyValues>* rows);
  // The end of the data: a last line without a newline counts.
  Status Finish(std::vector<CopyValues>* rows);
  // Bytes held of an unfinished row.
  size_t held() const { return pending_.size(); }
  int64_t line() const { return line_; }

 private:
  Status Line(std::string_view line, std::vector<CopyValues>* rows);
  Status TextLine(std::string_view line, CopyValues* values) const;
  Status Drain(bool end, std::vector<CopyValues>* rows);
  std::unexpected<Error> Bad(std::string_view what) const;

  Plan::Copy copy_;
  CopyRowEnd row_end_;
  size_t columns_;
  bool skip_header_;
  bool ended_ = false;  // the end-of-data marker `\.` was seen
  int64_t line_ = 0;
  std::string pending_;
};

}  // namespace ecluse
