// What is written down of an event, before the ledger gives it a place. Format: docs/ledger_format.md.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ecluse {

// What memory and indexes know a person by: HMAC of `space:id`, see KeyRing::SubjectKey.
using SubjectKey = std::array<uint8_t, 16>;
// What the ledger knows a person by: random, introduced by a `person` entry.
using SubjectToken = std::array<uint8_t, 16>;

// A person as statements and rows name them: `key` is KeyRing::SubjectKey() of the other two, which the caller keeps.
struct PersonName {
  SubjectKey key;
  std::string_view space, id;
};

struct SubjectKeyHash {
  using is_avalanching = void;  // keys and tokens are uniform
  size_t operator()(const SubjectKey& key) const {
    size_t h;
    static_assert(sizeof h <= sizeof key);
    __builtin_memcpy(&h, key.data(), sizeof h);  // already uniform
    return h;
  }
};

enum class EntryKind {
  disclosure,
  lookup,
  statistic,
  collection,
  alteration,
  erasure,
  refusal,
  failure,
  session,
  policy,
  key,
  approval,
  alert,
  lock,
  person,
  retention,
  start
};
std::string_view EntryKindName(EntryKind kind);

// How the reason of an `erasure` entry begins whose people have lost their keys by it; when, and by when every copy
// has, follow.
inline constexpr std::string_view kErasedByKey = "erased by key at ";

enum class EntryPart { whole, first, part, last };

// One object of the sealed `subjects` list: one table reference of the statement.
struct EntrySubjects {
  std::string table;  // "taj.person"
  std::vector<SubjectToken> returned;
  std::vector<SubjectToken> asked;
  std::vector<std::pair<std::string, std::string>> fields;  // column -> mask
};

struct EntryDraft {
  EntryKind kind = EntryKind::disclosure;
  EntryPart part = EntryPart::whole;
  std::string policy;  // digest
  std::string principal, organisation, role;
  std::string door = "sql", session;
  std::string purpose;
  uint64_t fingerprint = 0;  // of the statement; 0 and empty text where there is none
  std::string statement;     // literals replaced
  int64_t rows = 0;
  int64_t count = 0;                                    // of repeated refusals in one entry; 0 otherwise
  std::vector<std::pair<std::string, int64_t>> budget;  // window -> what was left
  std::string reason;
  // How budgets are rebuilt from the ledger: what this event was charged.
  int64_t lookups = 0;
  int64_t nameless = 0;  // people charged without a name: arms that came back empty
  int64_t statistic_rows = 0;
  // Sealed.
  std::vector<EntrySubjects> subjects;
  std::string reference, address, actor;
  std::string message;  // of a refusal, as the client was told: it may quote the statement
  std::vector<std::string> literals;
};

}  // namespace ecluse
