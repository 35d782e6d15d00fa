// What an entry says, read back into words: for the index, for budgets, and for whoever asks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ledger/entry.h"
#include "vault/keys.h"

namespace ecluse {

struct EntryFacts {
  uint64_t seq = 0;
  int64_t time = 0;  // microseconds since 1970
  std::string kind, part;
  std::string principal, organisation, role;
  std::string door, session, purpose, reason, policy;
  std::string statement;  // its start, literals replaced
  int64_t rows = 0;
  int64_t count = 0;
  int64_t lookups = 0, nameless = 0, statistic_rows = 0;  // what it was charged beside people
  bool has_charges = false;
  bool sealed = false;  // it seals something
  bool opened = false;  // and what that is stands below
  std::string reference, address, actor, message;
  std::vector<std::string> literals;
  std::vector<EntrySubjects> subjects;

  // Whether values of the people under `returned` were released, or may have been. Else (a result that was judged as a
  // whole and refused, or broke off) it may have told that they are there, and their values were not shown.
  bool ShowsValues() const;
  // Everybody it names, each once, in the order of tokens.
  std::vector<SubjectToken> People() const;
};

// Of an entry as stored, opened where these keys do. Fails as the other one.
Result<EntryFacts> ReadFacts(uint64_t seq, std::string_view json, KeyRing& keys);
// Of an entry as stored and of what it seals, `opened` (empty: closed). Fails where one of them is not what a gate
// writes; members that it does not know are passed over.
Result<EntryFacts> ReadFacts(uint64_t seq, std::string_view json, std::string_view opened);

}  // namespace ecluse
