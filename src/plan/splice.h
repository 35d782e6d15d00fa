// Edits of a text at byte offsets, kept in order, applied at once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ecluse {

// Half-open byte ranges of the spliced text that the gate wrote itself.
struct InsertedRange {
  size_t begin = 0, end = 0;
};

class Splices {
 public:
  void Insert(size_t at, std::string sql) { Replace(at, at, std::move(sql)); }
  void Replace(size_t begin, size_t end, std::string sql);
  bool empty() const { return edits_.empty(); }

  // The text with all edits made; insertions at one place keep the order in which they were asked for. Overlapping
  // replacements are an error of ours and refuse the statement. `inserted` (may be null) gets what came from the edits.
  Result<std::string> Apply(std::string_view text, std::vector<InsertedRange>* inserted) const;

 private:
  struct Edit {
    size_t begin, end;
    std::string sql;
  };
  std::vector<Edit> edits_;
};

}  // namespace ecluse
