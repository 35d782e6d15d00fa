#include "seal/shuffle_tables.h"

#include <algorithm>

#include "base/limits.h"
#include "policy/catalog.h"
#include "policy/compile.h"
#include "policy/sealed_columns.h"
#include "seal/moving.h"

namespace ecluse {
namespace {

Status CheckTable(Database& owner, const PolicyTable& table, const CatalogTable& real, bool sealed) {
  const std::string name = table.name.Text();
  if (!sealed)
    return CannotMove(name + " does not stand in the database as the policy's `compartment` has it",
                      "run `ecluse seal` first");
  ECLUSE_OK(CheckAlone(owner, real));
  if (!real.referencing.empty())
    return CannotMove(name + " is referred to by the foreign key " + real.referencing.front().name +
                          ", and could not be emptied for a moment",
                      "drop that");
  ECLUSE_TRY(const Rows triggers,
             owner.Query("SELECT tgname FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal AND "
                         "tgenabled <> 'D' AND (tgtype & 36) <> 0 ORDER BY 1",
                         {QuoteTable(table.name)}));  // INSERT 4, TRUNCATE 32
  if (triggers.size() > 0)
    return CannotMove("the trigger " + triggers.Text(0, 0) + " of " + name + " would run for every row",
                      "disable it for the time (ALTER TABLE … DISABLE TRIGGER)");
  return {};
}

// A copy of the rows, put back sorted: unlike UPDATE it leaves no former versions behind, and unlike CLUSTER alone
// nothing that tells which transaction wrote a row first.
Result<uint64_t> WriteAnew(Database& owner, const CatalogTable& real, const std::string& column) {
  std::string names;
  for (const CatalogColumn& one : real.columns) {
    if (!one.generated) names += (names.empty() ? "" : ", ") + QuoteName(one.name);
  }
  const std::string table = QuoteTable(real.name), copy = "pg_temp.\"ecluse shuffle\"";
  ECLUSE_OK(RunOne(
      owner, "CREATE TEMPORARY TABLE \"ecluse shuffle\" ON COMMIT DROP AS SELECT " + names + " FROM ONLY " + table));
  ECLUSE_OK(RunOne(owner, "TRUNCATE ONLY " + table));
  ECLUSE_TRY(const Rows done, owner.Query("WITH done AS (INSERT INTO " + table + " (" + names +
                                          ") OVERRIDING SYSTEM VALUE SELECT " + names + " FROM " + copy + " ORDER BY " +
                                          QuoteName(column) + "::bytea RETURNING 1) SELECT count(*) FROM done"));
  ECLUSE_TRY(const Rows had, owner.Query("SELECT count(*) FROM " + copy));
  if (had.At(0, 0) != done.At(0, 0))
    return CannotMove("rows of " + real.name.Text() + " do not let themselves be written anew",
                      "look for rules and policies of the table that keep them");
  ECLUSE_OK(RunOne(owner, "DROP TABLE " + copy));
  return static_cast<uint64_t>(std::atoll(done.Text(0, 0).c_str()));
}

}  // namespace

Status OrderByPseudonym(Database& owner, const TableName& table, const std::string& column) {
  const std::string index = FittingName("shuffle " + table.name);
  ECLUSE_OK(
      RunOne(owner, "CREATE INDEX " + QuoteName(index) + " ON " + QuoteTable(table) + " (" + QuoteName(column) + ")"));
  ECLUSE_OK(RunOne(owner, "CLUSTER " + QuoteTable(table) + " USING " + QuoteName(index)));
  return RunOne(owner, "DROP INDEX " + QuoteTable({table.schema, index}));
}

Result<std::vector<ShuffledTable>> ShuffleTables(Database& owner, KeyRing& keys, const Policy& policy,
                                                 const std::vector<TableName>& only, const MovingProgress& progress) {
  ECLUSE_OK(BeginMoving(owner, policy, keys, Register::known));
  for (const TableName& name : only) {
    const auto table = policy.tables.find(name);
    if (table == policy.tables.end() || !table->second.linked())
      return CannotMove(name.Text() + " is not among the policy's tables in a compartment", "name one of them");
  }
  std::vector<ShuffledTable> shuffled;
  for (const auto& [name, table] : policy.tables) {
    if (!table.linked() || (!only.empty() && std::ranges::find(only, name) == only.end())) continue;
    if (progress) progress("writing " + name.Text() + " anew", 0, 0);
    ECLUSE_OK(owner.Run("BEGIN"));
    auto rows = [&]() -> Result<uint64_t> {
      // What is there is looked at under the lock.
      ECLUSE_OK(RunOne(owner, "LOCK TABLE " + QuoteTable(name) + " IN ACCESS EXCLUSIVE MODE"));
      ECLUSE_TRY(const Catalog catalog, ReadTableCatalog(owner, policy));
      const auto real = catalog.tables.find(name);
      if (real == catalog.tables.end()) return CannotMove(name.Text() + " is not in the database", "create it");
      ECLUSE_TRY(const auto links, LinksOf(keys, policy, table, real->second));
      ECLUSE_OK(CheckTable(owner, table, real->second, links != nullptr));
      return WriteAnew(owner, real->second, table.subject_columns.front());
    }();
    if (!rows) {
      (void)owner.Run("ROLLBACK");
      return std::unexpected(std::move(rows).error());
    }
    ECLUSE_OK(owner.Run("COMMIT"));
    (void)owner.Run("ANALYZE " + QuoteTable(name));
    shuffled.push_back({name, *rows});
  }
  return shuffled;
}

}  // namespace ecluse
