#include "policy/catalog.h"

#include <algorithm>

#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

// The policy's tables as two parallel arrays, $1 and $2.
struct Wanted {
  std::string schemas, names;
  std::vector<std::optional<std::string>> Parameters() const { return {schemas, names}; }
};

Wanted WantedTables(const Policy& policy) {
  std::vector<std::string> schemas, names;
  auto add = [&](const TableName& table) {
    schemas.push_back(table.schema);
    names.push_back(table.name);
  };
  for (const auto& [name, table] : policy.tables) add(name);
  for (const TableName& name : policy.open_tables) add(name);
  return {TextArray(schemas), TextArray(names)};
}

// The common head of the queries below: `wanted` holds the oids of the policy's tables.
constexpr std::string_view kWanted = R"(
WITH wanted AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind
  FROM unnest($1::text[], $2::text[]) AS w(s, t)
  JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.t
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f'))
)";

// `parts`: they and their partitions. `generated`: which columns a generated column reads.
constexpr std::string_view kReads = R"(
, parts AS (
  SELECT w.oid, w.nspname, w.relname, p.relid
  FROM wanted w CROSS JOIN LATERAL (SELECT w.oid AS relid UNION SELECT t.relid::oid FROM pg_partition_tree(w.oid) t) p)
, generated AS (
  SELECT d.adrelid AS rel, d.adnum AS num, y.refobjsubid AS source
  FROM pg_attrdef d JOIN pg_attribute g ON g.attrelid = d.adrelid AND g.attnum = d.adnum AND g.attgenerated <> ''
  JOIN pg_depend y ON y.classid = 'pg_attrdef'::regclass AND y.objid = d.oid AND y.refclassid = 'pg_class'::regclass
    AND y.refobjid = d.adrelid AND y.refobjsubid NOT IN (0, d.adnum))
, indexes AS (
  SELECT w.nspname, w.relname, w.relid, w.relid = w.oid AS own, i.relname AS name, x.*,
         ARRAY(SELECT DISTINCT a.attname::text
               FROM (SELECT unnest(x.indkey::int2[]) AS num
                     UNION SELECT y.refobjsubid FROM pg_depend y
                     WHERE y.classid = 'pg_class'::regclass AND y.objid = x.indexrelid
                       AND y.refclassid = 'pg_class'::regclass AND y.refobjid = x.indrelid AND y.refobjsubid <> 0) k
               LEFT JOIN generated e ON e.rel = x.indrelid AND e.num = k.num
               JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = coalesce(e.source, k.num)
               ORDER BY 1) AS reads
  FROM parts w JOIN pg_index x ON x.indrelid = w.relid JOIN pg_class i ON i.oid = x.indexrelid
  WHERE w.relid = w.oid OR NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = x.indexrelid))
)";

constexpr std::string_view kTables = "SELECT nspname, relname, oid, relkind FROM wanted";

constexpr std::string_view kColumns = R"(
SELECT w.nspname, w.relname, a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod),
       b.oid, format_type(b.oid, CASE WHEN b.oid = a.atttypid THEN a.atttypmod ELSE t.typtypmod END),
       t.typtype, b.typcategory, en.nspname, a.attnotnull, coalesce(l.collisdeterministic, true),
       a.attgenerated <> '', a.attidentity = 'a', e.typname,
       (a.atthasdef AND a.attgenerated = '') OR t.typdefault IS NOT NULL
FROM wanted w JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = (
  WITH RECURSIVE over(id, kind, base) AS (
    SELECT t.oid, t.typtype, t.typbasetype
    UNION ALL SELECT x.oid, x.typtype, x.typbasetype FROM over JOIN pg_type x ON x.oid = over.base WHERE over.kind = 'd')
  SELECT id FROM over WHERE kind <> 'd')
JOIN pg_type e ON e.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN t.typelem ELSE t.oid END
JOIN pg_namespace en ON en.oid = e.typnamespace
LEFT JOIN pg_collation l ON l.oid = a.attcollation
ORDER BY w.oid, a.attnum)";

constexpr std::string_view kKeys = R"(
SELECT x.nspname, x.relname, x.name, x.indisprimary, x.indisunique, x.indpred IS NULL AND x.indexprs IS NULL,
       ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(num, at)
             JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.num
             WHERE k.at <= x.indnkeyatts ORDER BY k.at),
       x.reads, x.own, NOT x.indnullsnotdistinct
FROM indexes x WHERE x.indisunique OR x.indisexclusion ORDER BY x.relid, x.name)";

constexpr std::string_view kForeignKeys = R"(
SELECT c.conname, fn.nspname, f.relname, tn.nspname, t.relname,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k(num, at)
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num ORDER BY k.at),
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k(num, at)
             JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num ORDER BY k.at),
       c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd')
FROM pg_constraint c JOIN pg_class f ON f.oid = c.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
JOIN pg_class t ON t.oid = c.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0
  AND (c.conrelid IN (SELECT oid FROM wanted) OR c.confrelid IN (SELECT oid FROM wanted))
ORDER BY c.conname, c.oid)";

constexpr std::string_view kChecks = R"(
SELECT w.nspname, w.relname, 'check ' || c.conname,
       ARRAY(SELECT DISTINCT a.attname::text FROM unnest(c.conkey) AS k(num)
             LEFT JOIN generated e ON e.rel = w.relid AND e.num = k.num
             JOIN pg_attribute a ON a.attrelid = w.relid AND a.attnum = coalesce(e.source, k.num) ORDER BY 1)
FROM parts w JOIN pg_constraint c ON c.conrelid = w.relid AND c.contype = 'c' AND (w.relid = w.oid OR c.conislocal)
UNION ALL
SELECT w.nspname, w.relname, 'generated column ' || g.attname,
       ARRAY(SELECT a.attname::text FROM generated e JOIN pg_attribute a ON a.attrelid = e.rel AND a.attnum = e.source
             WHERE e.rel = w.oid AND e.num = g.attnum ORDER BY 1)
FROM wanted w JOIN pg_attribute g ON g.attrelid = w.oid AND g.attgenerated <> '' AND NOT g.attisdropped
UNION ALL
SELECT x.nspname, x.relname, 'index ' || x.name, x.reads FROM indexes x
WHERE x.indexprs IS NOT NULL OR x.indpred IS NOT NULL
ORDER BY 1, 2, 3)";

// tgtype bits: 4 insert, 8 delete, 16 update (PostgreSQL, catalog/pg_trigger.h).
constexpr std::string_view kTriggers = R"(
SELECT w.nspname, w.relname, g.tgname, pn.nspname || '.' || p.proname, l.lanname, p.prosrc, p.prosecdef,
       (g.tgtype & 4) <> 0, (g.tgtype & 16) <> 0, (g.tgtype & 8) <> 0
FROM parts w JOIN pg_trigger g ON g.tgrelid = w.relid AND NOT g.tgisinternal AND g.tgenabled IN ('O', 'A')
  AND (w.relid = w.oid OR g.tgparentid = 0)
JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang ORDER BY w.oid, g.tgname)";

constexpr std::string_view kRules = R"(
SELECT w.nspname, w.relname, r.rulename FROM parts w JOIN pg_rewrite r ON r.ev_class = w.relid AND r.ev_type <> '1'
ORDER BY 1, 2, 3)";

constexpr std::string_view kSequences = R"(
SELECT w.nspname, w.relname, a.attname, sn.nspname, s.relname
FROM wanted w JOIN pg_attrdef d ON d.adrelid = w.oid
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
JOIN pg_depend x ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid AND x.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = x.refobjid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
ORDER BY w.oid, a.attnum, s.oid)";

constexpr std::string_view kReading = R"(
SELECT w.nspname, w.relname, bn.nspname, b.relname
FROM wanted w JOIN pg_rewrite r ON r.ev_class = w.oid
JOIN pg_depend x ON x.classid = 'pg_rewrite'::regclass AND x.objid = r.oid AND x.refclassid = 'pg_class'::regclass
JOIN pg_class b ON b.oid = x.refobjid AND b.oid <> w.oid JOIN pg_namespace bn ON bn.oid = b.relnamespace
WHERE w.relkind IN ('v', 'm'))";

TableName NameAt(const Rows& rows, int row, int column) { return {rows.Text(row, column), rows.Text(row, column + 1)}; }
char CharAt(const Rows& rows, int row, int column) {
  std::string_view text = rows.At(row, column);
  return text.empty() ? '\0' : text[0];
}

Status ReadColumns(Database& database, const Wanted& wanted, Catalog& catalog) {
  ECLUSE_TRY(Rows tables, database.Query(std::string(kWanted) + std::string(kTables), wanted.Parameters()));
  for (int i = 0; i < tables.size(); ++i) {
    CatalogTable& table = catalog.tables[NameAt(tables, i, 0)];
    table.name = NameAt(tables, i, 0);
    table.oid = tables.Number(i, 2);
    table.kind = CharAt(tables, i, 3);
  }
  ECLUSE_TRY(Rows rows, database.Query(std::string(kWanted) + std::string(kColumns), wanted.Parameters()));
  for (int i = 0; i < rows.size(); ++i) {
    CatalogColumn column;
    column.name = rows.Text(i, 2);
    column.type = rows.Number(i, 3);
    column.type_name = rows.Text(i, 4);
    column.base_type = rows.Number(i, 5);
    column.base_type_name = rows.Text(i, 6);
    column.type_kind = CharAt(rows, i, 7);
    column.category = CharAt(rows, i, 8);
    column.type_schema = rows.Text(i, 9);
    column.not_null = rows.True(i, 10);
    column.deterministic = rows.True(i, 11);
    column.generated = rows.True(i, 12);
    column.identity_always = rows.True(i, 13);
    column.type_element = rows.Text(i, 14);
    column.has_default = rows.True(i, 15);
    catalog.tables[NameAt(rows, i, 0)].columns.push_back(std::move(column));
  }
  return {};
}

Status ReadConstraints(Database& database, const Wanted& wanted, Catalog& catalog) {
  ECLUSE_TRY(Rows keys,
             database.Query(std::string(kWanted) + std::string(kReads) + std::string(kKeys), wanted.Parameters()));
  for (int i = 0; i < keys.size(); ++i) {
    CatalogKey key{keys.Text(i, 2), keys.List(i, 6), keys.True(i, 3), keys.True(i, 4),
                   keys.True(i, 5), keys.List(i, 7), keys.True(i, 8), keys.True(i, 9)};
    for (std::string& column : key.reads) column = OfEqualityColumn(column);
    catalog.tables[NameAt(keys, i, 0)].keys.push_back(std::move(key));
  }
  ECLUSE_TRY(Rows foreign, database.Query(std::string(kWanted) + std::string(kForeignKeys), wanted.Parameters()));
  for (int i = 0; i < foreign.size(); ++i) {
    CatalogForeignKey key{foreign.Text(i, 0), NameAt(foreign, i, 1), NameAt(foreign, i, 3),
                          foreign.List(i, 5), foreign.List(i, 6),    foreign.True(i, 7)};
    if (auto from = catalog.tables.find(key.from); from != catalog.tables.end())
      from->second.foreign_keys.push_back(key);
    if (auto to = catalog.tables.find(key.to); to != catalog.tables.end()) to->second.referencing.push_back(key);
  }
  ECLUSE_TRY(Rows checks,
             database.Query(std::string(kWanted) + std::string(kReads) + std::string(kChecks), wanted.Parameters()));
  for (int i = 0; i < checks.size(); ++i) {
    catalog.tables[NameAt(checks, i, 0)].checks.push_back({checks.Text(i, 2), checks.List(i, 3)});
  }
  return {};
}

Status ReadBehaviour(Database& database, const Wanted& wanted, Catalog& catalog) {
  ECLUSE_TRY(Rows triggers,
             database.Query(std::string(kWanted) + std::string(kReads) + std::string(kTriggers), wanted.Parameters()));
  for (int i = 0; i < triggers.size(); ++i) {
    CatalogTrigger trigger;
    trigger.name = triggers.Text(i, 2);
    trigger.function = triggers.Text(i, 3);
    trigger.language = triggers.Text(i, 4);
    trigger.source = triggers.Text(i, 5);
    trigger.definer = triggers.True(i, 6);
    trigger.on_insert = triggers.True(i, 7);
    trigger.on_update = triggers.True(i, 8);
    trigger.on_delete = triggers.True(i, 9);
    catalog.tables[NameAt(triggers, i, 0)].triggers.push_back(std::move(trigger));
  }
  ECLUSE_TRY(Rows rules,
             database.Query(std::string(kWanted) + std::string(kReads) + std::string(kRules), wanted.Parameters()));
  for (int i = 0; i < rules.size(); ++i) catalog.tables[NameAt(rules, i, 0)].rules.push_back(rules.Text(i, 2));
  ECLUSE_TRY(Rows sequences, database.Query(std::string(kWanted) + std::string(kSequences), wanted.Parameters()));
  for (int i = 0; i < sequences.size(); ++i) {
    catalog.tables[NameAt(sequences, i, 0)].sequences[sequences.Text(i, 2)] = NameAt(sequences, i, 3);
  }
  ECLUSE_TRY(Rows reading, database.Query(std::string(kWanted) + std::string(kReading), wanted.Parameters()));
  for (int i = 0; i < reading.size(); ++i) catalog.reading[NameAt(reading, i, 0)] = NameAt(reading, i, 2);
  return {};
}

Status ReadSystem(Database& database, const Policy& policy, Catalog& catalog) {
  ECLUSE_TRY(Rows system, database.Query(R"(
    SELECT n.nspname, c.relname, a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod), c.oid
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v')
    ORDER BY c.oid, a.attnum)"));
  for (int i = 0; i < system.size(); ++i) {
    catalog.system_oids[NameAt(system, i, 0)] = system.Number(i, 5);
    catalog.system[NameAt(system, i, 0)].push_back({system.Text(i, 2), system.Number(i, 3), system.Text(i, 4)});
  }
  std::vector<std::string> logins, zones;
  for (const auto& [name, role] : policy.roles) {
    logins.push_back(policy.LoginOf(name));
    for (const auto& [table, masks] : role.read) {
      for (const auto& [column, mask] : masks) {
        if (mask.kind == Mask::Kind::year || mask.kind == Mask::Kind::month) zones.push_back(role.hours.time_zone);
      }
    }
  }
  ECLUSE_TRY(Rows views, database.Query(R"(
    SELECT n.nspname, c.relname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY ($1::text[]) AND c.relkind = 'v')",
                                        {TextArray(logins)}));
  for (int i = 0; i < views.size(); ++i) catalog.views[NameAt(views, i, 0)] = views.Number(i, 2);
  if (zones.empty()) return {};  // the list is slow to make: PostgreSQL reads every file of its time zones
  ECLUSE_TRY(Rows known,
             database.Query("SELECT name FROM pg_timezone_names WHERE name = ANY ($1::text[])", {TextArray(zones)}));
  for (int i = 0; i < known.size(); ++i) catalog.time_zones.insert(known.Text(i, 0));
  return {};
}

}  // namespace

const CatalogColumn* CatalogTable::Find(const std::string& column) const {
  auto found = std::ranges::find(columns, column, &CatalogColumn::name);
  return found == columns.end() ? nullptr : &*found;
}

Result<Catalog> ReadTableCatalog(Database& database, const Policy& policy) {
  Catalog catalog;
  const Wanted wanted = WantedTables(policy);
  ECLUSE_OK(ReadColumns(database, wanted, catalog));
  ECLUSE_OK(ReadConstraints(database, wanted, catalog));
  ECLUSE_OK(ReadBehaviour(database, wanted, catalog));
  return catalog;
}

Result<Catalog> ReadCatalog(Database& database, const Policy& policy) {
  ECLUSE_TRY(Catalog catalog, ReadTableCatalog(database, policy));
  ECLUSE_OK(ReadSystem(database, policy, catalog));
  return catalog;
}

}  // namespace ecluse
