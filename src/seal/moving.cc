#include "seal/moving.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/limits.h"
#include "policy/compile.h"

namespace ecluse {
namespace {

// A pseudonym takes the place of an id, and nothing of another table refers to one.
Status CheckColumn(const CatalogTable& real, const std::string& what, const CatalogColumn& column, bool link) {
  if (column.type_kind == 'd')
    return CannotMove(what + " has the domain type " + column.type_name,
                      "give it the type it is over: ALTER TABLE … TYPE");
  if (!MayBeSealed(column.type))
    return CannotMove(what + " is " + column.type_name + ", which cannot be sealed",
                      "text, varchar, dates, timestamps, numbers, boolean, bytea, jsonb and uuid can");
  if (column.generated || column.identity_always)
    return CannotMove(what + " is computed by PostgreSQL", "seal the columns it is computed from, and drop it");
  for (const CatalogCheck& check : real.checks) {
    if (std::ranges::find(check.columns, column.name) != check.columns.end())
      return CannotMove(what + " is read by the " + check.name, "drop that first: it cannot read what is sealed");
  }
  for (const auto* keys : {&real.foreign_keys, &real.referencing}) {
    for (const CatalogForeignKey& key : *keys) {
      const auto& columns = key.from == real.name ? key.from_columns : key.to_columns;
      if (std::ranges::find(columns, column.name) != columns.end())
        return CannotMove(what + " is part of the foreign key " + key.name,
                          link
                              ? "drop it (ALTER TABLE … DROP CONSTRAINT): whoever has both tables would join them by it"
                              : "refer to a column that is not sealed");
    }
  }
  return {};
}

Status CheckKeys(const CatalogTable& real, const Moving& column, const std::string& what) {
  for (const CatalogKey& key : real.keys) {
    if (std::ranges::find(key.reads, column.name) == key.reads.end()) continue;
    if (column.search.link && key.plain && key.unique && key.own) continue;
    if (key.primary)
      return CannotMove(what + " is part of the primary key", "seal columns that tell of a row, not what names it");
    if (!key.plain || !key.unique || !key.own)
      return CannotMove(what + " is part of the index or constraint " + key.name,
                        "drop it first: it cannot read what is sealed");
    if (!column.search.equality)
      return CannotMove(what + " is unique by " + key.name,
                        "give it search: [equality], by which sealed values are compared");
  }
  return {};
}

// What reads columns that are to be moved, and cannot once they are.
Status CheckReaders(Database& owner, const MovingTable& table, const Policy& policy) {
  std::vector<std::string> names;
  for (const Moving& column : table.columns) names.push_back(column.name);
  ECLUSE_TRY(const Rows views,
             owner.Query("SELECT DISTINCT n.nspname || '.' || v.relname FROM pg_depend d JOIN pg_rewrite r ON r.oid = "
                         "d.objid AND d.classid = 'pg_rewrite'::regclass JOIN pg_class v ON v.oid = r.ev_class JOIN "
                         "pg_namespace n ON n.oid = v.relnamespace JOIN pg_attribute a ON a.attrelid = d.refobjid AND "
                         "a.attnum = d.refobjsubid WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = "
                         "$1::regclass AND a.attname = ANY ($2::text[]) AND n.nspname <> ALL ($3::text[])",
                         {table.Sql(), TextArray(names), TextArray(policy.Logins())}));
  ECLUSE_TRY(const Rows others,
             owner.Query("SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d JOIN pg_attribute "
                         "a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.refclassid = "
                         "'pg_class'::regclass AND d.refobjid = $1::regclass AND a.attname = ANY ($2::text[]) AND "
                         "d.classid NOT IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_rewrite'::regclass, "
                         "'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass)",
                         {table.Sql(), TextArray(names)}));
  if (others.size() > 0)
    return CannotMove("the " + others.Text(0, 0) + " depends on what is to be sealed", "drop it first");
  if (views.size() > 0)
    return CannotMove("the view " + views.Text(0, 0) + " reads what is to be sealed in " + table.name.Text(),
                      "drop it: it would show nothing but envelopes");
  return {};
}

// The columns of a table that policy and database differ in.
Result<std::vector<Moving>> ColumnsToMove(Database& owner, const SealOptions& options, const TableName& name,
                                          const PolicyTable& policy, const CatalogTable& real) {
  std::vector<Moving> columns;
  for (const PolicyColumn& column : policy.columns) {
    const CatalogColumn* own = real.Find(column.name);
    const std::string what = name.Text() + "." + column.name;
    if (options.undo && !column.sealed && own != nullptr && own->type_schema == kSealedSchema) {
      const auto linked = LinkedAs(own->type_element);
      const auto type = linked ? std::optional(linked->type) : SealedType(own->type_element);
      if (!type) return CannotMove(what + " was sealed by a newer version", "use that one");
      columns.push_back({column.name,
                         *type,
                         {.link = linked.has_value()},
                         true,
                         linked ? linked->compartment : std::string(kMainCompartment)});
      continue;
    }
    const auto linked =
        own != nullptr && own->type_schema == kSealedSchema ? LinkedAs(own->type_element) : std::nullopt;
    if (linked && linked->compartment != policy.compartment)
      return CannotMove(what + " holds pseudonyms of the compartment " + linked->compartment +
                            ", and the policy has the table in " + policy.compartment,
                        "put that back; to move the table, take `compartment` and `sealed` from it, run `ecluse seal "
                        "--undo`, and seal it anew");
    if (options.undo || !column.sealed || own == nullptr || own->type_schema == kSealedSchema) continue;
    ECLUSE_OK(CheckColumn(real, what, *own, column.sealed->link));
    ECLUSE_TRY(
        const Rows of,
        owner.Query("SELECT atttypmod, atthasdef OR attidentity <> '' FROM pg_attribute WHERE attrelid = $1::regclass "
                    "AND attname = $2",
                    {QuoteTable(name), column.name}));
    if (of.True(0, 1))
      return CannotMove(what + " has a default, or is an identity, which cannot be sealed",
                        "drop it: ALTER TABLE … ALTER COLUMN … DROP DEFAULT, or DROP IDENTITY");
    Moving moving{
        column.name, {own->type, std::atoi(of.Text(0, 0).c_str())}, *column.sealed, false, policy.compartment};
    ECLUSE_OK(CheckKeys(real, moving, what));
    if (moving.Domain().size() > limits::kIdentifier)
      return CannotMove(what + " would have the type " + moving.Domain() + ", whose name is too long",
                        "give the column a shorter type, or the compartment a shorter name");
    if (const std::string misfit = SearchMisfit(moving.type, moving.search); !misfit.empty())
      return CannotMove(what + " " + misfit, "correct `search` in the policy");
    columns.push_back(std::move(moving));
  }
  return columns;
}

// All of a table is under the keys of one compartment.
Status CheckCompartment(const PolicyTable& policy, const CatalogTable& real, const std::vector<Moving>& columns) {
  if (std::ranges::none_of(columns, [](const Moving& column) { return column.search.link; })) return {};
  for (const PolicyColumn& column : policy.columns) {
    const CatalogColumn* own = real.Find(column.name);
    if (own == nullptr || own->type_schema != kSealedSchema ||
        std::ranges::find(columns, column.name, &Moving::name) != columns.end())
      continue;
    return CannotMove(
        policy.name.Text() + "." + column.name + " is sealed under other keys than those of the table's compartment",
        "a table enters and leaves its compartment as a whole: take `sealed` and `compartment` from it, "
        "run `ecluse seal --undo`, and seal it anew");
  }
  return {};
}

// The unique keys over what is moved: their columns, and whether NULLs differ.
std::map<std::string, std::pair<std::vector<std::string>, bool>> KeysOver(const MovingTable& table,
                                                                          const CatalogTable& real) {
  std::map<std::string, std::pair<std::vector<std::string>, bool>> keys;
  for (const CatalogKey& key : real.keys) {
    if (table.Holds(key)) keys.try_emplace(key.name, key.columns, key.nulls_distinct);
  }
  return keys;
}

// What of a table was altered since `then`; empty where nothing was that matters.
std::string Alteration(const MovingTable& then, const CatalogTable& real_then, const MovingTable& now,
                       const CatalogTable& real_now) {
  const std::string table = then.name.Text();
  for (const Moving& column : then.columns) {
    const auto same = std::ranges::find(now.columns, column.name, &Moving::name);
    if (same == now.columns.end()) return "the column " + table + "." + column.name + " was dropped or renamed";
    if (same->type != column.type)
      return "the column " + table + "." + column.name + " was " + TypeText(column.type) + ", and is " +
             TypeText(same->type);
  }
  for (const Moving& column : now.columns) {
    if (std::ranges::find(then.columns, column.name, &Moving::name) == then.columns.end())
      return "the column " + table + "." + column.name + " was added";
  }
  if (now.key != then.key) return "the primary key of " + table + " was altered";
  const auto before = KeysOver(then, real_then), after = KeysOver(now, real_now);
  for (const auto& [name, rule] : after) {
    const auto known = before.find(name);
    if (known == before.end()) return "the unique key " + name + " was added to " + table;
    if (known->second != rule) return "the unique key " + name + " of " + table + " was altered";
  }
  for (const auto& [name, rule] : before) {
    if (!after.contains(name)) return "the unique key " + name + " of " + table + " was dropped";
  }
  return "";
}

}  // namespace

std::string InSealedSchema(std::string_view name) { return QuoteName(kSealedSchema) + "." + QuoteName(name); }

std::string Marker(const TableName& table) { return InSealedSchema(FittingName("mark " + table.Text())); }

Status RunOne(Database& owner, const std::string& sql) {
  auto done = owner.Query(sql);
  if (!done) return std::unexpected(std::move(done).error());
  return {};
}

Status DropMarker(Database& owner, const TableName& table) {
  ECLUSE_OK(RunOne(owner, "DROP TRIGGER IF EXISTS " + QuoteName(kMarkTrigger) + " ON " + QuoteTable(table)));
  return RunOne(owner, "DROP FUNCTION IF EXISTS " + Marker(table) + "()");
}

Status DropColumns(Database& owner, const TableName& table, const std::vector<std::string>& columns) {
  std::string drop;
  for (const std::string& name : columns) drop += (drop.empty() ? "" : ", ") + ("DROP COLUMN " + QuoteName(name));
  return RunOne(owner, "ALTER TABLE " + QuoteTable(table) + " " + drop);
}

std::string Problems(const Policy& policy, const std::vector<PolicyProblem>& problems) {
  std::string why;
  for (const PolicyProblem& problem : problems) {
    if (!problem.warning) why += "\n" + ProblemText(policy.file, problem);
  }
  return why;
}

Result<std::vector<MovingTable>> WhatToSeal(Database& owner, const KeyRing& keys, const SealOptions& options,
                                            const Catalog& catalog) {
  std::vector<MovingTable> tables;
  for (const TableName& named : options.tables) {
    if (!options.policy->tables.contains(named))
      return CannotMove(named.Text() + " is not among the policy's tables", "name one of them");
    if (!catalog.tables.contains(named))
      return CannotMove(named.Text() + " is among the policy's tables, and not in the database",
                        "see that --owner leads to the register, and that its schema and name are written as there");
  }
  for (const auto& [name, policy] : options.policy->tables) {
    const auto real = catalog.tables.find(name);
    if (real == catalog.tables.end()) continue;
    ECLUSE_TRY(std::vector<Moving> columns, ColumnsToMove(owner, options, name, policy, real->second));
    if (columns.empty()) continue;
    if (!options.tables.empty() && std::ranges::find(options.tables, name) == options.tables.end())
      return CannotMove("policy and database differ in what is sealed of " + name.Text() +
                            " too, and the policy is applied as a whole",
                        "name it as well (--table " + name.Text() + "), or correct `sealed` there for now");
    ECLUSE_OK(CheckCompartment(policy, real->second, columns));
    ECLUSE_TRY(BatchedTable table, DescribeTable(owner, keys, *options.policy, policy, real->second));
    tables.push_back({std::move(table), std::move(columns), options.undo});
    ECLUSE_OK(CheckReaders(owner, tables.back(), *options.policy));
  }
  return tables;
}

Status CheckUnaltered(Database& owner, const KeyRing& keys, const SealOptions& options, const Catalog& began,
                      const std::vector<MovingTable>& tables) {
  const auto altered = [](const std::string& what, const std::string& first = {}) {
    return CannotMove("the register was altered meanwhile: " + what,
                      first + "nothing is lost: run `ecluse seal` again");
  };
  ECLUSE_TRY(const Catalog catalog, ReadTableCatalog(owner, *options.policy));
  auto now = WhatToSeal(owner, keys, options, catalog);
  if (!now && !now.error().rule.empty()) return altered(now.error().message, now.error().hint + "; ");
  if (!now) return std::unexpected(std::move(now).error());
  for (const MovingTable& table : tables) {
    const auto same = std::ranges::find(*now, table.name, &MovingTable::name);
    if (same == now->end()) return altered("the columns to be moved of " + table.name.Text() + " are gone");
    const std::string what = Alteration(table, began.tables.at(table.name), *same, catalog.tables.at(table.name));
    if (!what.empty()) return altered(what);
  }
  for (const MovingTable& table : *now) {
    if (std::ranges::find(tables, table.name, &MovingTable::name) == tables.end())
      return altered("there are columns to be moved in " + table.name.Text() + " too");
  }
  return {};
}

Status CheckPolicy(const SealOptions& options, Catalog catalog, const std::vector<MovingTable>& tables) {
  for (const MovingTable& table : tables) {
    CatalogTable& real = catalog.tables.at(table.name);
    for (const Moving& column : table.columns) {
      auto own = std::ranges::find(real.columns, column.name, &CatalogColumn::name);
      if (column.undo) {
        own->type_schema = "pg_catalog";
        own->type = own->base_type = column.type.oid;
        own->type_kind = 'b';
        own->type_name = own->base_type_name = own->type_element = TypeText(column.type);
        continue;
      }
      own->type_schema = kSealedSchema;
      own->type_element = column.Domain();
      own->base_type = type_oid::kBytea;
      for (const TokenColumn& tokens : TokenColumns(column.name, column.type, column.search)) {
        if (real.Find(tokens.name) != nullptr) continue;
        CatalogColumn added;
        added.name = tokens.name;
        added.type = added.base_type = type_oid::kBytea;
        if (tokens.kind == TokenColumn::Kind::block) {
          added.type_schema = kSealedSchema;
          added.type_element = RangeDomain(column.search);
        }
        real.columns.push_back(std::move(added));
      }
    }
  }
  auto schemas = CompileRoles(options.policy, catalog, nullptr);
  if (schemas) return {};
  return CannotMove(fmt::format("the policy could not be applied once the tables are {}{}",
                                options.undo ? "opened" : "sealed", Problems(*options.policy, schemas.error())),
                    "correct it first; nothing was changed");
}

}  // namespace ecluse
