// What runs of `ecluse seal` gathered in tables, and no run goes on with: the policy has changed since.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"

namespace ecluse {

struct LeftOver {
  TableName table;
  std::vector<std::string> columns;  // what was gathered, and its tokens
  bool clear = false;                // there are values in clear among it, beside the sealed ones
};

// In every table of the database, whether the policy tells of it or not.
Result<std::vector<LeftOver>> LeftOvers(Database& owner, const Policy& policy);

// Drops it, with the trigger that marks changed rows, which writes to it. For a transaction of the caller's, in which
// that trigger is made anew where the table has more to move.
Status DropLeftOver(Database& owner, const LeftOver& left);

}  // namespace ecluse
