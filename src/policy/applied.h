// What `apply` left in the database, and whether it is still so. `serve` asks with a role's own login: the owner's
// connection is never kept.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/compile.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "vault/keys.h"

namespace ecluse {

// The password of a role's login, which `apply` made and wrapped under the gate's keys in `<data_dir>/logins/<login>`.
Result<LoginCredentials> LoadLogin(const std::string& data_dir, KeyRing& keys, const std::string& login);
// Writes it, durably. Used by apply.
Status StoreLogin(const std::string& data_dir, KeyRing& keys, const LoginCredentials& credentials);

// Where apply keeps its notes: a schema "ecluse_<register>" with a table "applied" of names and values, which the
// logins may read, and a table "checkpoint", in which the gate's own login keeps the last checkpoint of each of the
// register's ledgers (docs/ledger_format.md, "The register's copy").
std::string NotesSchema(const Policy& policy);

// The state of the database as the gate depends on it, in named parts ("policy", "table taj.person",
// "role LOGIN": what it may do, "views LOGIN": what stands in its schema, "sql LOGIN": what apply would make), each a
// hash. Two states with the same parts are the same to the gate.
using Fingerprint = std::map<std::string, std::string>;
// Of what is there now. Any login may ask. `database` has search_path pg_catalog, as every Database has.
Result<Fingerprint> ReadFingerprint(Database& database, const Policy& policy);
// Of the statements apply would run for each role: "sql LOGIN".
Fingerprint CompiledFingerprint(const RoleSchemas& schemas, const Catalog& catalog);
// What the notes say it was when apply finished; empty where it never ran.
Result<Fingerprint> ReadNotes(Database& database, const Policy& policy);

// What PUBLIC, and so every login, can reach and must not: each finding with the SQL that mends it. Any login may ask.
Result<std::vector<std::string>> AuditPublic(Database& database, const Policy& policy);

// Refuses where this very policy was not applied, where tables, views, grants or logins changed since, or where another
// version of the gate made them, or where PUBLIC can reach around the views; the hint names what mends it. Connected as
// any of the register's logins.
Status CheckApplied(Database& database, const Policy& policy, const RoleSchemas& schemas, const Catalog& catalog);

// Everything `serve` needs at start and on reload: connects as the first role's login, reads the catalog, compiles and
// checks, also that blind indexes are under the search keys of the ring. Blocking.
Result<RoleSchemas> OpenRoleSchemas(std::shared_ptr<const Policy> policy, KeyRing& keys);

// The key of the session-level advisory lock that the one gate of a register holds on its database:
// SELECT pg_try_advisory_lock(key). The same for every policy of that register.
int64_t GateLockKey(const Policy& policy);

}  // namespace ecluse
