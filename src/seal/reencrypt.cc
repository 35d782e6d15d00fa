#include "seal/reencrypt.h"

#include <fmt/format.h>

#include <utility>

#include "base/bytes.h"
#include "base/limits.h"
#include "policy/applied.h"
#include "policy/catalog.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"
#include "seal/moving.h"
#include "vault/sealed_value.h"

namespace ecluse {
namespace {

struct EnvelopeColumn {
  TableName table;
  std::string column;
  bool view = false;  // a materialized one
};

// By their types, whatever the policy says of them: also what an unfinished `ecluse seal` has made.
Result<std::vector<EnvelopeColumn>> EnvelopeColumns(Database& owner) {
  ECLUSE_TRY(
      const Rows rows,
      owner.Query(
          "SELECT n.nspname, c.relname, a.attname, t.typname, c.relkind = 'm' FROM pg_attribute a JOIN pg_class c ON "
          "c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = "
          "a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace WHERE tn.nspname = $1 AND "
          "c.relkind IN ('r', 'm') AND NOT pg_is_other_temp_schema(n.oid) AND a.attnum > 0 AND NOT a.attisdropped "
          "ORDER BY 1, 2, a.attnum",
          {std::string(kSealedSchema)}));
  std::vector<EnvelopeColumn> columns;
  for (int row = 0; row < rows.size(); ++row) {
    if (const std::string domain = rows.Text(row, 3); domain == kGatheredDomain || SealedType(domain))
      columns.push_back({{rows.Text(row, 0), rows.Text(row, 1)}, rows.Text(row, 2), rows.True(row, 4)});
  }
  return columns;
}

std::string KeyIdOf(const std::string& column) { return "substring(" + column + "::bytea FROM 2 FOR 8)"; }

class Reencrypter {
 public:
  Reencrypter(Database& owner, const BatchedTable& table, std::vector<std::string> columns, const KeyRing& ring,
              const CompartmentKeys& keys, const Policy& policy, const MovingProgress& progress)
      : owner_(owner),
        table_(table),
        name_(table.name.Text()),
        columns_(std::move(columns)),
        ring_(ring),
        keys_(keys),
        policy_(policy),
        progress_(progress) {}

  // All rows with a value under another key, from the first on. How many were found; `done` counts those written.
  Result<uint64_t> Pass(uint64_t* done) {
    std::vector<std::string> values;
    std::string where;
    for (const std::string& column : columns_) {
      const std::string value = "t." + QuoteName(column);
      values.push_back(value + "::bytea::text");
      where += (where.empty() ? "" : " OR ") + KeyIdOf(value) + " <> '\\x" + HexEncode(keys_.current().id) + "'";
    }
    RowBatches rows(owner_, table_, values, where);
    uint64_t found = 0;
    while (true) {
      ECLUSE_TRY(const int count, rows.Next());
      if (count == 0) return found;
      found += static_cast<uint64_t>(count);
      ECLUSE_TRY(const auto made, SealAnew(rows, count));
      const auto written = rows.Write(made);
      const std::string state = written ? "" : written.error().sqlstate;
      // Held by somebody for long, or by somebody who waits for us: a later pass has them.
      if (!written && state != "55P03" && state != "40P01") return std::unexpected(written.error());
      *done += written.value_or(0);
      if (progress_) progress_("sealing anew " + name_, found, table_.rows);
    }
  }

 private:
  Result<std::vector<RowBatches::Written>> SealAnew(const RowBatches& rows, int count) const {
    std::vector<RowBatches::Written> made;
    for (const std::string& column : columns_) made.push_back({column, "bytea[]", "", {}});
    std::vector<std::string> subjects;
    for (int row = 0; row < count; ++row) {
      ECLUSE_TRY(subjects.emplace_back(), rows.Subject(row));
    }
    // Also where the policy asks for none: it may have before.
    ECLUSE_TRY(const OwnKeys before, OwnKeys::Find(ring_, subjects));
    struct Plain {
      size_t column = 0, row = 0;
      std::string text;
    };
    std::vector<Plain> plain;
    std::vector<std::string> living;  // whose they are
    for (int row = 0; row < count; ++row) {
      const auto at = static_cast<size_t>(row);
      for (size_t c = 0; c < columns_.size(); ++c) {
        made[c].values.emplace_back();
        if (rows.Null(row, c)) continue;
        ECLUSE_TRY(const std::string former, ByteaOf(rows.Value(row, c)));
        if (ValueKeyId(former) == keys_.current().id) {
          made[c].values.back() = std::string(rows.Value(row, c));
          continue;
        }
        const Cell cell{policy_.register_name, name_, columns_[c], subjects[at], before.Of(subjects[at])};
        auto opened = OpenLeft(keys_, cell, before.Erased(subjects[at]), former);
        if (!opened) {
          Error error = std::move(opened).error();
          error.operator_detail += fmt::format("; it is in the row WHERE ctid = '{}'", rows.Place(row));
          return std::unexpected(std::move(error));
        }
        if (!*opened) {
          made[c].values.back() = ByteaText(NobodysEnvelope(keys_, cell));
          continue;
        }
        plain.push_back({c, at, **std::move(opened)});
        living.push_back(subjects[at]);
      }
    }
    OwnKeys own;
    if (table_.policy->own_keys) {
      ECLUSE_TRY(own, OwnKeys::Take(ring_, living));
    }
    for (const Plain& one : plain) {
      const Cell cell{policy_.register_name, name_, columns_[one.column], subjects[one.row], own.Of(subjects[one.row])};
      ECLUSE_TRY(const std::string anew, SealCell(keys_, cell, one.text));
      made[one.column].values[one.row] = ByteaText(anew);
    }
    return made;
  }

  Database& owner_;
  const BatchedTable& table_;
  const std::string name_;
  const std::vector<std::string> columns_;
  const KeyRing& ring_;
  const CompartmentKeys& keys_;
  const Policy& policy_;
  const MovingProgress& progress_;
};

}  // namespace

Result<std::map<std::string, std::vector<KeyUse>>> KeysInUse(Database& owner) {
  ECLUSE_TRY(const auto columns, EnvelopeColumns(owner));
  std::map<std::string, std::vector<KeyUse>> keys;
  for (const EnvelopeColumn& column : columns) {
    const std::string value = QuoteName(column.column);
    ECLUSE_TRY(const Rows rows, owner.Query("SELECT encode(" + KeyIdOf(value) + ", 'hex'), count(*) FROM " +
                                            QuoteTable(column.table) + " WHERE " + value + " IS NOT NULL GROUP BY 1"));
    for (int row = 0; row < rows.size(); ++row) {
      keys[rows.Text(row, 0)].push_back(
          {column.table, column.column, static_cast<uint64_t>(std::atoll(rows.Text(row, 1).c_str()))});
    }
  }
  return keys;
}

Status LockSealedTables(Database& owner) {
  ECLUSE_TRY(const auto columns, EnvelopeColumns(owner));
  std::string tables, last;
  for (const EnvelopeColumn& column : columns) {
    const std::string table = QuoteTable(column.table);
    if (column.view)
      return CannotMove("the materialized view " + column.table.Text() + " shows envelopes, and cannot be locked",
                        "drop it");
    if (table == last) continue;
    tables += (tables.empty() ? "" : ", ") + table;
    last = table;
  }
  return tables.empty() ? Status() : owner.Run("LOCK TABLE " + tables + " IN SHARE MODE");
}

Result<std::vector<SealedTable>> TablesToReencrypt(Database& owner, const KeyRing& keys, const Policy& policy) {
  ECLUSE_TRY(const Catalog catalog, ReadCatalog(owner, policy));
  ECLUSE_TRY(const auto sealed, EnvelopeColumns(owner));
  std::map<TableName, std::vector<std::string>> columns;
  // The `__clear_` columns of a way back that is not through are no hindrance: sealing anew changes no value, and where
  // the trigger beside them takes it for a change it empties them, which `ecluse seal --undo` finds.
  for (const EnvelopeColumn& column : sealed) {
    if (column.view) return CannotMove("the materialized view " + column.table.Text() + " shows envelopes", "drop it");
    if (column.column.starts_with(kSealedBeside))
      return CannotMove("`ecluse seal` is not through with " + column.table.Text(), "run it again first");
    columns[column.table].push_back(column.column);
  }
  std::vector<SealedTable> tables;
  for (auto& [name, of] : columns) {
    const auto policy_table = policy.tables.find(name);
    const auto real = catalog.tables.find(name);
    if (policy_table == policy.tables.end() || real == catalog.tables.end())
      return CannotMove(name.Text() + " has sealed columns, and the policy does not tell of it",
                        "name it in the policy, or drop the table");
    ECLUSE_TRY(BatchedTable table, DescribeTable(owner, keys, policy, policy_table->second, real->second));
    tables.push_back({std::move(table), std::move(of)});
  }
  return tables;
}

Result<uint64_t> Reencrypt(Database& owner, const KeyRing& keys, const Policy& policy,
                           const std::vector<SealedTable>& tables, const MovingProgress& progress) {
  uint64_t done = 0;
  for (const auto& [table, of] : tables) {
    ECLUSE_TRY(const auto compartment, SealingKeys(keys, table.compartment));
    Reencrypter reencrypter(owner, table, of, keys, *compartment, policy, progress);
    uint64_t found = 1;
    for (int pass = 0; found > 0; ++pass) {
      if (pass == limits::kReencryptPasses)
        return CannotMove("values of " + table.name.Text() + " are locked, or still being written under a former key",
                          "end long transactions, see that no other gate or command writes with keys of before, and "
                          "run this again: what was done is kept");
      ECLUSE_TRY(found, reencrypter.Pass(&done));
    }
  }
  return done;
}

}  // namespace ecluse
