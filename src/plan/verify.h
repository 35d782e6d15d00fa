// The second opinion: approves a spliced statement by rules of its own, sharing nothing with the analyzer but the
// lists.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "plan/plan.h"
#include "plan/splice.h"
#include "policy/role_schema.h"

namespace ecluse {

// Parses `sql` again and approves it only if every node is of a known kind, every relation is a view of the role, an
// open table, a stand-in of a catalog or a name of WITH, every function, operator and type is on its list, reserved
// names stand only where the gate wrote them (`inserted`), and every level that reads a guarded view hands its people
// upwards. Only on a parse thread. A refusal here means that analyzer and verifier disagree: it is logged as an error
// of ours.
Status Verify(const RoleSchema& schema, const Plan& plan, std::string_view sql,
              std::span<const InsertedRange> inserted);

}  // namespace ecluse
