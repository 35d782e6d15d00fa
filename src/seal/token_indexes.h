// Indexes over columns of tokens, which take the place of those over values that are moved.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "policy/catalog.h"
#include "seal/moving.h"

namespace ecluse {

struct Index {
  std::string name;
  std::vector<std::string> columns;
  bool unique = false, valid = true;
  friend bool operator==(const Index&, const Index&) = default;
};

// "a", "b"
std::string NameList(const std::vector<std::string>& names);

// Those of a table that stand and read one of these columns.
Result<std::vector<Index>> IndexesOver(Database& owner, const MovingTable& table,
                                       const std::vector<std::string>& columns);

// The unique index that takes the place of a key over what is moved: over tokens, or on the way back over values.
Index InPlaceOf(const CatalogKey& key, const MovingTable& table);

// Makes those of a table that is moved in, beside those who use it. Refuses values that a unique key tells apart and
// their tokens do not.
Status MakeIndexes(Database& owner, const MovingTable& table, const CatalogTable& real, const SealOptions& options);

}  // namespace ecluse
