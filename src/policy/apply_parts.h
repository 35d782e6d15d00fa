// The steps of apply. Internal to policy/.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "policy/applied.h"
#include "policy/apply.h"
#include "policy/catalog.h"
#include "policy/compile.h"
#include "policy/objects.h"

namespace ecluse {

// One apply under way. Statements that change something go through Change(), and are what the report shows.
struct ApplyRun {
  Database& database;
  const Policy& policy;
  ApplyReport& report;

  // `shown` stands for the statement in the report where it holds a secret.
  Status Change(const std::string& sql, const std::string& shown = "");
};

// Row conditions: boolean, immutable but for now(), and not an oracle for a column that the role may update around.
Result<std::vector<PolicyProblem>> CheckConditions(Database& database, const Policy& policy, const Catalog& catalog);

// Logins of this register that exist, with or without a role in the policy.
Result<std::set<std::string>> ExistingLogins(Database& database, const Policy& policy);
// Makes the login or brings its attributes and settings to what they must be. `password` is set anew where given.
Status ApplyLogin(ApplyRun& run, const std::string& login, bool exists,
                  const std::optional<LoginCredentials>& password);
// The role's schema and all that stands in it; made anew where `rebuild`.
Status ApplyObjects(ApplyRun& run, const std::string& login, const std::vector<SqlObject>& objects, bool rebuild);
// Drops everything in the login's schema; refuses where somebody else put something there.
Status DropObjects(ApplyRun& run, const std::string& login);
// Grants what is missing and revokes what is too much, of the login and of others on its schema.
Status ApplyPrivileges(ApplyRun& run, const std::string& login, const std::set<Privilege>& wanted);
// Takes the login, its schema and its privileges away.
Status RemoveLogin(ApplyRun& run, const std::string& login);

}  // namespace ecluse
