#include "seal/token_indexes.h"

#include <algorithm>
#include <set>

#include "base/limits.h"
#include "policy/sealed_columns.h"
#include "seal/gathering.h"

namespace ecluse {

std::string NameList(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + QuoteName(name);
  return out;
}

Result<std::vector<Index>> IndexesOver(Database& owner, const MovingTable& table,
                                       const std::vector<std::string>& columns) {
  ECLUSE_TRY(const Rows rows,
             owner.Query("SELECT c.relname, ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY "
                         "AS k(num, at) JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.num WHERE k.at "
                         "<= x.indnkeyatts ORDER BY k.at), x.indisunique, x.indisvalid FROM pg_index x JOIN pg_class c "
                         "ON c.oid = x.indexrelid WHERE x.indrelid = $1::regclass AND EXISTS (SELECT FROM pg_attribute "
                         "a WHERE a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey::int2[]) AND a.attname = ANY "
                         "($2::text[])) ORDER BY 1",
                         {table.Sql(), TextArray(columns)}));
  std::vector<Index> indexes;
  for (int i = 0; i < rows.size(); ++i)
    indexes.push_back({rows.Text(i, 0), rows.List(i, 1), rows.True(i, 2), rows.True(i, 3)});
  return indexes;
}

Index InPlaceOf(const CatalogKey& key, const MovingTable& table) {
  Index index{table.undo ? "" : FittingName(std::string(kTokenPrefix) + key.name), {}, true};
  for (const std::string& name : key.columns) {
    const bool moved = table.Holds(name);
    index.columns.push_back(!moved ? name : table.undo ? OfEqualityColumn(name) : EqualityColumn(name));
  }
  return index;
}

namespace {

std::string LockTimeout() { return "'" + std::to_string(limits::kSealLock.count()) + "s'"; }

// One for each token column; unique ones in place of unique keys over sealed columns, which serve its searches too.
std::vector<Index> IndexesOf(const MovingTable& table, const CatalogTable& real) {
  std::vector<Index> indexes;
  std::set<std::string> served;
  for (const CatalogKey& key : real.keys) {
    if (!table.Holds(key)) continue;
    if (table.Holds(key.columns.front())) served.insert(EqualityColumn(key.columns.front()));
    indexes.push_back(InPlaceOf(key, table));
  }
  for (const Moving& column : table.columns) {
    for (const TokenColumn& tokens : TokenColumns(column.name, column.type, column.search)) {
      if (served.contains(tokens.name)) continue;
      indexes.push_back({FittingName(table.name.name + "_" + tokens.name), {tokens.name}});
    }
  }
  return indexes;
}

}  // namespace

Status MakeIndexes(Database& owner, const MovingTable& table, const CatalogTable& real, const SealOptions& options) {
  if (table.undo) return {};  // those of clear columns are made with the change
  std::vector<Index> indexes = IndexesOf(table, real);
  ECLUSE_TRY(const std::vector<Index> standing, IndexesOver(owner, table, TokenNames(table)));
  for (const Index& index : standing) {
    // An interrupted run's are of use where they are whole, and the keys they stand for are what they were.
    if (std::erase(indexes, index) == 0)
      ECLUSE_OK(owner.Run("DROP INDEX CONCURRENTLY " + QuoteTable({table.name.schema, index.name})));
  }
  for (const Index& index : indexes) {
    if (options.progress) options.progress("making the index " + index.name, 0, 0);
    // It waits for transactions of before, however long they take, and holds nobody up meanwhile.
    ECLUSE_OK(owner.Run("SET lock_timeout TO 0"));
    auto made = owner.Query((index.unique ? "CREATE UNIQUE INDEX CONCURRENTLY " : "CREATE INDEX CONCURRENTLY ") +
                            QuoteName(index.name) + " ON " + table.Sql() + " (" + NameList(index.columns) + ")");
    ECLUSE_OK(owner.Run("SET lock_timeout TO " + LockTimeout()));
    if (made) continue;
    (void)owner.Run("DROP INDEX CONCURRENTLY IF EXISTS " + QuoteTable({table.name.schema, index.name}));
    if (made.error().sqlstate == "23505") {
      return CannotMove("values of " + table.name.Text() + " that a unique key tells apart are the same to the index " +
                            index.name + ", which knows no case and no accents",
                        "correct one of them, or seal that column without the key (drop it)");
    }
    return std::unexpected(std::move(made).error());
  }
  return {};
}

}  // namespace ecluse
