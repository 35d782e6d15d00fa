#include "seal/seal_tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"
#include "policy/apply.h"
#include "policy/catalog.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"
#include "seal/gathering.h"
#include "seal/left_overs.h"
#include "seal/moving.h"
#include "seal/shuffle_tables.h"
#include "seal/table_sealer.h"
#include "seal/token_indexes.h"

namespace ecluse {
namespace {

Result<uint64_t> CountUnmoved(Database& owner, const MovingTable& table) {
  ECLUSE_TRY(const Rows rows, owner.Query("SELECT count(*) FROM " + table.Sql() + " AS t WHERE " + table.Unmoved("t")));
  return static_cast<uint64_t>(std::atoll(rows.Text(0, 0).c_str()));
}

Status Change(Database& owner, const MovingTable& table, const CatalogTable& real, std::vector<std::string>* dropped) {
  ECLUSE_OK(DropMarker(owner, table.name));
  // Whatever indexes the clear column goes: over envelopes it would find nothing.
  std::vector<std::string> names;
  for (const Moving& column : table.columns) {
    if (!column.search.link) names.push_back(column.name);  // one over pseudonyms finds them as well
  }
  ECLUSE_TRY(
      const Rows constraints,
      owner.Query("SELECT c.conname FROM pg_constraint c WHERE c.conrelid = $1::regclass AND c.contype = 'u' AND "
                  "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) "
                  "AND a.attname = ANY ($2::text[]))",
                  {table.Sql(), TextArray(names)}));
  for (int i = 0; i < constraints.size(); ++i)
    ECLUSE_OK(RunOne(owner, "ALTER TABLE " + table.Sql() + " DROP CONSTRAINT " + QuoteName(constraints.Text(i, 0))));
  ECLUSE_TRY(const std::vector<Index> indexes, IndexesOver(owner, table, names));
  for (const Index& index : indexes) {
    const TableName name{table.name.schema, index.name};
    // Of unique ones over clear values the one over their tokens has taken the place.
    if (table.undo || !index.unique)
      dropped->push_back("the index " + name.Text() + " of " + table.name.Text() +
                         " read what was moved, and was dropped: make it anew over columns it can read");
    ECLUSE_OK(RunOne(owner, "DROP INDEX " + QuoteTable(name)));
  }
  // Where NULLs are the same, an index over tokens holds from the change on: rows without tokens yet have NULLs too.
  // The one that was made beside is taken away first, so that it is not written anew for nothing.
  const auto made_now = [&](const CatalogKey& key) { return table.Holds(key) && (table.undo || !key.nulls_distinct); };
  for (const CatalogKey& key : real.keys) {
    if (made_now(key) && !table.undo)
      ECLUSE_OK(RunOne(owner, "DROP INDEX " + QuoteTable({table.name.schema, InPlaceOf(key, table).name})));
  }
  std::string types, gone;
  for (const Moving& column : table.columns) {
    types += (types.empty() ? "" : ", ") + ("ALTER COLUMN " + QuoteName(column.name)) + " TYPE " + column.MovedType() +
             " USING " + QuoteName(column.moved());
    gone += (gone.empty() ? "" : ", ") + ("DROP COLUMN " + QuoteName(column.moved()));
    if (!column.undo) continue;
    for (const CatalogColumn& other : real.columns) {
      if (IsTokenColumn(column.name, other.name)) gone += ", DROP COLUMN " + QuoteName(other.name);
    }
  }
  // In the order of the pseudonyms, before the table is written anew: then nothing of it is as it was written first,
  // neither places, nor transactions' numbers, nor those of values out of line.
  if (const auto link = std::ranges::find_if(table.columns, [](const Moving& one) { return one.search.link; });
      link != table.columns.end() && !table.undo) {
    ECLUSE_OK(OrderByPseudonym(owner, table.name, link->moved()));
  }
  // Writes the table anew, under the exclusive lock, so that none of its files holds a clear value any more.
  // In one command: a column that is dropped behind it would stay in the rows.
  ECLUSE_OK(RunOne(owner, "ALTER TABLE " + table.Sql() + " " + types + ", " + gone));
  for (const CatalogKey& key : real.keys) {
    if (!made_now(key)) continue;
    const Index index = InPlaceOf(key, table);
    ECLUSE_OK(RunOne(owner, "CREATE UNIQUE INDEX " + (index.name.empty() ? "" : QuoteName(index.name)) + " ON " +
                                table.Sql() + " (" + NameList(index.columns) + ")" +
                                (key.nulls_distinct ? "" : " NULLS NOT DISTINCT")));
  }
  return {};
}

std::vector<std::string> StillToDo(bool undo, bool statistics) {
  std::vector<std::string> out = {
      "old WAL still holds clear values: CHECKPOINT, and remove or overwrite archived WAL once newer base backups "
      "exist",
      "backups and dumps made before hold clear values: destroy them when they are no longer needed",
      "replicas: see that they have replayed the change",
      "PostgreSQL's own log may hold statements with clear values: remove the files of before",
      "the disk may hold blocks of files that were deleted: where that matters, move the cluster to a new, encrypted "
      "one"};
  if (undo)
    return {
        "the columns stand in clear again: indexes that made searches quick, other than unique ones, have to be made "
        "anew",
        "`sealed` columns protected what backups, logs and dumps from now on hold in clear"};
  if (!statistics)
    out.insert(out.begin(),
               "old statistics still hold clear values: VACUUM FULL pg_catalog.pg_statistic, as the "
               "database's owner");
  return out;
}

Result<SealReport> MoveTables(Database& owner, KeyRing& keys, const SealOptions& options) {
  ECLUSE_OK(BeginMoving(owner, *options.policy, keys, Register::may_be_new));
  ECLUSE_TRY(const Catalog catalog, ReadCatalog(owner, *options.policy));
  ECLUSE_TRY(const std::vector<MovingTable> tables, WhatToSeal(owner, keys, options, catalog));
  if (!tables.empty()) ECLUSE_OK(CheckPolicy(options, catalog, tables));
  SealReport report;
  ECLUSE_TRY(const std::vector<LeftOver> left_overs, LeftOvers(owner, *options.policy));
  for (const LeftOver& left : left_overs) {
    if (std::ranges::find(tables, left.table, &MovingTable::name) == tables.end())
      ECLUSE_OK(DropFromRest(owner, left, options));
  }
  std::vector<std::shared_ptr<const CompartmentKeys>> compartments;
  for (const MovingTable& table : tables) {
    ECLUSE_TRY(compartments.emplace_back(), SealingKeys(keys, table.compartment));
    for (const Moving& column : table.columns) {
      report.columns.push_back(table.name.Text() + "." + column.name);
      if (column.search.link && !options.undo) report.shuffled.push_back(table.name);
    }
    const auto left = std::ranges::find(left_overs, table.name, &LeftOver::table);
    ECLUSE_OK(PrepareTable(owner, table, *compartments.back(), left == left_overs.end() ? nullptr : &*left, options));
  }
  if (tables.empty()) return report;
  const auto pass = [&](const MovingTable& table, bool locked) {
    const CompartmentKeys& compartment = *compartments[static_cast<size_t>(&table - tables.data())];
    return TableSealer(owner, table, keys, compartment, options).Pass(&report.rows, locked);
  };
  for (const MovingTable& table : tables) {
    ECLUSE_OK(pass(table, false));
    ECLUSE_OK(MakeIndexes(owner, table, catalog.tables.at(table.name), options));
  }
  std::vector<std::string> dropped;
  const auto change = [&]() -> Status {
    dropped.clear();
    for (const MovingTable& table : tables)
      ECLUSE_OK(owner.Run("LOCK TABLE " + table.Sql() + " IN ACCESS EXCLUSIVE MODE"));
    ECLUSE_OK(CheckUnaltered(owner, keys, options, catalog, tables));
    for (const MovingTable& table : tables) {
      ECLUSE_TRY(const std::string unfit, WhyUnfit(owner, table, *options.policy));
      if (!unfit.empty())
        return CannotMove("rows of " + table.name.Text() + " may have changed unmarked: " + unfit,
                          "nothing is lost: run `ecluse seal` again, which begins that table anew");
      if (options.progress) options.progress("writing " + table.name.Text() + " anew", 0, 0);
      // What came in since, now that nobody else writes.
      ECLUSE_OK(pass(table, true));
      ECLUSE_TRY(const uint64_t left, CountUnmoved(owner, table));
      if (left > 0)
        return CannotMove(fmt::format("{} rows of {} are not moved", left, table.name.Text()),
                          "run `ecluse seal` again");
      ECLUSE_OK(Change(owner, table, catalog.tables.at(table.name), &dropped));
    }
    return {};
  };
  // Until shortly before the change, so that little is left to seal under the lock.
  for (const MovingTable& table : tables) ECLUSE_OK(pass(table, false));
  ECLUSE_TRY(const ApplyReport applied, Apply(owner, options.policy, &keys, ApplyMode::apply, change));
  if (!applied.done()) {
    std::string why = Problems(*options.policy, applied.problems);
    for (const std::string& refusal : applied.refusals) why += "\ndatabase: " + refusal;
    return CannotMove(
        fmt::format("the rows are {}, and the policy cannot be applied{}", options.undo ? "opened" : "sealed", why),
        "nothing has changed for the register; mend that, and run `ecluse seal` again");
  }
  for (const MovingTable& table : tables) (void)owner.Run("ANALYZE " + table.Sql());
  const bool statistics = owner.Run("VACUUM FULL pg_catalog.pg_statistic").has_value();
  report.still_to_do = std::move(dropped);
  for (std::string& what : StillToDo(options.undo, statistics)) report.still_to_do.push_back(std::move(what));
  return report;
}

}  // namespace

Result<SealReport> SealTables(Database& owner, KeyRing& keys, const SealOptions& options) {
  auto report = MoveTables(owner, keys, options);
  if (report || (report.error().sqlstate != "55P03" && report.error().sqlstate != "40P01")) return report;
  return CannotMove("statements or open transactions have used the tables for 10 seconds, so the work was not finished",
                    "what was done is kept; run `ecluse seal` again when less is going on, or end long transactions");
}

}  // namespace ecluse
