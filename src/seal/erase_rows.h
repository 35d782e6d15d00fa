// What of a person stands in tables with `erasure: per_person`, taken out of the register.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"

namespace ecluse {

// Not thread-safe; `owner` and `policy` must outlive it. The caller has called BeginMoving().
class ErasedRows {
 public:
  // The rows of `subject` (`space:id`). Refuses a policy that the database does not have as it is: columns that it
  // seals and the database does not, or that are not there.
  static Result<ErasedRows> Find(Database& owner, const Policy& policy, const std::string& subject);

  // How many of them hold anything that Clear() would take away.
  uint64_t count() const { return count_; }
  // Sets to NULL their blind indexes, the columns that the policy names for it, and what is sealed in them, but in
  // columns that are NOT NULL: there it stays, and opens no more once its key is gone. In one transaction; 55P03 where
  // others hold the rows. How many rows.
  Result<uint64_t> Clear();

 private:
  struct Part {
    std::string table, set, where;  // SQL
    std::vector<std::string> id;    // its parameters
  };
  explicit ErasedRows(Database& owner) : owner_(&owner) {}

  Database* owner_;
  std::vector<Part> parts_;
  uint64_t count_ = 0;
};

}  // namespace ecluse
