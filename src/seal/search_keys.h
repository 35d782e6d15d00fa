// Tokens of blind indexes under another search key, while no gate runs. docs/decisions/rotation.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "policy/sealed_columns.h"
#include "seal/reencrypt.h"
#include "seal/table_rows.h"
#include "vault/keys.h"

namespace ecluse {

// One sealed column with the columns of its tokens.
struct SearchedColumn {
  std::string name;
  ValueType type;
  Sealing search;
  std::vector<TokenColumn> tokens;
};

// A table with those of its sealed columns that have blind indexes.
struct SearchedTable {
  const BatchedTable* table = nullptr;
  std::vector<SearchedColumn> columns;
};

// Those of `tables`, which must outlive them. Refuses where policy and database differ in what is sealed, or found by
// what.
Result<std::vector<SearchedTable>> TablesToSearchAnew(Database& owner, const Policy& policy,
                                                      const std::vector<SealedTable>& tables);

// The compartments of the policy in which the database holds no pseudonym.
Result<std::vector<std::string>> UnlinkedCompartments(Database& owner, const Policy& policy);

// Makes every token anew from the value beside it, under the search key its compartment has now, and has its column say
// so: each table in one transaction, locked against writers. Tables that say so already are left as they are.
// Interrupted, it is run again. Values of the erased get none. How many rows. Refuses values that do not open.
Result<uint64_t> MakeTokensAnew(Database& owner, const KeyRing& keys, const Policy& policy,
                                const std::vector<SearchedTable>& tables, const MovingProgress& progress);

}  // namespace ecluse
