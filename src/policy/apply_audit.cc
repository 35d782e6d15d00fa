// What speaks against applying a policy to this database.
#include <algorithm>

#include "policy/applied.h"
#include "policy/apply_parts.h"

namespace ecluse {
namespace {

Status AuditRelations(Database& database, const Policy& policy, std::vector<std::string>& refusals) {
  ECLUSE_TRY(Rows rows, database.Query(R"(
    SELECT n.nspname, c.relname, x.privilege_type, ''
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) x
    WHERE x.grantee = 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT n.nspname, c.relname, x.privilege_type, a.attname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid,
         aclexplode(a.attacl) x
    WHERE a.attacl IS NOT NULL AND x.grantee = 0
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
    ORDER BY 1, 2, 3, 4)"));
  for (int i = 0; i < rows.size(); ++i) {
    const TableName table{rows.Text(i, 0), rows.Text(i, 1)};
    const std::string right = rows.Text(i, 2), column = rows.Text(i, 3);
    if (policy.open_tables.contains(table) && right == "SELECT") continue;
    const std::string what = column.empty() ? right : right + " (" + QuoteName(column) + ")";
    refusals.push_back("PUBLIC, and so every login of the gate, has " + what + " on " + table.Text() +
                       "; mend it: REVOKE " + what + " ON " + QuoteTable(table) + " FROM PUBLIC;");
  }
  return {};
}

Status AuditFunctions(Database& database, std::vector<std::string>& refusals) {
  ECLUSE_TRY(Rows rows, database.Query(R"(
    SELECT p.oid::regprocedure::text, n.nspname || '.' || p.proname
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
      AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
                  WHERE x.grantee = 0 AND x.privilege_type = 'EXECUTE')
    ORDER BY 1)"));
  for (int i = 0; i < rows.size(); ++i) {
    refusals.push_back("PUBLIC may execute " + rows.Text(i, 0) +
                       ", which runs with its owner's rights (SECURITY DEFINER); mend it: REVOKE EXECUTE ON ROUTINE " +
                       rows.Text(i, 0) + " FROM PUBLIC;");
  }
  return {};
}

Status AuditSchemas(Database& database, std::vector<std::string>& refusals) {
  ECLUSE_TRY(Rows schemas, database.Query(R"(
    SELECT n.nspname FROM pg_namespace n, aclexplode(n.nspacl) x
    WHERE x.grantee = 0 AND x.privilege_type = 'CREATE' AND n.nspname !~ '^pg_temp' ORDER BY 1)"));
  for (int i = 0; i < schemas.size(); ++i) {
    refusals.push_back("PUBLIC may create objects in the schema " + schemas.Text(i, 0) +
                       "; mend it: REVOKE CREATE ON SCHEMA " + QuoteName(schemas.At(i, 0)) + " FROM PUBLIC;");
  }
  ECLUSE_TRY(Rows temporary, database.Query(R"(
    SELECT d.datname FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
    WHERE d.datname = current_database() AND x.grantee = 0 AND x.privilege_type IN ('TEMPORARY', 'CREATE') ORDER BY 1 LIMIT 1)"));
  if (temporary.size() > 0) {
    refusals.push_back("PUBLIC may create temporary objects in the database " + temporary.Text(0, 0) +
                       "; mend it: REVOKE TEMPORARY, CREATE ON DATABASE " + QuoteName(temporary.At(0, 0)) +
                       " FROM PUBLIC;");
  }
  return {};
}

// Columns of the scratch table that a generated column reads.
Result<std::set<std::string>> ConditionColumns(Database& database, const std::string& scratch) {
  ECLUSE_TRY(Rows rows, database.Query(R"(
    SELECT DISTINCT a.attname FROM pg_attrdef d
    JOIN pg_attribute own ON own.attrelid = d.adrelid AND own.attnum = d.adnum AND own.attname = '__condition'
    JOIN pg_depend x ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid
      AND x.refclassid = 'pg_class'::regclass AND x.refobjid = d.adrelid AND x.refobjsubid NOT IN (0, d.adnum)
    JOIN pg_attribute a ON a.attrelid = x.refobjid AND a.attnum = x.refobjsubid
    WHERE d.adrelid = $1::regclass)",
                                       {scratch}));
  std::set<std::string> columns;
  for (int i = 0; i < rows.size(); ++i) columns.insert(rows.Text(i, 0));
  return columns;
}

// PostgreSQL itself judges a condition: a generated column takes immutable expressions over its own row only. now()
// alone is allowed besides, so a stand-in of that name that is immutable stands first in the path.
Result<std::optional<std::string>> Judge(Database& database, const Policy& policy, const Role& role,
                                         const TableName& table, const std::string& condition) {
  const std::string schema = QuoteName(NotesSchema(policy) + "__condition");
  const std::string scratch = schema + "." + QuoteName(table.name);
  ECLUSE_OK(
      database.Run("CREATE SCHEMA " + schema + "; CREATE TABLE " + scratch + " (LIKE " + QuoteTable(table) +
                   "); CREATE FUNCTION " + schema +
                   ".now() RETURNS timestamptz LANGUAGE sql IMMUTABLE RETURN '2000-01-01 00:00:00+00'::timestamptz; "
                   "SET LOCAL search_path TO " +
                   schema + ", pg_catalog"));
  auto added = database.Query("ALTER TABLE " + scratch + " ADD COLUMN \"__condition\" boolean GENERATED ALWAYS AS (" +
                              condition + "\n) STORED");
  if (!added) return added.error().message;
  auto write = role.write.find(table);
  if (write == role.write.end()) return std::nullopt;
  ECLUSE_TRY(std::set<std::string> columns, ConditionColumns(database, scratch));
  // A generated column is written when one that it reads is.
  ECLUSE_TRY(Rows sources, database.Query(R"(
    SELECT g.attname, s.attname FROM pg_attrdef d
    JOIN pg_attribute g ON g.attrelid = d.adrelid AND g.attnum = d.adnum AND g.attgenerated <> ''
    JOIN pg_depend x ON x.classid = 'pg_attrdef'::regclass AND x.objid = d.oid AND x.refclassid = 'pg_class'::regclass
      AND x.refobjid = d.adrelid AND x.refobjsubid NOT IN (0, d.adnum)
    JOIN pg_attribute s ON s.attrelid = d.adrelid AND s.attnum = x.refobjsubid
    WHERE d.adrelid = $1::regclass ORDER BY 1, 2)",
                                          {QuoteTable(table)}));
  const std::set<std::string> named = columns;
  for (int i = 0; i < sources.size(); ++i) {
    if (!named.contains(sources.Text(i, 0))) continue;
    columns.erase(sources.Text(i, 0));
    columns.insert(sources.Text(i, 1));
  }
  bool updated = false;
  std::string unseen;
  for (const std::string& column : columns) {
    updated = updated || write->second.update_columns.contains(column);
    auto mask = role.read.at(table).find(column);
    if (mask == role.read.at(table).end() || mask->second.kind != Mask::Kind::clear) unseen = column;
  }
  if (!updated || unseen.empty()) return std::nullopt;
  return "it compares a column that the role updates with " + unseen +
         ", which it does not read clear: trying values would "
         "find it out";
}

}  // namespace

Result<std::vector<std::string>> AuditPublic(Database& database, const Policy& policy) {
  std::vector<std::string> refusals;
  ECLUSE_OK(AuditRelations(database, policy, refusals));
  ECLUSE_OK(AuditFunctions(database, refusals));
  ECLUSE_OK(AuditSchemas(database, refusals));
  return refusals;
}

Result<std::vector<PolicyProblem>> CheckConditions(Database& database, const Policy& policy, const Catalog& catalog) {
  std::vector<PolicyProblem> problems;
  for (const auto& [name, role] : policy.roles) {
    for (const auto& [table, condition] : role.rows) {
      if (!catalog.tables.contains(table)) continue;  // a problem of its own
      ECLUSE_OK(database.Run("SAVEPOINT ecluse_condition"));
      auto verdict = Judge(database, policy, role, table, condition);
      ECLUSE_OK(
          database.Run("ROLLBACK TO SAVEPOINT ecluse_condition; RELEASE SAVEPOINT ecluse_condition; "
                       "SET LOCAL search_path TO pg_catalog"));
      if (!verdict) return std::unexpected(verdict.error());
      if (!*verdict) continue;
      problems.push_back(
          {role.mark,
           "roles." + name + ".rows." + table.Text() + " cannot be used: " + **verdict +
               "; a row condition is a boolean expression over its own row, of immutable functions and now()",
           false});
    }
  }
  return problems;
}

}  // namespace ecluse
