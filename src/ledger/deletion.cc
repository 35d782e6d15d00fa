#include "ledger/deletion.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/log.h"
#include "ledger/json.h"

namespace ecluse {

namespace json = boost::json;

std::vector<Deletion> SplitDeletion(Deletion deletion) {
  std::vector<Deletion> parts;
  std::vector<std::string> people = std::exchange(deletion.people, {});
  const int64_t rows = std::exchange(deletion.rows, 0);
  size_t bytes = 0;
  for (std::string& person : people) {
    const size_t size = JsonStringSize(person) + 1;
    if (parts.empty() || bytes + size > limits::kDeletionPeople ||
        parts.back().people.size() == limits::kEntrySubjects) {
      parts.push_back(deletion);
      bytes = 0;
    }
    bytes += size;
    parts.back().people.push_back(std::move(person));
  }
  if (!parts.empty()) parts.back().rows = rows;
  return parts;
}

json::object DeletionRequest(const Deletion& deletion) {
  return {{"command", "write-down"},
          {"kind", EntryKindName(EntryKind::erasure)},
          {"table", deletion.table},
          {"space", deletion.space},
          {"people", json::array(deletion.people.begin(), deletion.people.end())},
          {"rows", deletion.rows},
          {"reason", deletion.reason}};
}

Result<Deletion> ReadDeletion(const json::object& request) {
  Deletion out;
  out.table = TextOf(request, "table");
  out.space = TextOf(request, "space");
  out.reason = TextOf(request, "reason");
  const json::value* rows = request.if_contains("rows");
  const json::value* people = request.if_contains("people");
  bool good = !out.table.empty() && !out.space.empty() && out.space.size() <= limits::kSubjectId &&
              out.reason.starts_with(kRetentionEntry) && out.reason.size() <= limits::kEntryMember &&
              Printable(out.reason) == out.reason && rows != nullptr && rows->is_int64() && rows->get_int64() >= 0 &&
              people != nullptr && people->is_array() && !people->get_array().empty() &&
              people->get_array().size() <= limits::kEntrySubjects;
  if (good) out.rows = rows->get_int64();
  for (size_t i = 0; good && i < people->get_array().size(); ++i) {
    const json::value& person = people->get_array()[i];
    good = person.is_string() && !person.get_string().empty() && person.get_string().size() <= limits::kSubjectId;
    if (good) out.people.emplace_back(std::string_view(person.get_string()));
  }
  if (!good)
    return Fail(sqlstate::kInvalidParameter, "that is no deletion to be written down", "", "control.write-down");
  return out;
}

Status WriteDeletion(Ledger& ledger, const KeyRing& keys, const Deletion& deletion, const std::string& policy) {
  std::vector<PersonName> people;
  for (const std::string& id : deletion.people) {
    PersonName& person = people.emplace_back(PersonName{{}, deletion.space, id});
    keys.SubjectKey(person.space, person.id, person.key.data());
  }
  EntryDraft draft;
  draft.kind = EntryKind::erasure;
  draft.policy = policy;
  draft.door = "command";
  draft.reason = deletion.reason;
  draft.rows = deletion.rows;
  EntrySubjects& subjects = draft.subjects.emplace_back();
  subjects.table = deletion.table;
  ECLUSE_TRY(subjects.returned, ledger.TokensOf(people));
  if (auto written = ledger.AppendAndWait(std::move(draft)); !written)
    return std::unexpected(std::move(written).error());
  return {};
}

}  // namespace ecluse
