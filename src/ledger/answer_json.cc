#include "ledger/answer_json.h"

#include "base/time_text.h"

namespace ecluse {

namespace json = boost::json;

json::object BasisJson(const AnswerBasis& basis) {
  json::object out;
  out["origin"] = basis.origin;
  out["complete_to"] = basis.size;
  if (basis.size > 0) out["last_entry"] = TimeText(basis.last_time);
  if (!basis.note.empty()) {
    out["checkpoint"] = basis.note;
    out["covered"] = basis.covered;
  }
  return out;
}

void AddPeriod(json::object& out, int64_t from, int64_t to) {
  if (from > 0) out["from"] = TimeText(from);
  if (to != INT64_MAX) out["to"] = TimeText(to);
}

json::object FactsJson(const EntryFacts& facts) {
  json::object out;
  auto text = [&](const char* name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  out["seq"] = facts.seq;
  out["time"] = TimeText(facts.time);
  text("kind", facts.kind);
  text("part", facts.part);
  text("principal", facts.principal);
  text("organisation", facts.organisation);
  text("role", facts.role);
  text("door", facts.door);
  text("session", facts.session);
  text("address", facts.address);
  text("actor", facts.actor);
  text("purpose", facts.purpose);
  text("reference", facts.reference);
  text("statement", facts.statement);
  text("reason", facts.reason);
  text("policy", facts.policy);
  if (facts.rows > 0) out["rows"] = facts.rows;
  return out;
}

}  // namespace ecluse
