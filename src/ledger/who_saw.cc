#include "ledger/who_saw.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/time_text.h"
#include "ledger/answer_json.h"
#include "ledger/prove.h"

namespace ecluse {

Result<WhoSaw> AskWhoSaw(LedgerQuery& ledger, const std::string& space, const std::string& id, int64_t from,
                         int64_t to) {
  WhoSaw answer;
  answer.subject = fmt::format("{}:{}", space, id);
  answer.basis = ledger.basis();
  answer.from = from;
  answer.to = to;
  ECLUSE_TRY(auto token, ledger.TokenOf(space, id));
  if (!token) return answer;
  answer.known = true;
  Query query;
  query.names = token;
  query.from = from;
  query.to = to;
  ECLUSE_OK(ledger.Find(
      query,
      [&](EntryFacts facts) -> Status {
        Sighting& one = answer.seen.emplace_back();
        std::erase_if(facts.subjects, [&](EntrySubjects& table) {
          const bool returned = std::ranges::find(table.returned, *token) != table.returned.end();
          const bool asked = std::ranges::find(table.asked, *token) != table.asked.end();
          one.returned = one.returned || returned;
          table.returned.assign(returned ? 1 : 0, *token);
          table.asked.assign(asked ? 1 : 0, *token);
          if (!facts.ShowsValues()) table.fields.clear();
          return !returned && !asked;
        });
        one.facts = std::move(facts);
        return {};
      },
      &answer.closed));
  return answer;
}

Result<std::string> WhoSawJson(const WhoSaw& answer, const SegmentFolder& folder) {
  namespace json = boost::json;
  json::object out;
  out["subject"] = answer.subject;
  out["known"] = answer.known;
  out["ledger"] = BasisJson(answer.basis);
  AddPeriod(out, answer.from, answer.to);
  json::array& seen = out["seen"].emplace_array();
  std::optional<Prover> prover;
  if (!answer.basis.note.empty()) {
    ECLUSE_TRY(prover, Prover::Open(folder));
  }
  for (const Sighting& one : answer.seen) {
    json::object entry = FactsJson(one.facts);
    entry["returned"] = one.returned;
    json::array& tables = entry["tables"].emplace_array();
    for (const EntrySubjects& table : one.facts.subjects) {
      json::object& item = tables.emplace_back(json::object()).get_object();
      item["table"] = table.table;
      item["returned"] = !table.returned.empty();
      json::object& fields = item["fields"].emplace_object();
      for (const auto& [column, mask] : table.fields) fields[column] = mask;
    }
    if (prover && one.facts.seq < prover->size()) {
      ECLUSE_TRY(TlogProof proof, prover->Prove(one.facts.seq));
      entry["proof"] = proof.Text();
    }
    seen.push_back(std::move(entry));
  }
  out["closed_entries"] = answer.closed;
  return json::serialize(out);
}

}  // namespace ecluse
