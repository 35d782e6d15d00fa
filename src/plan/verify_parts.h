// The parts of the second reading (verify.h). Internal to plan/.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "pg_query.pb.h"
#include "plan/plan.h"
#include "plan/splice.h"

namespace ecluse {

namespace pgq = pg_query;

// The verifier does not approve: 0A000 for the client, `what` for the operator's log.
std::unexpected<Error> Disagree(std::string what);

// verify_sealed.cc: sealed columns and their tokens meet nothing but what the gate made.
Status VerifySealed(const RoleSchema& schema, const Plan& plan, const pgq::ParseResult& tree,
                    std::span<const InsertedRange> inserted);

}  // namespace ecluse
