#include "seal/left_overs.h"

#include <algorithm>
#include <map>

#include "policy/sealed_columns.h"
#include "seal/moving.h"

namespace ecluse {
namespace {

struct Column {
  std::string name;
  ValueType type;
  std::string text;    // of the type
  std::string domain;  // of kSealedSchema; empty where it is none

  bool sealed() const { return Standing().has_value(); }
  // What it was declared as, where it is sealed or holds pseudonyms.
  std::optional<ValueType> Standing() const {
    const auto linked = LinkedAs(domain);
    return linked ? std::optional(linked->type) : SealedType(domain);
  }
};

// One table in which something was gathered.
class Gathered {
 public:
  Gathered(std::vector<Column> columns, const PolicyTable* policy) : columns_(std::move(columns)), policy_(policy) {}

  LeftOver Left(const TableName& name) const {
    LeftOver left{name, {}, false};
    for (const Column& column : columns_) {
      const bool clear = IsClear(column);
      if (!clear && !IsEnvelopes(column) && !IsTokens(column)) continue;
      left.columns.push_back(column.name);
      left.clear = left.clear || clear;
    }
    return left;
  }

 private:
  const Column* Find(std::string_view name) const {
    const auto found = std::ranges::find(columns_, name, &Column::name);
    return found == columns_.end() ? nullptr : &*found;
  }
  const PolicyColumn* Told(std::string_view name) const { return policy_ == nullptr ? nullptr : policy_->Find(name); }
  // A column that the policy seals and the database does not.
  bool MovesIn(const Column& column) const {
    const PolicyColumn* told = Told(column.name);
    return told != nullptr && told->sealed && !column.sealed();
  }

  static bool Gathers(const Column& column) { return column.name.starts_with(kSealedBeside) && !column.domain.empty(); }
  static std::string_view Of(const Column& column, std::string_view beside) {
    return std::string_view(column.name).substr(beside.size());
  }

  bool IsEnvelopes(const Column& column) const {
    if (!Gathers(column)) return false;
    const Column* of = Find(Of(column, kSealedBeside));
    return of == nullptr || !MovesIn(*of);
  }
  bool IsClear(const Column& column) const {
    if (!column.name.starts_with(kClearBeside)) return false;
    const Column* of = Find(Of(column, kClearBeside));
    if (of == nullptr || !of->sealed() || TypeText(*of->Standing()) != column.text) return false;
    const PolicyColumn* told = Told(of->name);
    return told == nullptr || told->sealed;
  }
  // Of a column that envelopes were gathered for, and of no index that one has or is to have.
  bool IsTokens(const Column& column) const {
    const auto gathered = [&](const Column& other) {
      return Gathers(other) && IsTokenColumn(std::string(Of(other, kSealedBeside)), column.name);
    };
    const auto keeps = [&](const Column& other) {
      if (other.sealed()) return IsTokenColumn(other.name, column.name);
      if (!MovesIn(other)) return false;
      const auto tokens = TokenColumns(other.name, other.type, *Told(other.name)->sealed);
      return std::ranges::find(tokens, column.name, &TokenColumn::name) != tokens.end();
    };
    return (column.type.oid == type_oid::kBytea || !column.domain.empty()) && std::ranges::any_of(columns_, gathered) &&
           std::ranges::none_of(columns_, keeps);
  }

  std::vector<Column> columns_;
  const PolicyTable* policy_;
};

}  // namespace

Result<std::vector<LeftOver>> LeftOvers(Database& owner, const Policy& policy) {
  ECLUSE_TRY(
      const Rows rows,
      owner.Query("SELECT n.nspname, c.relname, a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, "
                  "a.atttypmod), CASE WHEN tn.nspname = $1 THEN t.typname ELSE '' END FROM pg_attribute a JOIN "
                  "pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON "
                  "t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace WHERE c.relkind = 'r' AND NOT "
                  "pg_is_other_temp_schema(n.oid) AND a.attnum > 0 AND NOT a.attisdropped AND EXISTS (SELECT FROM "
                  "pg_attribute g WHERE g.attrelid = c.oid AND NOT g.attisdropped AND (starts_with(g.attname, $2) OR "
                  "starts_with(g.attname, $3))) ORDER BY 1, 2, a.attnum",
                  {std::string(kSealedSchema), std::string(kSealedBeside), std::string(kClearBeside)}));
  std::map<TableName, std::vector<Column>> tables;
  for (int i = 0; i < rows.size(); ++i) {
    const ValueType type{static_cast<Oid>(std::strtoul(rows.Text(i, 3).c_str(), nullptr, 10)),
                         std::atoi(rows.Text(i, 4).c_str())};
    tables[{rows.Text(i, 0), rows.Text(i, 1)}].push_back({rows.Text(i, 2), type, rows.Text(i, 5), rows.Text(i, 6)});
  }
  std::vector<LeftOver> all;
  for (auto& [name, columns] : tables) {
    const auto told = policy.tables.find(name);
    const Gathered gathered(std::move(columns), told == policy.tables.end() ? nullptr : &told->second);
    if (LeftOver left = gathered.Left(name); !left.columns.empty()) all.push_back(std::move(left));
  }
  return all;
}

Status DropLeftOver(Database& owner, const LeftOver& left) {
  ECLUSE_OK(DropMarker(owner, left.table));
  return DropColumns(owner, left.table, left.columns);
}

}  // namespace ecluse
