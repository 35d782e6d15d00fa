// What of a person stands in tables with `erasure: per_person`, taken out of the register.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "vault/keys.h"

namespace ecluse {

// Not thread-safe; `owner` must outlive it. The caller has called BeginMoving().
class ErasedRows {
 public:
  // The rows of `subject` (`space:id`). Refuses, with what to do: a policy that the database does not have as it is
  // (columns that it seals and the database does not, or that are not there), triggers that would see what goes, and
  // rows that do not let themselves be cleared: that is tried, and taken back.
  static Result<ErasedRows> Find(Database& owner, const KeyRing& keys, const Policy& policy,
                                 const std::string& subject);

  // How many of them hold anything that Clear() would take away.
  uint64_t count() const { return count_; }
  // Sets to NULL their blind indexes, the columns that the policy names for it, and what is sealed in them; where that
  // is NOT NULL, to an envelope that nobody can open. In one transaction for each compartment, with the tables locked
  // against others who write, so that what these were writing is met too; 55P03 where they do not end. How many rows.
  Result<uint64_t> Clear() { return Run("COMMIT"); }

 private:
  struct Part {
    std::string compartment;
    std::string table, set, where, left;                  // SQL
    std::vector<std::optional<std::string>> id, cleared;  // parameters: of `where` and `left`, and behind them of `set`
  };
  explicit ErasedRows(Database& owner) : owner_(&owner) {}
  Result<uint64_t> Run(const char* end);
  Result<uint64_t> RunIn(const std::string& compartment, const char* end);

  Database* owner_;
  std::vector<Part> parts_;
  uint64_t count_ = 0;
};

}  // namespace ecluse
