// PostgreSQL's errors on their way to a client: as they are where nothing is hidden, reduced to one fixed text for each
// SQLSTATE class where a message could carry values of people.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "pgwire/codec.h"
#include "plan/plan.h"

namespace ecluse {

// A portal that never exists: executing it makes PostgreSQL's transaction fail where the gate refused.
inline constexpr std::string_view kPoison = "__ecluse_refused";

// Appends an ErrorResponse over open or system tables, without the name of the role's own schema; positions are left
// out unless `same_text`: PostgreSQL saw the very text the client sent.
void PassError(std::string& out, std::string_view payload, std::string_view login, bool same_text);

// What the client may know of an error over guarded tables. At Parse, before any row is looked at, names and types
// (class 42) keep PostgreSQL's message.
Error GuardedError(const pg::ErrorFields& fields, bool at_parse, std::string_view login);

// Whether PostgreSQL runs it in a transaction that has failed; everything else is refused there.
bool EndsTransaction(const Plan& plan);
Error AbortedTransaction();

// One line for the operator's log.
std::string DescribeError(std::string_view payload);

// `text` without the name of the role's schema and without the gate's names for its views and hidden columns.
std::string WithoutSchema(std::string_view text, std::string_view login);

}  // namespace ecluse
