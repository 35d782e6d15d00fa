// Rows that are past their table's `retention`, deleted while the register is in use, and each person's written down.
// docs/decisions/retain.md.
//
// Each batch is one transaction: rows that nobody else holds are deleted, the ledger is told whose they were, and only
// then it is committed. Interrupted anywhere, nothing has gone that the ledger does not tell of; what was written down
// and not committed is deleted, and written down again, by the next run.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "ledger/deletion.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "seal/retain_target.h"
#include "seal/table_rows.h"
#include "vault/keys.h"

namespace ecluse {

// What there was of a table.
struct RetainCount {
  uint64_t old = 0;       // rows past their retention
  uint64_t undated = 0;   // rows without a date, which are never deleted
  uint64_t nameless = 0;  // of the old ones, those that are about nobody: left, for nobody could be written down
};

struct RetainReport {
  RetainCount count;
  uint64_t deleted = 0;
  std::map<std::string, uint64_t> kept;  // why -> rows
  uint64_t Left() const;                 // old rows that are still there
};

struct RetainOptions {
  std::shared_ptr<const Policy> policy;
  // Writes a deletion into the ledger, durably; what it refuses ends the run.
  std::function<Status(const Deletion&)> tell;
  std::string by;           // who runs it, for the ledger
  MovingProgress progress;  // may be empty
};

// The caller has called BeginMoving(). Refuses a policy that is not applied as it is, what WhatToRetain() refuses, and
// a database whose clock is not this machine's within limits::kRetainClock: rows would be old by a clock that is wrong.
// `now`: microseconds since 1970.
Result<std::vector<RetainTarget>> BeginRetaining(Database& owner, KeyRing& keys, std::shared_ptr<const Policy> policy,
                                                 int64_t now);

Result<RetainCount> CountOld(Database& owner, const RetainTarget& target);
// How many people rows that are old name.
Result<uint64_t> CountPeople(Database& owner, const RetainTarget& target);

// Deletes what is old, as far as it can be. An Error leaves what was committed.
Result<RetainReport> RetainTable(Database& owner, const RetainTarget& target, const RetainOptions& options);

// Why rows stay that PostgreSQL does not delete, by its SQLSTATE and the constraint it names; nullopt where the error
// is not about rows. Holds nothing of their values.
std::optional<std::string> KeptReason(std::string_view sqlstate, std::string_view constraint);

}  // namespace ecluse
