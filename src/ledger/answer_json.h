// What the answers to questions about a ledger have in common, as JSON.
#pragma once

#include <boost/json.hpp>
#include <cstdint>

#include "ledger/facts.h"
#include "ledger/query.h"

namespace ecluse {

// {"origin", "complete_to": entries, "last_entry": time, "checkpoint": note, "covered": entries under it}
boost::json::object BasisJson(const AnswerBasis& basis);
// "from" and "to", where they are limits.
void AddPeriod(boost::json::object& out, int64_t from, int64_t to);
// Who, when, why and how: the members of an entry but its people; those without a value are left out.
boost::json::object FactsJson(const EntryFacts& facts);

}  // namespace ecluse
