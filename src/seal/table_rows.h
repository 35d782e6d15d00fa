// The rows of a table in batches, and what is made of them written back while the register is in use: in the order of
// the primary key, and only where a row is still the version that was read.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "policy/catalog.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "vault/keys.h"
#include "vault/link.h"

namespace ecluse {

// The trigger by which `ecluse seal` marks rows that change; behind all others: by name is the order in which they
// fire.
inline constexpr std::string_view kMarkTrigger = "~ecluse_mark";

// What it is at: rows done in this run, of about so many (0: not known).
using MovingProgress = std::function<void(const std::string& what, uint64_t done, uint64_t all)>;

// What has to be known of a table to go through it.
struct BatchedTable {
  TableName name;
  const PolicyTable* policy = nullptr;
  std::vector<std::pair<std::string, std::string>> key;  // of the primary key: name and type
  std::vector<Oid> subject_types;
  std::string compartment{kMainCompartment};  // whose keys its sealed values are under, or are to be
  std::shared_ptr<const Links> links;         // null where its subject columns hold ids; else pseudonyms
  uint64_t rows = 0;                          // about so many
  int64_t batch = 1;                          // rows at a time

  std::string Sql() const { return QuoteTable(name); }
};

// Refuses, with what to do: tables that are no plain ones, inherit, or have no primary key; a subject that no column of
// their own names; triggers that would run for every row. 58030 where the linking key of their pseudonyms is not there.
Result<BatchedTable> DescribeTable(Database& owner, const KeyRing& keys, const Policy& policy, const PolicyTable& table,
                                   const CatalogTable& real);

// The pseudonyms that stand in the subject column; null where ids do.
Result<std::shared_ptr<const Links>> LinksOf(const KeyRing& keys, const Policy& policy, const PolicyTable& table,
                                             const CatalogTable& real);

// Refuses tables that are no plain ones, inherit, or are inherited from.
Status CheckAlone(Database& owner, const CatalogTable& real);

// Refuses enabled triggers of UPDATE, other than kMarkTrigger, with what to do.
Status CheckUpdateTriggers(Database& owner, const TableName& table);

// Says no to a table, with what to do.
std::unexpected<Error> CannotMove(std::string what, std::string hint);

// Has the owner's connection print values as they are read back, see every row that is committed, stay open while it
// waits, and wait for locks no longer than limits::kSealLock. Takes the register's lock of those who move sealed
// values, held until the connection ends; refuses where another has it, and where the gate's own login, to the policy's
// database, does not find it held: then the owner's connection leads elsewhere. Where no policy was applied yet there
// is no login to see it by: `known` refuses that too. Then takes the ring of keys as it is now: nobody destroys one
// while the lock is held.
enum class Register { known, may_be_new };
Status BeginMoving(Database& owner, const Policy& policy, KeyRing& keys, Register which);

// The bytes of a bytea as PostgreSQL prints it.
Result<std::string> ByteaOf(std::string_view text);

// Not thread-safe; `owner` and `table` must outlive it.
class RowBatches {
 public:
  // Of each row `t` for which `where` holds: the expressions `values`.
  RowBatches(Database& owner, const BatchedTable& table, const std::vector<std::string>& values, std::string where);

  // Reads the rows behind those read last; 0 at the end.
  Result<int> Next();
  // Of the rows read last. Views live until the next call of Next().
  bool Null(int row, size_t value) const { return rows_->Null(row, Column(value)); }
  std::string_view Value(int row, size_t value) const { return rows_->At(row, Column(value)); }
  // Its ctid.
  std::string_view Place(int row) const { return rows_->At(row, static_cast<int>(table_.key.size())); }
  // `space:id` of whom the row is about; refuses a row about nobody.
  Result<std::string> Subject(int row) const;

  struct Written {
    std::string name, array, cast;  // the column, the type of an array of its values, ::type or nothing
    std::vector<std::optional<std::string>> values;  // as text, for each row that was read
  };
  // Writes columns of the rows read last, those that have not changed since. How many.
  Result<uint64_t> Write(const std::vector<Written>& columns);

 private:
  int Column(size_t value) const {
    return static_cast<int>(table_.key.size() + 2 + table_.subject_types.size() + value);
  }

  Database& owner_;
  const BatchedTable& table_;
  std::string select_, where_, order_;
  std::optional<Rows> rows_;
  std::vector<std::string> last_;  // the primary key of the row read last
};

}  // namespace ecluse
