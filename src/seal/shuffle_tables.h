// Rows of tables in compartments, written anew in no order and by one transaction: neither where a row stands nor which
// transaction wrote it tells which row of another table was written with it (docs/decisions/compartments.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "seal/table_rows.h"
#include "vault/keys.h"

namespace ecluse {

// The rows in the order of the pseudonyms in that column, in the caller's transaction, which then writes all of them
// anew: this alone keeps the numbers of the transactions that wrote them.
Status OrderByPseudonym(Database& owner, const TableName& table, const std::string& column);

struct ShuffledTable {
  TableName name;
  uint64_t rows = 0;
};
// Those among `only` (empty: all) of the policy's tables in compartments, one after the other, each in one transaction
// with the table locked: killed at any point, it is either as before or done. Refuses, with what to do: tables that are
// not sealed as the policy has it; that others refer to by foreign keys, or with triggers of INSERT; a lock that is not
// to be had (55P03). Statements under a snapshot of before may find a table empty, as behind TRUNCATE (PostgreSQL
// manual, MVCC caveats).
Result<std::vector<ShuffledTable>> ShuffleTables(Database& owner, KeyRing& keys, const Policy& policy,
                                                 const std::vector<TableName>& only, const MovingProgress& progress);

}  // namespace ecluse
