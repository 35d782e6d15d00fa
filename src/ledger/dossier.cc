#include "ledger/dossier.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <unordered_map>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/time_text.h"
#include "ledger/answer_json.h"
#include "ledger/prove.h"

namespace ecluse {
namespace {

namespace json = boost::json;

// How much a mask shows.
int Shows(const std::string& mask) {
  if (mask == "clear") return 3;
  if (mask == "hidden") return 0;
  return mask == "redacted" ? 1 : 2;
}

// Tables with what was shown of them: few of them, many people.
using Shown = std::pair<std::string, std::vector<std::pair<std::string, std::string>>>;

struct Times {
  int64_t first = 0, last = 0;
  uint64_t entries = 0, last_entry = 0;

  void Add(const EntryFacts& facts) {
    if (entries > 0 && last_entry == facts.seq) return;
    if (entries++ == 0) first = facts.time;
    last = facts.time;
    last_entry = facts.seq;
  }
};

struct Gathered {
  Times returned, asked;
  bool changed = false;
  std::vector<uint32_t> shown;  // numbers of what was shown with them
};

class Gatherer {
 public:
  explicit Gatherer(Dossier& dossier) : dossier_(dossier) {}

  Status Take(const EntryFacts& facts) {
    Dossier& out = dossier_;
    if (facts.kind == "lock") {
      // What a gate found at its first start was done before, and is no answer to anything.
      if (!facts.reason.starts_with("found: ")) out.locks.emplace_back(facts.time, facts.reason);
      return {};
    }
    if (facts.kind == "session" || facts.kind == "approval" || facts.kind == "alert") return {};
    if (out.entries++ == 0) out.first = facts.time;
    out.last = facts.time;
    ++out.kinds[facts.kind];
    Count(out.principals, facts.principal);
    Count(out.organisations, facts.organisation);
    Count(out.roles, facts.role);
    Count(out.addresses, facts.address);
    Count(out.purposes, facts.purpose);
    Count(out.references, facts.reference);
    out.rows += facts.rows;
    out.statistic_rows += facts.statistic_rows;
    out.nameless += facts.nameless;
    const bool refused = facts.kind == "refusal";
    if (refused) out.refusals += static_cast<uint64_t>(std::max<int64_t>(facts.count, 1));
    const bool changes = facts.kind == "collection" || facts.kind == "alteration" || facts.kind == "erasure";
    bool names = false;
    for (const EntrySubjects& table : facts.subjects) {
      if (table.returned.empty() && table.asked.empty()) continue;
      const std::optional<uint32_t> shown = facts.ShowsValues() ? std::optional(NumberOf(table)) : std::nullopt;
      // Whom a refused statement asked for it was not told of.
      for (const SubjectToken& token : table.asked)
        if (!refused) people_[token].asked.Add(facts);
      for (const SubjectToken& token : table.returned) {
        Gathered& person = people_[token];
        person.returned.Add(facts);
        person.changed = person.changed || changes;
        if (shown && std::ranges::find(person.shown, *shown) == person.shown.end()) person.shown.push_back(*shown);
        names = true;
      }
    }
    if (names) out.evidence.push_back(facts.seq);
    if (!refused || names) times_.push_back(facts.time);
    return {};
  }

  Status Finish(LedgerQuery& ledger, const Policy& policy) {
    std::map<std::pair<std::string, std::string>, std::string> classes;
    for (const auto& [name, table] : policy.tables)
      for (const PolicyColumn& column : table.columns) classes[{name.Text(), column.name}] = column.column_class;
    std::vector<SubjectToken> tokens;
    for (const auto& [token, gathered] : people_) tokens.push_back(token);
    ECLUSE_TRY(const auto names, ledger.NamesOf(tokens));
    size_t next = 0;
    for (const auto& [token, gathered] : people_) {
      DossierPerson person;
      const bool released = gathered.returned.entries > 0;
      const Times& times = released ? gathered.returned : gathered.asked;
      person.first = times.first;
      person.last = times.last;
      person.entries = times.entries;
      person.changed = gathered.changed;
      const std::optional<std::string>& name = names[next++];
      person.named = name.has_value();
      person.name = name ? *name : "token:" + Base64UrlEncode(token);
      if (!released) {
        dossier_.asked.push_back(std::move(person));
        continue;
      }
      if (!person.named) ++dossier_.unnamed;
      ++dossier_.spaces[person.name.substr(0, person.name.find(':'))];
      for (uint32_t number : gathered.shown) {
        const auto& [table, fields] = *shown_[number];
        for (const auto& [column, mask] : fields) {
          std::string& most = person.fields[{table, column}];
          if (most.empty() || Shows(mask) > Shows(most)) most = mask;
        }
      }
      std::map<std::string, int> by_class;
      for (const auto& [place, mask] : person.fields) {
        auto of = classes.find(place);
        int& most = by_class[of == classes.end() ? "unknown" : of->second];
        most = std::max(most, Shows(mask));
      }
      for (const auto& [name_of_class, most] : by_class) {
        if (most == 0) continue;  // hidden
        DossierCategory& category = dossier_.categories[name_of_class];
        ++(most == 3 ? category.clear : category.masked);
      }
      dossier_.subjects.push_back(std::move(person));
    }
    std::ranges::sort(dossier_.subjects, {}, &DossierPerson::name);
    std::ranges::sort(dossier_.asked, {}, &DossierPerson::name);
    DrawTimeLine();
    return {};
  }

 private:
  static void Count(std::map<std::string, uint64_t>& counts, const std::string& value) {
    if (!value.empty()) ++counts[value];
  }

  uint32_t NumberOf(const EntrySubjects& table) {
    auto [at, added] = numbers_.try_emplace({table.table, table.fields}, static_cast<uint32_t>(shown_.size()));
    if (added) shown_.push_back(&at->first);
    return at->second;
  }

  // At most 60 slices, of a length that people have words for.
  void DrawTimeLine() {
    if (times_.empty()) return;
    constexpr int64_t kMinute = 60'000'000, kHour = 60 * kMinute, kDay = 24 * kHour;
    constexpr int64_t kLengths[] = {kMinute, 5 * kMinute, 15 * kMinute, kHour, 6 * kHour, kDay, 7 * kDay, 30 * kDay};
    const int64_t begin = times_.front(), span = times_.back() - begin;
    dossier_.slice = 365 * kDay;
    for (int64_t length : kLengths) {
      if (span / length >= 60) continue;
      dossier_.slice = length;
      break;
    }
    dossier_.time_line.resize(static_cast<size_t>(span / dossier_.slice) + 1);
    auto at = [&](int64_t time) -> Dossier::Slice& {
      return dossier_.time_line[static_cast<size_t>((time - begin) / dossier_.slice)];
    };
    for (int64_t time : times_) ++at(time).entries;
    for (const auto& [token, person] : people_)
      if (person.returned.entries > 0) ++at(person.returned.first).newly;
    dossier_.slices_from = begin;
  }

  Dossier& dossier_;
  std::unordered_map<SubjectToken, Gathered, SubjectKeyHash> people_;
  std::map<Shown, uint32_t> numbers_;
  std::vector<const Shown*> shown_;
  std::vector<int64_t> times_;  // of entries that may have told of somebody
};

json::object Counts(const std::map<std::string, uint64_t>& counts) {
  json::object out;
  for (const auto& [name, count] : counts) out[name] = count;
  return out;
}

json::array People(const std::vector<DossierPerson>& people) {
  json::array out;
  for (const DossierPerson& person : people) {
    json::object& one = out.emplace_back(json::object()).get_object();
    one["subject"] = person.name;
    one["first"] = TimeText(person.first);
    one["last"] = TimeText(person.last);
    one["entries"] = person.entries;
    if (!person.named) one["erased"] = true;
    if (person.changed) one["changed"] = true;
    if (person.fields.empty()) continue;
    json::object& fields = one["fields"].emplace_object();
    for (const auto& [place, mask] : person.fields) {
      json::value& table = fields[place.first];
      if (!table.is_object()) table.emplace_object();
      table.get_object()[place.second] = mask;
    }
  }
  return out;
}

void AppendCsv(std::string& out, std::string_view value) {
  if (value.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += value;
    return;
  }
  out += '"';
  for (char c : value) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

}  // namespace

Result<Dossier> AskDossier(LedgerQuery& ledger, const Query& query, const Policy& policy) {
  Dossier dossier;
  dossier.query = query;
  dossier.basis = ledger.basis();
  dossier.register_name = policy.register_name;
  dossier.made = SystemClock().WallMicros();
  Gatherer gatherer(dossier);
  ECLUSE_OK(ledger.Find(query, [&](const EntryFacts& facts) { return gatherer.Take(facts); }, &dossier.closed));
  ECLUSE_OK(gatherer.Finish(ledger, policy));
  if (!query.principal.empty()) {
    // What was done about the account, also after the time in question.
    Query after;
    after.principal = query.principal;
    after.from = query.to;
    uint64_t unused = 0;
    if (query.to != INT64_MAX)
      ECLUSE_OK(ledger.Find(
          after,
          [&](const EntryFacts& facts) -> Status { return facts.kind == "lock" ? gatherer.Take(facts) : Status(); },
          &unused));
  }
  return dossier;
}

std::string DossierJson(const Dossier& dossier) {
  json::object out;
  out["register"] = dossier.register_name;
  out["made"] = TimeText(dossier.made);
  out["ledger"] = BasisJson(dossier.basis);
  json::object& asked = out["question"].emplace_object();
  if (!dossier.query.principal.empty()) asked["principal"] = dossier.query.principal;
  if (!dossier.query.organisation.empty()) asked["organisation"] = dossier.query.organisation;
  if (!dossier.query.role.empty()) asked["role"] = dossier.query.role;
  if (!dossier.query.address.empty()) asked["address"] = dossier.query.address;
  AddPeriod(asked, dossier.query.from, dossier.query.to);
  json::object& totals = out["totals"].emplace_object();
  totals["subjects"] = dossier.subjects.size();
  totals["subjects_by_space"] = Counts(dossier.spaces);
  totals["asked"] = dossier.asked.size();
  totals["entries"] = dossier.entries;
  totals["records"] = dossier.rows;
  totals["statistic_rows"] = dossier.statistic_rows;
  totals["nameless"] = dossier.nameless;
  totals["refusals"] = dossier.refusals;
  totals["erased_subjects"] = dossier.unnamed;
  totals["closed_entries"] = dossier.closed;
  if (dossier.entries > 0) {
    out["first"] = TimeText(dossier.first);
    out["last"] = TimeText(dossier.last);
  }
  json::object& categories = out["categories"].emplace_object();
  for (const auto& [name, category] : dossier.categories)
    categories[name] = {{"clear", category.clear}, {"masked", category.masked}};
  out["kinds"] = Counts(dossier.kinds);
  out["principals"] = Counts(dossier.principals);
  out["organisations"] = Counts(dossier.organisations);
  out["roles"] = Counts(dossier.roles);
  out["addresses"] = Counts(dossier.addresses);
  out["purposes"] = Counts(dossier.purposes);
  out["references"] = Counts(dossier.references);
  json::array& locks = out["locks"].emplace_array();
  for (const auto& [time, what] : dossier.locks) locks.push_back({{"time", TimeText(time)}, {"what", what}});
  out["subjects"] = People(dossier.subjects);
  out["asked"] = People(dossier.asked);
  json::array& limits = out["not_known"].emplace_array();
  for (const std::string& one : DossierLimits(dossier, Language::en)) limits.emplace_back(one);
  return json::serialize(out);
}

std::string DossierCsv(const Dossier& dossier) {
  std::string out = "subject,first,last,entries,changed,fields\r\n";
  for (const DossierPerson& person : dossier.subjects) {
    AppendCsv(out, person.name);
    out += fmt::format(",{},{},{},{},", TimeText(person.first), TimeText(person.last), person.entries,
                       person.changed ? "yes" : "no");
    std::string fields;
    for (const auto& [place, mask] : person.fields)
      fields += fmt::format("{}{}.{}={}", fields.empty() ? "" : "; ", place.first, place.second, mask);
    AppendCsv(out, fields);
    out += "\r\n";
  }
  return out;
}

Status WriteEvidence(const Dossier& dossier, const SegmentFolder& folder,
                     const std::function<Status(const std::string& line)>& line) {
  std::optional<Prover> prover;
  if (!dossier.basis.note.empty()) {
    ECLUSE_TRY(prover, Prover::Open(folder));
  }
  Entries entries(folder);
  for (uint64_t seq : dossier.evidence) {
    json::object out;
    out["seq"] = seq;
    std::string stored;
    if (prover && seq < prover->size()) {
      ECLUSE_TRY(TlogProof proof, prover->Prove(seq, &stored));
      out["proof"] = proof.Text();
    } else {
      ECLUSE_TRY(stored, entries.Read(seq));
    }
    out["entry"] = stored;
    ECLUSE_OK(line(json::serialize(out) + "\n"));
  }
  return {};
}

}  // namespace ecluse
