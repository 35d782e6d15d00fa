// A policy against a real database: what each role sees, or everything that does not fit.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "policy/catalog.h"
#include "policy/policy.h"
#include "policy/role_schema.h"

namespace ecluse {

// Compiles every role. On failure all problems, at the place of the policy they come from; on success `warnings` (may
// be null) receives what an operator should know. Pure: the same policy over the same catalog always gives the same,
// but for `generation`, which is new with each call.
std::expected<RoleSchemas, std::vector<PolicyProblem>> CompileRoles(std::shared_ptr<const Policy> policy,
                                                                    const Catalog& catalog,
                                                                    std::vector<PolicyProblem>* warnings);

// "schema.table" as the name of a view: whole where it has at most 63 bytes, else cut and ended by eight digits of a
// hash, so that no two tables share one. With sealed columns the hash is of their names too: a plan of before they were
// sealed, or of after they were opened again, finds no view.
std::string ViewName(const PolicyTable& table);

}  // namespace ecluse
