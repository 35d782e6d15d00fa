#include "policy/applied.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "policy/objects.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

constexpr std::string_view kRunApply = "run `ecluse apply --config FILE --owner postgres://owner@host/database`";

std::string Sha256(std::string_view text) {
  uint8_t hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
  return HexEncode(hash);
}

std::string LoginPath(const std::string& data_dir, const std::string& login) { return data_dir + "/logins/" + login; }
std::string LoginBinding(const std::string& login) { return "login:" + login; }

// Definitions as PostgreSQL prints them, one line each; the first column is the part they belong to.
constexpr std::string_view kTableState = R"(
WITH wanted AS (
  SELECT c.*, n.nspname FROM unnest($1::text[], $2::text[]) AS w(s, t)
  JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.t)
, parts AS (
  SELECT w.nspname, w.relname, p.oid
  FROM wanted w CROSS JOIN LATERAL (SELECT w.oid UNION SELECT t.relid::oid FROM pg_partition_tree(w.oid) t) p(oid))
SELECT 'table ' || nspname || '.' || relname, concat_ws('|', 'relation', relkind, relrowsecurity, relforcerowsecurity)
FROM wanted
UNION ALL
SELECT 'table ' || w.nspname || '.' || w.relname,
       concat_ws('|', 'partition', c.oid::regclass, c.relkind, pg_get_expr(c.relpartbound, c.oid))
FROM parts w JOIN pg_class c ON c.oid = w.oid AND c.relispartition
UNION ALL
SELECT 'table ' || w.nspname || '.' || w.relname,
       concat_ws('|', 'column', a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                 a.attgenerated, l.collname, l.collisdeterministic, pg_get_expr(d.adbin, d.adrelid))
FROM wanted w JOIN pg_attribute a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attname !~ '^__(sealed|clear|bidx)_'
LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_attrdef d ON d.adrelid = w.oid AND d.adnum = a.attnum
UNION ALL
SELECT 'table ' || w.nspname || '.' || w.relname, concat_ws('|', 'constraint', c.conname, c.conrelid::regclass,
       pg_get_constraintdef(c.oid))
FROM parts w JOIN pg_constraint c ON w.oid IN (c.conrelid, c.confrelid) AND c.conparentid = 0
UNION ALL
SELECT 'table ' || w.nspname || '.' || w.relname, concat_ws('|', 'index', pg_get_indexdef(x.indexrelid))
FROM parts w JOIN pg_index x ON x.indrelid = w.oid
  AND (x.indisunique OR x.indisexclusion OR x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
UNION ALL
SELECT 'table ' || w.nspname || '.' || w.relname, concat_ws('|', 'trigger', g.tgenabled, pg_get_triggerdef(g.oid),
       p.prosecdef, p.prosrc)
FROM parts w JOIN pg_trigger g ON g.tgrelid = w.oid AND NOT g.tgisinternal AND g.tgname <> '~ecluse_mark' JOIN pg_proc p ON p.oid = g.tgfoid
UNION ALL
SELECT 'table ' || w.nspname || '.' || w.relname, concat_ws('|', 'rule', pg_get_ruledef(r.oid))
FROM parts w JOIN pg_rewrite r ON r.ev_class = w.oid
UNION ALL
SELECT 'table ' || w.nspname || '.' || w.relname, concat_ws('|', 'public', x.privilege_type)
FROM wanted w, aclexplode(w.relacl) x WHERE x.grantee = 0
ORDER BY 1, 2)";

// What the logins may do ("role …"), and what stands in their schemas ("views …").
constexpr std::string_view kRoleState = R"(
WITH role AS (SELECT * FROM pg_roles WHERE rolname = ANY ($1::text[])),
own AS (SELECT * FROM pg_namespace WHERE nspname = ANY ($1::text[]))
SELECT 'role ' || rolname, concat_ws('|', 'login', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
       rolreplication, rolbypassrls, rolconfig::text) FROM role
UNION ALL
SELECT 'role ' || r.rolname, concat_ws('|', 'setting', s.setconfig::text)
FROM role r JOIN pg_db_role_setting s ON s.setrole = r.oid AND s.setdatabase <> 0
UNION ALL
SELECT 'role ' || r.rolname, concat_ws('|', 'member', m.rolname)
FROM role r JOIN pg_auth_members a ON a.member = r.oid JOIN pg_roles m ON m.oid = a.roleid
UNION ALL
SELECT 'role ' || nspname, concat_ws('|', 'schema', nspacl::text) FROM own
UNION ALL
SELECT 'role ' || n.nspname, concat_ws('|', 'relation', c.relname, c.relacl::text)
FROM own n JOIN pg_class c ON c.relnamespace = n.oid
UNION ALL
SELECT 'role ' || n.nspname, concat_ws('|', 'column', c.relname, a.attname, a.attacl::text)
FROM own n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attacl IS NOT NULL
UNION ALL
SELECT 'role ' || r.rolname, concat_ws('|', 'granted', n.nspname, c.relname, x.privilege_type, x.is_grantable)
FROM role r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) x
WHERE x.grantee = r.oid AND n.nspname <> ALL ($1::text[])
UNION ALL
SELECT 'role ' || r.rolname, concat_ws('|', 'granted', n.nspname, c.relname, a.attname, x.privilege_type)
FROM role r, pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
     aclexplode(a.attacl) x
WHERE a.attacl IS NOT NULL AND x.grantee = r.oid AND n.nspname <> ALL ($1::text[])
UNION ALL
SELECT 'role ' || r.rolname, concat_ws('|', 'granted schema', n.nspname, x.privilege_type)
FROM role r, pg_namespace n, aclexplode(n.nspacl) x WHERE x.grantee = r.oid AND n.nspname <> ALL ($1::text[])
UNION ALL
SELECT 'views ' || nspname, concat_ws('|', 'schema', nspowner::regrole) FROM own
UNION ALL
SELECT 'views ' || n.nspname, concat_ws('|', 'relation', c.relname, c.relkind, c.relowner::regrole, c.reloptions::text,
       CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END)
FROM own n JOIN pg_class c ON c.relnamespace = n.oid
UNION ALL
SELECT 'views ' || n.nspname, concat_ws('|', 'function', pg_get_functiondef(p.oid), p.proowner::regrole, p.proacl::text)
FROM own n JOIN pg_proc p ON p.pronamespace = n.oid
ORDER BY 1, 2)";

void Gather(const Rows& rows, Fingerprint& parts) {
  std::map<std::string, std::string> texts;
  for (int i = 0; i < rows.size(); ++i) {
    std::string& text = texts[rows.Text(i, 0)];
    text += std::to_string(rows.At(i, 1).size()) + ":";
    text += rows.At(i, 1);
  }
  for (const auto& [part, text] : texts) parts[part] = Sha256(text);
}

std::string Differing(const Fingerprint& now, const Fingerprint& then, std::string_view prefix) {
  std::string names;
  auto add = [&](const std::string& part) { names += (names.empty() ? "" : ", ") + part.substr(prefix.size()); };
  for (const auto& [part, hash] : now) {
    auto other = then.find(part);
    if (part.starts_with(prefix) && (other == then.end() || other->second != hash)) add(part);
  }
  for (const auto& [part, hash] : then) {
    if (part.starts_with(prefix) && !now.contains(part)) add(part);
  }
  return names;
}

// A copy of the register, or of the keys, from before another search key was made finds nobody, and refuses nothing
// that is there twice.
Status CheckSearchKeys(Database& database, const Policy& policy, const KeyRing& keys) {
  std::vector<std::string> schemas, tables;
  for (const auto& [name, table] : policy.tables) {
    schemas.push_back(name.schema);
    tables.push_back(name.name);
  }
  ECLUSE_TRY(const Rows rows,
             database.Query("SELECT n.nspname, c.relname, a.attname, col_description(c.oid, a.attnum) FROM "
                            "unnest($1::text[], $2::text[]) AS w(s, t) JOIN pg_namespace n ON n.nspname = w.s JOIN "
                            "pg_class c ON c.relnamespace = n.oid AND c.relname = w.t JOIN pg_attribute a ON "
                            "a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND starts_with(a.attname, $3)",
                            {TextArray(schemas), TextArray(tables), std::string(kTokenPrefix)}));
  for (int row = 0; row < rows.size(); ++row) {
    const TableName name{rows.Text(row, 0), rows.Text(row, 1)};
    const auto held = keys.Compartment(policy.tables.at(name).compartment);
    if (held == nullptr || rows.Text(row, 3) == SearchKeyNote(HexEncode(held->search_id))) continue;
    return Fail(sqlstate::kNotAllowed,
                fmt::format("the tokens of {}.{} are under another search key than the ring's {}", name.Text(),
                            rows.Text(row, 2), HexEncode(held->search_id)),
                "where the register or the keys are a copy from before `ecluse keys rotate --search`, run that again: "
                "it makes the tokens anew",
                "policy.search-key");
  }
  return {};
}

}  // namespace

Result<LoginCredentials> LoadLogin(const std::string& data_dir, KeyRing& keys, const std::string& login) {
  constexpr size_t kLoginFile = 4'096;
  auto wrapped = ReadWholeFile(RealFiles(), LoginPath(data_dir, login), kLoginFile);
  if (!wrapped) {
    return Fail(sqlstate::kIo, "the password of the login " + login + " is not in the gate's data folder",
                std::string(kRunApply), "policy.login", wrapped.error().operator_detail);
  }
  auto password = keys.Unwrap(*wrapped, LoginBinding(login));
  if (!password) {
    return Fail(sqlstate::kIo, "the password of the login " + login + " does not open with this root key",
                "bring back the root key it was wrapped under, or " + std::string(kRunApply) + " for a new password",
                "policy.login", password.error().operator_detail);
  }
  LoginCredentials credentials{login, Secret(std::string_view(*password))};
  std::fill(password->begin(), password->end(), '\0');
  return credentials;
}

Status StoreLogin(const std::string& data_dir, KeyRing& keys, const LoginCredentials& credentials) {
  ECLUSE_OK(PreparePrivateFolder(RealFiles(), data_dir));
  ECLUSE_OK(PreparePrivateFolder(RealFiles(), data_dir + "/logins"));
  ECLUSE_TRY(std::string wrapped, keys.Wrap(credentials.password.text(), LoginBinding(credentials.login)));
  return ReplaceFile(RealFiles(), LoginPath(data_dir, credentials.login), wrapped);
}

std::string NotesSchema(const Policy& policy) { return "ecluse_" + policy.register_name; }

Result<Fingerprint> ReadFingerprint(Database& database, const Policy& policy) {
  const std::vector<std::string> logins = policy.Logins();
  std::vector<std::string> schemas, names;
  for (const auto& [name, table] : policy.tables) {
    schemas.push_back(name.schema);
    names.push_back(name.name);
  }
  for (const TableName& name : policy.open_tables) {
    schemas.push_back(name.schema);
    names.push_back(name.name);
  }
  Fingerprint parts;
  ECLUSE_TRY(Rows tables, database.Query(std::string(kTableState), {TextArray(schemas), TextArray(names)}));
  Gather(tables, parts);
  ECLUSE_TRY(Rows roles, database.Query(std::string(kRoleState), {TextArray(logins)}));
  Gather(roles, parts);
  return parts;
}

Fingerprint CompiledFingerprint(const RoleSchemas& schemas, const Catalog& catalog) {
  Fingerprint parts;
  for (const auto& [name, schema] : schemas) {
    std::string text;
    for (const SqlObject& object : RoleObjects(*schema, catalog)) text += object.create + ";\n";
    parts["sql " + schema->login] = Sha256(text);
  }
  return parts;
}

Result<Fingerprint> ReadNotes(Database& database, const Policy& policy) {
  Fingerprint notes;
  const TableName table{NotesSchema(policy), "applied"};
  ECLUSE_TRY(Rows there, database.Query("SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                                        "WHERE n.nspname = $1 AND c.relname = $2",
                                        {table.schema, table.name}));
  if (there.size() == 0) return notes;
  ECLUSE_TRY(Rows rows, database.Query("SELECT name, value FROM " + QuoteTable(table)));
  for (int i = 0; i < rows.size(); ++i) notes[rows.Text(i, 0)] = rows.Text(i, 1);
  return notes;
}

Status CheckApplied(Database& database, const Policy& policy, const RoleSchemas& schemas, const Catalog& catalog) {
  auto refuse = [](std::string message, std::string_view rule) {
    return Fail(sqlstate::kNotAllowed, std::move(message), std::string(kRunApply), std::string(rule));
  };
  ECLUSE_TRY(Fingerprint notes, ReadNotes(database, policy));
  if (notes.empty()) return refuse("the policy has never been applied to this database", "policy.not-applied");
  if (notes["policy"] != policy.digest) {
    return refuse("the database holds another policy than " + policy.file, "policy.not-applied");
  }
  ECLUSE_TRY(Fingerprint now, ReadFingerprint(database, policy));
  now.merge(CompiledFingerprint(schemas, catalog));
  if (std::string names = Differing(now, notes, "table "); !names.empty()) {
    return refuse("tables have changed since the policy was applied: " + names, "policy.drift");
  }
  if (std::string names = Differing(now, notes, "role "); !names.empty()) {
    return refuse("grants or settings have changed since the policy was applied: " + names, "policy.drift");
  }
  if (std::string names = Differing(now, notes, "views "); !names.empty()) {
    return refuse("views have changed since the policy was applied: " + names, "policy.drift");
  }
  if (std::string names = Differing(now, notes, "sql "); !names.empty()) {
    return refuse("another version of the gate made the views of " + names, "policy.drift");
  }
  ECLUSE_TRY(std::vector<std::string> reachable, AuditPublic(database, policy));
  if (!reachable.empty()) {
    return Fail(sqlstate::kNotAllowed, reachable[0],
                "run that statement as the owner; `ecluse check --owner URL` lists all such", "policy.public");
  }
  return {};
}

Result<RoleSchemas> OpenRoleSchemas(std::shared_ptr<const Policy> policy, KeyRing& keys) {
  const std::string login = policy->LoginOf(policy->roles.begin()->first);
  ECLUSE_TRY(LoginCredentials credentials, LoadLogin(policy->data_dir, keys, login));
  ECLUSE_TRY(Database database, Database::ConnectAs(policy->database, credentials));
  ECLUSE_OK(database.Run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
  ECLUSE_TRY(Catalog catalog, ReadCatalog(database, *policy));
  auto schemas = CompileRoles(policy, catalog, nullptr);
  if (!schemas) {
    std::string all;
    for (const PolicyProblem& problem : schemas.error()) all += ProblemText(policy->file, problem) + "\n";
    return Fail(sqlstate::kNotAllowed, "the policy does not fit the database",
                "run `ecluse check --config " + policy->file + " --owner URL` for every problem", "policy.drift", all);
  }
  ECLUSE_OK(CheckApplied(database, *policy, *schemas, catalog));
  ECLUSE_OK(CheckSearchKeys(database, *policy, keys));
  return *std::move(schemas);
}

int64_t GateLockKey(const Policy& policy) {
  const std::string text = "ecluse gate " + policy.register_name;
  uint8_t hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
  return static_cast<int64_t>(LoadU64(reinterpret_cast<const char*>(hash)));
}

}  // namespace ecluse
