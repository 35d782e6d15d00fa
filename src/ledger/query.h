// Finding entries in a ledger, through the index and behind it: what `who-saw` and `dossier` stand on.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "ledger/entries.h"
#include "ledger/facts.h"
#include "ledger/index.h"
#include "ledger/names.h"
#include "tlog/checkpoint.h"
#include "vault/keys.h"

namespace ecluse {

// All that is set must hold.
struct Query {
  std::optional<SubjectToken> names;  // the entry names this person
  std::string principal, role, address, organisation;
  int64_t from = 0, to = INT64_MAX;  // microseconds since 1970; `to` not included
};

// What an answer rests on.
struct AnswerBasis {
  std::string origin;
  uint64_t size = 0;       // entries it is complete to
  int64_t last_time = 0;   // of the last of them
  int64_t first_time = 0;  // of the first
  std::string note;        // the last checkpoint; empty where there is none yet
  uint64_t covered = 0;    // entries under it
};

// A ledger as it is at this moment, also beside the gate that writes it. Takes no lock and changes nothing. Not
// thread-safe.
class LedgerQuery {
 public:
  static Result<std::unique_ptr<LedgerQuery>> Open(const std::string& data_dir, KeyRing& keys);

  const AnswerBasis& basis() const { return basis_; }
  const SegmentFolder& folder() const { return folder_; }

  // The token of `space:id`; nullopt where no entry names such a person.
  Result<std::optional<SubjectToken>> TokenOf(std::string_view space, std::string_view id);
  // `space:id` of each, in their order, or nullopt where the person's key is gone.
  Result<std::vector<std::optional<std::string>>> NamesOf(std::span<const SubjectToken> tokens) {
    return names_.NamesOf(tokens);
  }

  // Every entry that fulfils `query`, in order. `closed` counts those that might, but whose sealed part does not open
  // with the keys that are here.
  Status Find(const Query& query, const std::function<Status(EntryFacts)>& visit, uint64_t* closed);

 private:
  LedgerQuery(SegmentFolder folder, const std::string& data_dir, KeyRing& keys);
  Result<std::vector<uint64_t>> Candidates(const Query& query, uint64_t first, uint64_t end);

  SegmentFolder folder_;
  KeyRing& keys_;
  Entries entries_;
  IndexReader index_;
  Names names_;
  AnswerBasis basis_;
};

}  // namespace ecluse
