#include "policy/shadow.h"

#include <algorithm>
#include <set>

#include "policy/database.h"
#include "policy/shadow_defs.h"

namespace ecluse {
namespace {

// A pseudo-type of the catalogs that no view may have; text[] prints alike.
constexpr std::string_view kAnyArray = "anyarray";

std::string Filled(std::string_view text, const RoleSchema& schema) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i).starts_with("{}")) {
      out += QuoteName(schema.login);
      i += 2;
    } else if (text.substr(i).starts_with("{login}")) {
      out += QuoteText(schema.login);
      i += 7;
    } else {
      out += text[i++];
    }
  }
  return out;
}

// The role's relations: the oid they are known by, the table behind, and which of its columns are read clear (NULL:
// all).
std::string RelationRows(const RoleSchema& schema) {
  std::string rows;
  auto add = [&](const std::string& shown, const TableName& base, const std::string& clear) {
    rows += rows.empty() ? "VALUES " : ",\n  ";
    rows +=
        "(" + QuoteText(shown) + "::regclass::oid, " + QuoteText(QuoteTable(base)) + "::regclass::oid, " + clear + ")";
  };
  auto array = [](const std::string& list) { return "ARRAY[" + list + "]::name[]"; };
  for (const auto& [name, view] : schema.guarded) {
    std::string clear;
    for (const ViewColumn& column : view.columns) {
      const std::string quoted = QuoteText(column.name);
      if (column.mask.kind == Mask::Kind::clear) clear += (clear.empty() ? "" : ", ") + quoted;
    }
    add(QuoteName(schema.login) + "." + QuoteName(view.view), name, array(clear));
  }
  for (const auto& [name, open] : schema.open) add(QuoteTable(name), name, "NULL::name[]");
  return rows.empty() ? "SELECT NULL::oid, NULL::oid, NULL::name[] WHERE false" : rows;
}

// Sealed columns, which are shown as what they were declared as: view, column, type and modifier.
std::string SealedRows(const RoleSchema& schema) {
  std::string rows;
  for (const auto& [name, view] : schema.guarded) {
    for (const ViewColumn& column : view.columns) {
      if (!column.sealed) continue;
      rows += (rows.empty() ? "VALUES (" : ",\n  (") + QuoteText(QuoteName(schema.login) + "." + QuoteName(view.view)) +
              "::regclass::oid, " + QuoteText(column.name) + "::name, " + std::to_string(column.sealed->type.oid) +
              "::oid, " + std::to_string(column.sealed->type.modifier) + ")";
    }
  }
  return rows.empty() ? "SELECT NULL::oid, NULL::name, NULL::oid, NULL::int4 WHERE false" : rows;
}

std::string TypeCondition(const RoleSchema& schema) {
  std::string named;
  for (const std::string& type : schema.types) {
    const size_t dot = type.find('.');
    named += (named.empty() ? "" : ", ") + std::string("(") + QuoteText(type.substr(0, dot)) + ", " +
             QuoteText(type.substr(dot + 1)) + ")";
  }
  if (named.empty()) return "";
  return " OR (n.nspname, e.typname) IN (" + named + ")";
}

// Views the stand-ins are made of. A key is shown only where the role reads all its columns clear.
std::vector<SqlObject> Helpers(const RoleSchema& schema) {
  auto view = [&](const std::string& name, std::string_view select) {
    return SqlObject{
        SqlObject::Kind::view, name,
        "CREATE VIEW " + QuoteName(schema.login) + "." + QuoteName(name) + " AS " + Filled(select, schema)};
  };
  const std::string relation =
      "SELECT r.oid, r.base, r.clear, c.relname, n.oid AS nspoid, n.nspname FROM (" + RelationRows(schema) +
      ") AS r(oid, base, clear) JOIN pg_class c ON c.oid = r.base JOIN pg_namespace n ON n.oid = "
      "c.relnamespace";
  const std::string type =
      "SELECT t.oid FROM pg_type t JOIN pg_type e ON e.oid = CASE WHEN t.typelem <> 0 AND t.typlen = -1 "
      "THEN t.typelem ELSE t.oid END JOIN pg_namespace n ON n.oid = e.typnamespace WHERE "
      "(n.nspname = 'pg_catalog' AND e.typtype <> 'c')" +
      TypeCondition(schema);
  return {
      view("__relation", relation),
      view("__column", R"(
SELECT r.oid AS relation, a.attnum, a.attname, b.attnum AS base_attnum, own.clear, b.attnotnull AND own.clear AS attnotnull,
       coalesce(z.type, a.atttypid) AS type, coalesce(z.modifier, a.atttypmod) AS modifier
FROM {}."__relation" r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_attribute b ON b.attrelid = r.base AND b.attname = a.attname AND b.attnum > 0
CROSS JOIN LATERAL (SELECT r.clear IS NULL OR a.attname = ANY (r.clear) AS clear) own
LEFT JOIN ()" + SealedRows(schema) +
                           R"() AS z(relation, attname, type, modifier) ON z.relation = r.oid AND z.attname = a.attname
WHERE a.attname !~ '^__')"),
      view("__index", R"(
SELECT x.indexrelid AS oid, r.oid AS relation, r.nspoid, r.nspname, r.relname AS tablename, i.relname, k.attnums, k.names,
       'CREATE UNIQUE INDEX ' || quote_ident(i.relname) || ' ON ' || quote_ident(r.nspname) || '.' || quote_ident(r.relname)
       || ' USING ' || m.amname || ' (' || array_to_string(k.names, ', ') || ')' AS definition
FROM {}."__relation" r JOIN pg_index x ON x.indrelid = r.base AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL
JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam
CROSS JOIN LATERAL (
  SELECT array_agg(c.attnum ORDER BY u.at) AS attnums, array_agg(quote_ident(c.attname) ORDER BY u.at) AS names,
         bool_and(c.attnum IS NOT NULL) AS whole
  FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u(num, at)
  LEFT JOIN {}."__column" c ON c.relation = r.oid AND c.base_attnum = u.num AND c.clear) k
WHERE k.whole)"),
      view("__constraint", R"(
SELECT c.oid, c.conname, c.contype, c.conindid AS index, r.oid AS relation, r.nspoid, r.nspname, r.relname AS tablename,
       k.attnums, coalesce(f.oid, 0) AS target, fk.attnums AS target_attnums,
       CASE c.contype WHEN 'p' THEN 'PRIMARY KEY (' || k.names || ')' WHEN 'u' THEN 'UNIQUE (' || k.names || ')'
       ELSE 'FOREIGN KEY (' || k.names || ') REFERENCES ' || quote_ident(f.nspname) || '.' || quote_ident(f.relname) || '('
            || fk.names || ')' END AS definition
FROM pg_constraint c JOIN {}."__relation" r ON r.base = c.conrelid
LEFT JOIN {}."__relation" f ON f.base = c.confrelid
CROSS JOIN LATERAL (
  SELECT array_agg(a.attnum ORDER BY u.at) AS attnums, string_agg(quote_ident(a.attname), ', ' ORDER BY u.at) AS names,
         bool_and(a.attnum IS NOT NULL) AS whole
  FROM unnest(c.conkey) WITH ORDINALITY AS u(num, at)
  LEFT JOIN {}."__column" a ON a.relation = r.oid AND a.base_attnum = u.num AND a.clear) k
CROSS JOIN LATERAL (
  SELECT array_agg(a.attnum ORDER BY u.at) AS attnums, string_agg(quote_ident(a.attname), ', ' ORDER BY u.at) AS names,
         bool_and(a.attnum IS NOT NULL) AS whole
  FROM unnest(c.confkey) WITH ORDINALITY AS u(num, at)
  LEFT JOIN {}."__column" a ON a.relation = f.oid AND a.base_attnum = u.num AND a.clear) fk
WHERE k.whole AND (c.contype IN ('p', 'u') OR c.contype = 'f' AND f.oid IS NOT NULL AND fk.whole))"),
      view("__class", R"(
SELECT r.oid, r.relname, r.nspoid AS relnamespace, 'r'::"char" AS relkind,
       EXISTS (SELECT FROM {}."__index" i WHERE i.relation = r.oid) AS relhasindex,
       (SELECT max(c.attnum) FROM {}."__column" c WHERE c.relation = r.oid) AS relnatts
FROM {}."__relation" r
UNION ALL
SELECT i.oid, i.relname, i.nspoid, 'i'::"char", false, cardinality(i.attnums) FROM {}."__index" i)"),
      view("__type", type),
  };
}

std::string RelationSql(const RoleSchema& schema, const ShadowRelationDefinition& shadow,
                        const std::vector<SystemColumn>& columns) {
  const std::string real = std::string(shadow.schema) + "." + std::string(shadow.name);
  std::string select;
  for (const SystemColumn& column : columns) {
    const std::string type = column.type_name == kAnyArray ? "text[]" : column.type_name;
    auto own = std::ranges::find(shadow.columns, column.name, [](const auto& pair) { return pair.first; });
    const bool real_column = shadow.rows == ShadowRows::real || shadow.rows == ShadowRows::joined;
    std::string expression = real_column ? "x." + QuoteName(column.name) : "NULL";
    if (own != shadow.columns.end()) expression = Filled(own->second, schema);
    if (own != shadow.columns.end() || !real_column) expression = "(" + expression + ")::" + type;
    select += (select.empty() ? "" : ", ") + expression + " AS " + QuoteName(column.name);
  }
  std::string from;
  switch (shadow.rows) {
    case ShadowRows::none:
      from = " WHERE false";
      break;
    case ShadowRows::real:
      from = " FROM " + real + " x WHERE " + Filled(shadow.from, schema);
      break;
    case ShadowRows::joined:
    case ShadowRows::made:
      from = " FROM " + Filled(shadow.from, schema);
      break;
  }
  return "CREATE VIEW " + QuoteName(schema.login) + "." + QuoteName(real) + " AS SELECT " + select + from;
}

}  // namespace

const std::vector<TableName>& ShadowRelations() {
  static const std::vector<TableName> names = [] {
    std::vector<TableName> out;
    for (const auto& shadow : ShadowRelationDefinitions())
      out.push_back({std::string(shadow.schema), std::string(shadow.name)});
    return out;
  }();
  return names;
}

const std::vector<std::string>& ShadowFunctions() {
  static const std::vector<std::string> names = [] {
    std::set<std::string> unique;
    for (const auto& function : ShadowFunctionDefinitions()) unique.insert(std::string(function.name));
    return std::vector<std::string>(unique.begin(), unique.end());
  }();
  return names;
}

std::vector<SqlObject> ShadowObjects(const RoleSchema& schema, const Catalog& catalog) {
  std::vector<SqlObject> objects = Helpers(schema);
  for (const auto& shadow : ShadowRelationDefinitions()) {
    auto real = catalog.system.find({std::string(shadow.schema), std::string(shadow.name)});
    if (real == catalog.system.end()) continue;  // not in this version of PostgreSQL
    objects.push_back({SqlObject::Kind::view, real->first.Text(), RelationSql(schema, shadow, real->second)});
  }
  for (const auto& function : ShadowFunctionDefinitions()) {
    const std::string name = std::string(function.name) + "(" + std::string(function.arguments) + ")";
    const std::string returns(function.returns), body = Filled(function.body, schema);
    // A stored body (PostgreSQL manual, CREATE FUNCTION, sql_body): its names are looked up now and not by the caller.
    const std::string stored =
        function.returns.starts_with("SETOF ") ? "BEGIN ATOMIC " + body + "; END" : "RETURN (" + body + ")::" + returns;
    objects.push_back({SqlObject::Kind::function, name,
                       "CREATE FUNCTION " + QuoteName(schema.login) + "." + name + " RETURNS " + returns +
                           " LANGUAGE sql STABLE " + stored});
  }
  return objects;
}

}  // namespace ecluse
