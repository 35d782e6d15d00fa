// Sealed values under another data key, while the register is in use; and under which keys they are.
// docs/decisions/rotation.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "seal/table_rows.h"
#include "vault/keys.h"

namespace ecluse {

// The values of one sealed column under one data key.
struct KeyUse {
  TableName table;
  std::string column;
  uint64_t values = 0;
};

// For each key id that an envelope names, in hexadecimal: where, in every table and materialized view of the database
// that has columns of a sealed type. Reads all of them. Envelopes that were copied as plain bytea, into arrays or into
// temporary tables are not seen.
Result<std::map<std::string, std::vector<KeyUse>>> KeysInUse(Database& owner);

// The tables that have sealed columns, locked against writers until the transaction that the caller has begun ends.
// Refuses materialized views of them, which cannot be locked.
Status LockSealedTables(Database& owner);

// A table with its sealed columns.
struct SealedTable {
  BatchedTable table;
  std::vector<std::string> columns;
};
// Those of the register, which `policy` must outlive. Refuses tables that are not in the policy, that `ecluse seal` is
// not through with, materialized views, and what DescribeTable() refuses.
Result<std::vector<SealedTable>> TablesToReencrypt(Database& owner, const KeyRing& keys, const Policy& policy);

// Seals anew, under its compartment's newest data key, every value that is under another: in batches, each row only
// while it is the version that was read, until none is left. Every program that seals must know that key. Whatever it
// is interrupted at, it is run again. Rows that others hold are left to a later pass. How many rows.
// Refuses values that do not open.
Result<uint64_t> Reencrypt(Database& owner, const KeyRing& keys, const Policy& policy,
                           const std::vector<SealedTable>& tables, const MovingProgress& progress);

}  // namespace ecluse
