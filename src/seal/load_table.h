// Files of rows loaded into a table in bulk, sealed on the way. docs/decisions/load.md.
//
// Rows are written in batches, each in one transaction with a note of how far the file is done; rows that do not go
// into the table go into a side file, which is durable before the transaction that counts them. Whatever it is
// interrupted at, it is run again and goes on: every row of the file is then in the table once, or in the side file
// once.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "seal/table_rows.h"
#include "vault/keys.h"

namespace ecluse {

struct LoadOptions {
  std::shared_ptr<const Policy> policy;
  TableName table;
  std::string path;  // of the file; absolute
  // Writes into the ledger what is done: before the first row is written, and once all are; `rows` are then those that
  // were loaded. What it refuses ends the load.
  std::function<Status(const std::string& what, uint64_t rows)> tell;
  MovingProgress progress;  // may be empty
};

struct LoadReport {
  bool before = false;  // all of this file was loaded by a former run; nothing was done
  uint64_t loaded = 0, rejected = 0;
  std::string rejects;  // the side file's path
};

// The caller has called BeginMoving(), and a gate that runs knows the keys in `keys`.
// Refuses, before anything is written: a table that is none of the policy's guarded ones, a policy that is not applied
// as it is, an unfinished `ecluse seal` of the table, triggers that would change a sealed row behind its envelopes, and
// a file that LoadFile, RowReader::Csv() and RejectFile refuse. Later errors (the connection, a lock, disks) leave what
// was committed.
Result<LoadReport> LoadTable(Database& owner, KeyRing& keys, const LoadOptions& options);

}  // namespace ecluse
