// Spreading the people of one event over several entries.
#include <algorithm>

#include "base/limits.h"
#include "ledger/json.h"
#include "ledger/render.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

constexpr size_t kTokenBytes = 25;  // 22 characters, quotes and a comma
constexpr size_t kTableBytes = 64;  // brackets and member names of one table reference

// As they stand among what is sealed: in an envelope, in base64url.
size_t LiteralBytes(const EntryDraft& draft) {
  size_t size = 0;
  for (const std::string& literal : draft.literals) {
    size += JsonStringSize(literal) + 1;
    if (size > limits::kEntryLiterals) {
      size = limits::kEntryLiterals;
      break;
    }
  }
  return size == 0 ? 0 : (size + kEnvelopeOverhead) * 4 / 3;
}

// Packs subjects in order into as few parts as fit.
class Packer {
 public:
  explicit Packer(size_t first_used) : used_(first_used) { parts_.emplace_back(); }

  // Whether all of them fit the first part.
  static bool FitOne(size_t used, const std::vector<EntrySubjects>& tables) {
    size_t tokens = 0;
    for (const EntrySubjects& table : tables) {
      const size_t named = table.asked.size() + table.returned.size();
      used += HeadSize(table) + FieldsSize(table) + named * kTokenBytes;
      tokens += named;
    }
    return used <= limits::kEntrySealed && tokens <= limits::kEntrySubjects;
  }

  void Add(const EntrySubjects& table) {
    // What was shown stands in each part, so that each tells it of its people; where it takes half an entry by itself,
    // in the first parts alone.
    repeats_ = FieldsSize(table) <= limits::kEntrySealed / 2;
    Begin(table);
    if (!repeats_) {
      for (const auto& field : table.fields) {
        size_t size = FieldSize(field);
        Room(table, size, 0);
        current().fields.push_back(field);
        used_ += size;
      }
    }
    for (const SubjectToken& token : table.asked) {
      Room(table, kTokenBytes, 1);
      current().asked.push_back(token);
    }
    for (const SubjectToken& token : table.returned) {
      Room(table, kTokenBytes, 1);
      current().returned.push_back(token);
    }
  }

  std::vector<std::vector<EntrySubjects>> Take() { return std::move(parts_); }

 private:
  EntrySubjects& current() { return parts_.back().back(); }

  static size_t HeadSize(const EntrySubjects& table) { return kTableBytes + JsonStringSize(table.table); }
  static size_t FieldSize(const std::pair<std::string, std::string>& field) {
    return JsonStringSize(field.first) + JsonStringSize(field.second) + 2;
  }
  static size_t FieldsSize(const EntrySubjects& table) {
    size_t size = 0;
    for (const auto& field : table.fields) size += FieldSize(field);
    return size;
  }

  void Begin(const EntrySubjects& table) {
    size_t size = HeadSize(table) + (repeats_ ? FieldsSize(table) : 0);
    if (!parts_.back().empty() && used_ + size > limits::kEntrySealed) NextPart();
    used_ += size;
    parts_.back().push_back({table.table, {}, {}, {}});
    if (repeats_) current().fields = table.fields;
  }
  // Goes on in a new part, under the same table, where the next item would not fit.
  void Room(const EntrySubjects& table, size_t size, size_t tokens) {
    if (used_ + size > limits::kEntrySealed || tokens_ + tokens > limits::kEntrySubjects) {
      const EntrySubjects& begun = current();
      if ((repeats_ || begun.fields.empty()) && begun.asked.empty() && begun.returned.empty()) parts_.back().pop_back();
      NextPart();
      Begin(table);
    }
    if (tokens > 0) {
      used_ += size;
      tokens_ += tokens;
    }
  }
  void NextPart() {
    parts_.emplace_back();
    used_ = 0;
    tokens_ = 0;
  }

  std::vector<std::vector<EntrySubjects>> parts_;
  size_t used_ = 0;
  size_t tokens_ = 0;
  bool repeats_ = true;  // the fields of the table at hand, in every part
};

EntryPart PartAt(EntryPart whole, size_t i, size_t count) {
  bool opens = whole == EntryPart::whole || whole == EntryPart::first;
  bool closes = whole == EntryPart::whole || whole == EntryPart::last;
  if (i == 0 && opens) return EntryPart::first;
  if (i + 1 == count && closes) return EntryPart::last;
  return EntryPart::part;
}

}  // namespace

std::vector<EntryDraft> SplitDraft(EntryDraft draft) {
  std::vector<EntryDraft> out;
  const size_t literals = LiteralBytes(draft);
  if (Packer::FitOne(literals, draft.subjects)) {
    out.push_back(std::move(draft));
    return out;
  }
  Packer packer(literals);
  for (const EntrySubjects& table : draft.subjects) packer.Add(table);
  auto packed = packer.Take();
  if (packed.size() == 1) {
    out.push_back(std::move(draft));
    return out;
  }
  draft.subjects.clear();
  for (size_t i = 0; i < packed.size(); ++i) {
    EntryDraft& part = out.emplace_back(draft);
    part.part = PartAt(draft.part, i, packed.size());
    part.subjects = std::move(packed[i]);
    if (i > 0) {
      part.statement.clear();
      part.literals.clear();
    }
    if (i + 1 < packed.size()) {
      part.rows = part.count = part.lookups = part.nameless = part.statistic_rows = 0;
      part.budget.clear();
    }
  }
  return out;
}

}  // namespace ecluse
