// Stand-ins for PostgreSQL's catalogs: what tools ask, answered with the policy's objects of one role and nothing else.
//
// In each role's schema stand views named "pg_catalog.pg_class", "information_schema.columns" and so on, with the
// column names and types of the real ones, and functions named like PostgreSQL's own that look things up by oid. A
// guarded table appears as an ordinary table under its own schema and name; its oid is the oid of the role's view of
// it.
#pragma once

#include <string>
#include <vector>

#include "policy/catalog.h"
#include "policy/role_schema.h"
#include "policy/views.h"

namespace ecluse {

// Relations that have a stand-in, in the order in which they are made.
const std::vector<TableName>& ShadowRelations();
// Functions of pg_catalog that have one, by name; each overload the gate knows has its own.
const std::vector<std::string>& ShadowFunctions();

// Everything that a role's schema needs to answer for the catalogs, in the order of creation; after the guarded views.
std::vector<SqlObject> ShadowObjects(const RoleSchema& schema, const Catalog& catalog);

}  // namespace ecluse
