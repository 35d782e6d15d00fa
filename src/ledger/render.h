// From an EntryDraft to the bytes of one entry, all but its sequence number and time, which the writer gives it.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ledger/entry.h"

namespace ecluse {

// Who writes: stands in every entry.
struct EntryOrigin {
  std::string register_name;
  std::string node;
};

// Canonical JSON with two gaps: before `seq_at` comes everything up to the member `seq`, before `time_at` what lies
// between `seq` and `time`.
struct RenderedEntry {
  std::string text;
  size_t seq_at = 0;
  size_t time_at = 0;

  size_t Size() const { return text.size() + kMostAdded; }  // never less than what Complete() appends
  // Appends the whole entry.
  void Complete(std::string& out, uint64_t seq, int64_t time) const;

 private:
  static constexpr size_t kMostAdded = sizeof R"("seq":9007199254740991,"time":9007199254740991,)";
};

// Seals `plain` bound to `associated`: under the key of the day, or of the month.
using Sealer = std::function<Result<std::string>(std::string_view plain, std::string_view associated)>;

// Cuts a draft into drafts that each fit one entry: `subjects` are spread, `rows`, `budget` and what was charged stand
// on the last, the statement's text and literals on the first. One draft comes back unchanged.
std::vector<EntryDraft> SplitDraft(EntryDraft draft);

// Fails where a member is longer than it may be (58030, naming it): cutting who or why would falsify the record.
// What a statement quoted is sealed by `month`, and what is sealed, that included, by `day`.
Result<RenderedEntry> RenderEntry(const EntryDraft& draft, const EntryOrigin& origin, const Sealer& day,
                                  const Sealer& month);

// The `person` entry: introduces `token`; `sealed_id` is the envelope of `space:id` under the person's own key.
RenderedEntry RenderPerson(const SubjectToken& token, std::string_view sealed_id, const EntryOrigin& origin);

// What a sealed member and a person's sealed id are bound to.
std::string EntryBinding(const EntryOrigin& origin, std::string_view salt);
std::string QuotedBinding(const EntryOrigin& origin, std::string_view salt);
std::string PersonBinding(const EntryOrigin& origin, const SubjectToken& token);

}  // namespace ecluse
