// Logins, what stands in their schemas, and what they may touch.
#include <algorithm>

#include "policy/apply_parts.h"

namespace ecluse {
namespace {

// Attributes as pg_roles tells them and as ALTER ROLE takes them.
struct Attribute {
  const char* column;
  bool wanted;
  const char* set;
};
constexpr Attribute kAttributes[] = {
    {"rolsuper", false, "NOSUPERUSER"},       {"rolinherit", false, "NOINHERIT"},
    {"rolcreaterole", false, "NOCREATEROLE"}, {"rolcreatedb", false, "NOCREATEDB"},
    {"rolcanlogin", true, "LOGIN"},           {"rolreplication", false, "NOREPLICATION"},
    {"rolbypassrls", false, "NOBYPASSRLS"}};

std::map<std::string, std::string> Settings(const Policy& policy) {
  return {{"search_path", "pg_catalog"}, {"statement_timeout", std::to_string(policy.statement_timeout.count()) + "s"}};
}

Status AlterAttributes(ApplyRun& run, const std::string& login) {
  std::string columns;
  for (const Attribute& attribute : kAttributes) columns += std::string(attribute.column) + ", ";
  ECLUSE_TRY(Rows rows, run.database.Query("SELECT " + columns + "rolname FROM pg_roles WHERE rolname = $1", {login}));
  std::string changes;
  for (int i = 0; i < static_cast<int>(std::size(kAttributes)); ++i) {
    // Named one by one: naming an attribute that only a superuser may change is refused even where it stays the same.
    if (rows.True(0, i) != kAttributes[i].wanted) changes += std::string(" ") + kAttributes[i].set;
  }
  if (!changes.empty()) ECLUSE_OK(run.Change("ALTER ROLE " + QuoteName(login) + changes));
  return {};
}

Status AlterSettings(ApplyRun& run, const std::string& login) {
  ECLUSE_TRY(Rows rows, run.database.Query("SELECT unnest(rolconfig) FROM pg_roles WHERE rolname = $1", {login}));
  auto wanted = Settings(run.policy);
  std::set<std::string> right;
  for (int i = 0; i < rows.size(); ++i) {
    const std::string setting = rows.Text(i, 0);
    const std::string name = setting.substr(0, setting.find('='));
    auto found = wanted.find(name);
    if (found == wanted.end()) {
      ECLUSE_OK(run.Change("ALTER ROLE " + QuoteName(login) + " RESET " + QuoteName(name)));
    } else if (setting == name + "=" + found->second) {
      right.insert(name);
    }
  }
  for (const auto& [name, value] : wanted) {
    if (right.contains(name)) continue;
    ECLUSE_OK(run.Change("ALTER ROLE " + QuoteName(login) + " SET " + name + " TO " + QuoteText(value)));
  }
  return {};
}

// Privileges of one grantee on everything in this database; of PUBLIC where `login` is empty.
Result<std::set<Privilege>> LivePrivileges(Database& database, const std::string& login) {
  ECLUSE_TRY(Rows rows, database.Query(R"(
    WITH grantee AS (SELECT CASE WHEN $1 = '' THEN 0 ELSE (SELECT oid FROM pg_roles WHERE rolname = $1) END AS oid)
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, c.relname, '', x.privilege_type
    FROM grantee g, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) x
    WHERE x.grantee = g.oid
    UNION SELECT 'column', n.nspname, c.relname, a.attname, x.privilege_type
    FROM grantee g, pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
         aclexplode(a.attacl) x
    WHERE a.attacl IS NOT NULL AND x.grantee = g.oid
    UNION SELECT 'schema', '', n.nspname, '', x.privilege_type
    FROM grantee g, pg_namespace n, aclexplode(n.nspacl) x WHERE x.grantee = g.oid
    UNION SELECT 'database', '', d.datname, '', x.privilege_type
    FROM grantee g, pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x
    WHERE d.datname = current_database() AND x.grantee = g.oid)",
                                       {login}));
  std::set<Privilege> live;
  for (int i = 0; i < rows.size(); ++i) {
    live.insert({rows.Text(i, 0), rows.Text(i, 1), rows.Text(i, 2), rows.Text(i, 3), rows.Text(i, 4)});
  }
  return live;
}

// Default privileges of the owner may hand a new view to others.
Status RevokeFromOthers(ApplyRun& run, const std::string& login) {
  ECLUSE_TRY(Rows rows, run.database.Query(R"(
    SELECT DISTINCT c.relname, coalesce(r.rolname, '')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL aclexplode(c.relacl) x
    LEFT JOIN pg_roles r ON r.oid = x.grantee
    WHERE n.nspname = $1 AND x.grantee <> c.relowner AND coalesce(r.rolname, '') <> $1)",
                                           {login}));
  for (int i = 0; i < rows.size(); ++i) {
    const std::string grantee = rows.At(i, 1).empty() ? "PUBLIC" : QuoteName(rows.At(i, 1));
    ECLUSE_OK(run.Change("REVOKE ALL ON " + QuoteName(login) + "." + QuoteName(rows.At(i, 0)) + " FROM " + grantee));
  }
  return {};
}

}  // namespace

Status DropObjects(ApplyRun& run, const std::string& login) {
  ECLUSE_TRY(Rows strange, run.database.Query(R"(
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind NOT IN ('v', 'i', 'c') LIMIT 1)",
                                              {login}));
  if (strange.size() > 0) {
    return Fail(sqlstate::kNotAllowed,
                "the schema " + login + " holds " + strange.Text(0, 0) + ", which the gate did not make",
                "move it to another schema; that one belongs to the gate");
  }
  ECLUSE_TRY(Rows functions, run.database.Query(R"(
    SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = $1 ORDER BY 1)",
                                                {login}));
  std::string list;
  for (int i = 0; i < functions.size(); ++i) list += (i == 0 ? "" : ", ") + functions.Text(i, 0);
  if (!list.empty()) ECLUSE_OK(run.Change("DROP FUNCTION " + list));
  ECLUSE_TRY(Rows views, run.database.Query(R"(
    SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind = 'v' ORDER BY 1)",
                                            {login}));
  list.clear();
  for (int i = 0; i < views.size(); ++i) {
    list += (i == 0 ? "" : ", ") + QuoteName(login) + "." + QuoteName(views.At(i, 0));
  }
  if (!list.empty()) ECLUSE_OK(run.Change("DROP VIEW " + list));
  return {};
}

Result<std::set<std::string>> ExistingLogins(Database& database, const Policy& policy) {
  ECLUSE_TRY(Rows rows, database.Query("SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)",
                                       {"ecluse_" + policy.register_name + "_"}));
  std::set<std::string> logins;
  for (int i = 0; i < rows.size(); ++i) logins.insert(rows.Text(i, 0));
  return logins;
}

Status ApplyLogin(ApplyRun& run, const std::string& login, bool exists,
                  const std::optional<LoginCredentials>& password) {
  if (!exists) ECLUSE_OK(run.Change("CREATE ROLE " + QuoteName(login) + " LOGIN NOINHERIT"));
  if (password) {
    ECLUSE_TRY(std::string verifier, run.database.Verifier(login, password->password.text()));
    ECLUSE_OK(run.Change("ALTER ROLE " + QuoteName(login) + " PASSWORD " + QuoteText(verifier),
                         "ALTER ROLE " + QuoteName(login) + " PASSWORD '…'"));
  }
  ECLUSE_OK(AlterAttributes(run, login));
  ECLUSE_OK(AlterSettings(run, login));
  ECLUSE_TRY(Rows members, run.database.Query(R"(
    SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.roleid JOIN pg_roles l ON l.oid = a.member
    WHERE l.rolname = $1)",
                                              {login}));
  for (int i = 0; i < members.size(); ++i) {
    ECLUSE_OK(run.Change("REVOKE " + QuoteName(members.At(i, 0)) + " FROM " + QuoteName(login)));
  }
  return {};
}

Status ApplyObjects(ApplyRun& run, const std::string& login, const std::vector<SqlObject>& objects, bool rebuild) {
  ECLUSE_TRY(Rows schema,
             run.database.Query("SELECT pg_get_userbyid(nspowner) = current_user FROM pg_namespace WHERE nspname = $1",
                                {login}));
  if (schema.size() == 0) {
    ECLUSE_OK(run.Change("CREATE SCHEMA " + QuoteName(login)));
  } else if (!schema.True(0, 0)) {
    return Fail(sqlstate::kNotAllowed, "the schema " + login + " belongs to somebody else than the owner's connection",
                "apply as the owner who applied first, or run `ecluse apply --remove` as that one");
  }
  if (!rebuild) return {};
  ECLUSE_OK(DropObjects(run, login));
  for (const SqlObject& object : objects) ECLUSE_OK(run.Change(object.create));
  return {};
}

Status ApplyPrivileges(ApplyRun& run, const std::string& login, const std::set<Privilege>& wanted) {
  ECLUSE_TRY(std::set<Privilege> everyone, LivePrivileges(run.database, ""));
  ECLUSE_TRY(Rows connect, run.database.Query("SELECT current_database()"));
  std::set<Privilege> needed = wanted;
  needed.insert({"database", "", connect.Text(0, 0), "", "CONNECT"});
  // What everybody has needs no grant, which only that object's owner could give.
  std::erase_if(needed, [&](const Privilege& privilege) { return everyone.contains(privilege); });
  ECLUSE_TRY(std::set<Privilege> live, LivePrivileges(run.database, login));
  for (const Privilege& privilege : live) {
    if (!needed.contains(privilege)) ECLUSE_OK(run.Change(privilege.Revoke(login)));
  }
  for (const Privilege& privilege : needed) {
    if (!live.contains(privilege)) ECLUSE_OK(run.Change(privilege.Grant(login)));
  }
  ECLUSE_OK(RevokeFromOthers(run, login));
  // A grant or revoke that is not one's to give passes with a mere warning.
  ECLUSE_TRY(std::set<Privilege> after, LivePrivileges(run.database, login));
  for (const Privilege& privilege : needed) {
    if (after.contains(privilege)) continue;
    return Fail(sqlstate::kNotAllowed, "the owner's connection may not do: " + privilege.Grant(login),
                "run it as the owner of that object, then apply again");
  }
  for (const Privilege& privilege : after) {
    if (needed.contains(privilege)) continue;
    return Fail(sqlstate::kNotAllowed, "the owner's connection may not do: " + privilege.Revoke(login),
                "run it as whoever granted it, then apply again");
  }
  return {};
}

Status RemoveLogin(ApplyRun& run, const std::string& login) {
  ECLUSE_OK(DropObjects(run, login));
  ECLUSE_TRY(Rows schema, run.database.Query("SELECT FROM pg_namespace WHERE nspname = $1", {login}));
  if (schema.size() > 0) ECLUSE_OK(run.Change("DROP SCHEMA " + QuoteName(login)));
  ECLUSE_TRY(std::set<Privilege> live, LivePrivileges(run.database, login));
  for (const Privilege& privilege : live) ECLUSE_OK(run.Change(privilege.Revoke(login)));
  return run.Change("DROP ROLE " + QuoteName(login));
}

}  // namespace ecluse
