#include "ledger/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/bytes.h"
#include "ledger/json.h"
#include "ledger/open_entry.h"
#include "ledger/segment.h"

namespace ecluse {
namespace {

namespace json = boost::json;

void Take(const json::object& in, std::string_view name, std::string* out) {
  if (const std::string_view text = TextOf(in, name); !text.empty()) *out = text;
}
int64_t Number(const json::object& in, std::string_view name) {
  const json::value* value = in.if_contains(name);
  return value && value->is_int64() ? value->get_int64() : 0;
}

// Tokens of one list; false where one is not a token.
bool ReadTokens(const json::object& in, std::string_view name, std::vector<SubjectToken>& out) {
  const json::value* value = in.if_contains(name);
  if (!value) return true;
  if (!value->is_array()) return false;
  for (const json::value& item : value->get_array()) {
    if (!item.is_string()) return false;
    auto bytes = Base64UrlDecode(item.get_string());
    if (!bytes || bytes->size() != sizeof(SubjectToken)) return false;
    std::copy(bytes->begin(), bytes->end(), out.emplace_back().begin());
  }
  return true;
}

bool ReadSubjects(const json::object& opened, std::vector<EntrySubjects>& out) {
  const json::value* subjects = opened.if_contains("subjects");
  if (!subjects) return true;
  if (!subjects->is_array()) return false;
  for (const json::value& item : subjects->get_array()) {
    const json::object* table = item.if_object();
    if (!table) return false;
    EntrySubjects& one = out.emplace_back();
    Take(*table, "table", &one.table);
    if (!ReadTokens(*table, "returned", one.returned) || !ReadTokens(*table, "asked", one.asked)) return false;
    const json::value* fields = table->if_contains("fields");
    if (!fields) continue;
    if (!fields->is_object()) return false;
    for (const auto& field : fields->get_object()) {
      if (!field.value().is_string()) return false;
      one.fields.emplace_back(field.key(), std::string_view(field.value().get_string()));
    }
  }
  return true;
}

// For one text that is parsed and forgotten; what is short stays on the stack.
struct JsonMemory {
  unsigned char buffer[8 * 1024];
  json::monotonic_resource resource{buffer};
};

// An object that lives in `into`; null where the text is none.
const json::object* Parse(std::string_view text, json::value* into) {
  boost::system::error_code failed;
  *into = json::parse({text.data(), text.size()}, failed, into->storage());
  return failed ? nullptr : into->if_object();
}

std::unexpected<Error> NotUnderstood(uint64_t seq, std::string_view why) {
  return LedgerDamaged(fmt::format("entry {}: {}", seq, why));
}

// What stands outside.
EntryFacts Outside(uint64_t seq, const json::object& entry) {
  EntryFacts facts;
  facts.seq = seq;
  facts.time = Number(entry, "time");
  Take(entry, "kind", &facts.kind);
  Take(entry, "part", &facts.part);
  Take(entry, "principal", &facts.principal);
  Take(entry, "organisation", &facts.organisation);
  Take(entry, "role", &facts.role);
  Take(entry, "door", &facts.door);
  Take(entry, "session", &facts.session);
  Take(entry, "purpose", &facts.purpose);
  Take(entry, "reason", &facts.reason);
  Take(entry, "policy", &facts.policy);
  facts.rows = Number(entry, "rows");
  facts.count = Number(entry, "count");
  if (const json::value* statement = entry.if_contains("statement"); statement && statement->is_object())
    Take(statement->get_object(), "text", &facts.statement);
  if (const json::value* charged = entry.if_contains("charged"); charged && charged->is_object()) {
    facts.has_charges = true;
    facts.lookups = Number(charged->get_object(), "lookups");
    facts.nameless = Number(charged->get_object(), "nameless");
    facts.statistic_rows = Number(charged->get_object(), "statistic_rows");
  }
  facts.sealed = entry.contains("sealed");
  return facts;
}

// What it seals.
Status Inside(std::string_view opened, EntryFacts& facts) {
  JsonMemory memory;
  json::value parsed(&memory.resource);
  const json::object* sealed = Parse(opened, &parsed);
  if (!sealed) return NotUnderstood(facts.seq, "its sealed part is not a JSON object");
  facts.opened = true;
  Take(*sealed, "reference", &facts.reference);
  Take(*sealed, "address", &facts.address);
  Take(*sealed, "actor", &facts.actor);
  Take(*sealed, "message", &facts.message);
  if (const json::value* literals = sealed->if_contains("literals"); literals && literals->is_array()) {
    for (const json::value& one : literals->get_array())
      if (one.is_string()) facts.literals.emplace_back(std::string_view(one.get_string()));
  }
  if (!ReadSubjects(*sealed, facts.subjects)) return NotUnderstood(facts.seq, "its list of people is not understood");
  return {};
}

}  // namespace

bool EntryFacts::ShowsValues() const {
  return kind == EntryKindName(EntryKind::disclosure) || kind == EntryKindName(EntryKind::statistic) ||
         kind == EntryKindName(EntryKind::collection) || kind == EntryKindName(EntryKind::alteration) ||
         kind == EntryKindName(EntryKind::erasure);
}

std::vector<SubjectToken> EntryFacts::People() const {
  std::vector<SubjectToken> people;
  for (const EntrySubjects& table : subjects) {
    people.insert(people.end(), table.returned.begin(), table.returned.end());
    people.insert(people.end(), table.asked.begin(), table.asked.end());
  }
  std::ranges::sort(people);
  const auto [last, end] = std::ranges::unique(people);
  people.erase(last, end);
  return people;
}

Result<EntryFacts> ReadFacts(uint64_t seq, std::string_view text, std::string_view opened) {
  JsonMemory memory;
  json::value parsed(&memory.resource);
  const json::object* entry = Parse(text, &parsed);
  if (!entry) return NotUnderstood(seq, "it is not a JSON object");
  EntryFacts facts = Outside(seq, *entry);
  if (facts.sealed && !opened.empty()) ECLUSE_OK(Inside(opened, facts));
  return facts;
}

Result<EntryFacts> ReadFacts(uint64_t seq, std::string_view text, KeyRing& keys) {
  JsonMemory memory;
  json::value parsed(&memory.resource);
  const json::object* entry = Parse(text, &parsed);
  if (!entry) return NotUnderstood(seq, "it is not a JSON object");
  EntryFacts facts = Outside(seq, *entry);
  if (!facts.sealed) return facts;
  std::string sealed, salt;
  EntryOrigin origin;
  Take(*entry, "sealed", &sealed);
  Take(*entry, "register", &origin.register_name);
  Take(*entry, "node", &origin.node);
  Take(*entry, "salt", &salt);
  auto opened = OpenSealed(sealed, origin, salt, keys);
  if (opened && !opened->empty()) ECLUSE_OK(Inside(*opened, facts));
  return facts;
}

}  // namespace ecluse
