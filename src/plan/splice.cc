#include "plan/splice.h"

#include <algorithm>
#include <tuple>

namespace ecluse {

void Splices::Replace(size_t begin, size_t end, std::string sql) {
  for (const Edit& edit : edits_) {
    // The same reference is seen again where a clause is walked twice (DISTINCT as GROUP BY); one edit is enough.
    if (begin != end && edit.begin == begin && edit.end == end && edit.sql == sql) return;
  }
  edits_.push_back({begin, end, std::move(sql)});
}

Result<std::string> Splices::Apply(std::string_view text, std::vector<InsertedRange>* inserted) const {
  std::vector<const Edit*> order;
  order.reserve(edits_.size());
  for (const Edit& edit : edits_) order.push_back(&edit);
  // Insertions before a replacement at the same place, otherwise as they were asked for.
  std::ranges::sort(order, {},
                    [](const Edit* edit) { return std::tuple(edit->begin, edit->begin != edit->end, edit); });
  std::string out;
  out.reserve(text.size() + 256);
  size_t at = 0;
  for (const Edit* edit : order) {
    if (edit->begin < at || edit->end > text.size()) {
      return Fail(sqlstate::kNotSupported, "this statement cannot be rewritten safely",
                  "Write it with one clause a line, or in simpler parts.", "plan.splice", "overlapping edits");
    }
    out += text.substr(at, edit->begin - at);
    const size_t begin = out.size();
    out += edit->sql;
    if (inserted != nullptr && out.size() > begin) inserted->push_back({begin, out.size()});
    at = edit->end;
  }
  out += text.substr(at);
  return out;
}

}  // namespace ecluse
