// A role's views as SQL.
#pragma once

#include <string>
#include <vector>

#include "policy/catalog.h"
#include "policy/role_schema.h"

namespace ecluse {

// One thing in a role's schema and the statement that makes it.
struct SqlObject {
  enum class Kind { view, function };
  Kind kind = Kind::view;
  std::string name;
  std::string create;
};

// The names of the token columns that the view holds behind the policy's: of sealed columns that the role may search,
// or writes.
std::vector<std::string> HiddenTokens(const GuardedView& view);

// The view of one guarded table: the policy's columns in the table's order under their masks, the row condition, and
// last
// `__subject`. A security barrier where rows are left out. Deterministic.
SqlObject GuardedViewSql(const RoleSchema& schema, const GuardedView& view, const Catalog& catalog);

}  // namespace ecluse
