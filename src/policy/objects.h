// Everything that stands in a role's schema, and every privilege its login has: the desired state that apply works
// towards. Internal to policy/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "policy/catalog.h"
#include "policy/role_schema.h"
#include "policy/views.h"

namespace ecluse {

// The guarded views and the stand-ins, in the order of creation.
std::vector<SqlObject> RoleObjects(const RoleSchema& schema, const Catalog& catalog);

// One privilege of one login. Two are the same where all but the statements are.
struct Privilege {
  std::string kind;    // "table", "column", "sequence", "schema", "database"
  std::string schema;  // empty for schemas and databases
  std::string name;
  std::string column;
  std::string right;  // SELECT, USAGE, …
  auto operator<=>(const Privilege&) const = default;

  std::string Grant(const std::string& login) const;
  std::string Revoke(const std::string& login) const;
};

// What the role's login has to have. `database` names the database.
std::set<Privilege> WantedPrivileges(const RoleSchema& schema, const Catalog& catalog, const std::string& notes_schema);

}  // namespace ecluse
