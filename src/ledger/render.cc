#include "ledger/render.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/random.h"
#include "ledger/json.h"

namespace ecluse {
namespace {

constexpr size_t kMostEscaped = 6;     // characters that one takes as it is written: \u001f
constexpr size_t kUsualEntry = 1'024;  // bytes that most entries are shorter than

void Member(std::string& out, std::string_view name) {
  out += '"';
  out += name;
  out += "\":";
}

// Empty members are left out.
void TextMember(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  Member(out, name);
  AppendJsonString(out, value);
  out += ',';
}

void NumberMember(std::string& out, std::string_view name, int64_t value) {
  if (value == 0) return;
  Member(out, name);
  AppendJsonInteger(out, value);
  out += ',';
}

// Ends an object or list whose members each wrote a comma.
void Close(std::string& out, char bracket) {
  if (out.back() == ',') out.pop_back();
  out += bracket;
}

std::string Sha256Hex(std::string_view text) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1);
  return HexEncode(std::span(digest).first(size));
}

std::string NewSalt() {
  std::array<uint8_t, 16> salt;
  RandomBytes(salt);
  return Base64UrlEncode(salt);
}

std::string_view PartName(EntryPart part) {
  switch (part) {
    case EntryPart::first:
      return "first";
    case EntryPart::part:
      return "part";
    case EntryPart::last:
      return "last";
    case EntryPart::whole:
      break;
  }
  return {};
}

// Name-value pairs in canonical order, each name once.
template <typename Value>
std::vector<std::pair<std::string, Value>> Sorted(std::vector<std::pair<std::string, Value>> pairs) {
  std::sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return JsonNameLess(a.first, b.first); });
  pairs.erase(std::unique(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
              pairs.end());
  return pairs;
}

void AppendBudget(std::string& out, const EntryDraft& draft) {
  if (draft.budget.empty()) return;
  Member(out, "budget");
  out += '{';
  for (const auto& [window, left] : Sorted(draft.budget)) {
    AppendJsonString(out, window);
    out += ':';
    AppendJsonInteger(out, left);
    out += ',';
  }
  Close(out, '}');
  out += ',';
}

void AppendCharged(std::string& out, const EntryDraft& draft) {
  if (draft.lookups == 0 && draft.nameless == 0 && draft.statistic_rows == 0) return;
  Member(out, "charged");
  out += '{';
  NumberMember(out, "lookups", draft.lookups);
  NumberMember(out, "nameless", draft.nameless);
  NumberMember(out, "statistic_rows", draft.statistic_rows);
  Close(out, '}');
  out += ',';
}

// As much of a text as takes at most `bytes` also as it is written.
std::string_view StartOf(std::string_view text, size_t bytes) {
  std::string_view start = CutUtf8(text, bytes);
  while (JsonStringSize(start) > bytes + 2) start = CutUtf8(start, start.size() * 3 / 4);
  return start;
}

void AppendStatement(std::string& out, const EntryDraft& draft) {
  if (draft.fingerprint == 0 && draft.statement.empty()) return;
  Member(out, "statement");
  out += fmt::format("{{\"fingerprint\":\"{:016x}\",", draft.fingerprint);
  std::string_view start = StartOf(draft.statement, limits::kStatementText);
  if (start.size() < draft.statement.size()) TextMember(out, "sha256", Sha256Hex(draft.statement));
  TextMember(out, "text", start);
  Close(out, '}');
  out += ',';
}

void AppendTokens(std::string& out, std::string_view name, const std::vector<SubjectToken>& tokens) {
  if (tokens.empty()) return;
  Member(out, name);
  out += '[';
  for (const SubjectToken& token : tokens) {
    out += '"';
    out += Base64UrlEncode(token);
    out += "\",";
  }
  Close(out, ']');
  out += ',';
}

void AppendSubjects(std::string& out, const EntryDraft& draft) {
  if (draft.subjects.empty()) return;
  Member(out, "subjects");
  out += '[';
  for (const EntrySubjects& table : draft.subjects) {
    out += '{';
    AppendTokens(out, "asked", table.asked);
    if (!table.fields.empty()) {
      Member(out, "fields");
      out += '{';
      for (const auto& [column, mask] : Sorted(table.fields)) {
        AppendJsonString(out, column);
        out += ':';
        AppendJsonString(out, mask);
        out += ',';
      }
      Close(out, '}');
      out += ',';
    }
    AppendTokens(out, "returned", table.returned);
    TextMember(out, "table", table.table);
    Close(out, '}');
    out += ',';
  }
  Close(out, ']');
  out += ',';
}

// Literals stop at limits::kEntryLiterals bytes as they are written; a hash stands for the whole list.
void AppendLiterals(std::string& out, const EntryDraft& draft) {
  if (draft.literals.empty()) return;
  std::string all, kept;
  bool cut = false;
  for (const std::string& literal : draft.literals) {
    size_t before = all.size();
    AppendJsonString(all, literal);
    cut = cut || all.size() + 1 > limits::kEntryLiterals;
    if (!cut) kept.append(all, before).append(",");
    all += ',';
  }
  Member(out, "literals");
  out += '[';
  out += kept;
  Close(out, ']');
  out += ',';
  if (!cut) return;
  all.pop_back();
  NumberMember(out, "literals_count", static_cast<int64_t>(draft.literals.size()));
  TextMember(out, "literals_sha256", Sha256Hex("[" + all + "]"));
}

// What may be the client's own words, in an object; empty where there is none.
std::string Quoted(const EntryDraft& draft) {
  std::string out;
  out += '{';
  AppendLiterals(out, draft);
  TextMember(out, "message", StartOf(draft.message, limits::kEntryMember));
  if (out.size() == 1) return {};
  Close(out, '}');
  return out;
}

// The object that is sealed; empty where there is nothing to seal. `quoted`: the envelope of that.
std::string SealedPlain(const EntryDraft& draft, std::string_view quoted) {
  std::string out;
  out.reserve(kUsualEntry);
  out += '{';
  TextMember(out, "actor", draft.actor);
  TextMember(out, "address", draft.address);
  TextMember(out, "quoted", Base64UrlEncode(AsBytes(quoted)));
  TextMember(out, "reference", draft.reference);
  AppendSubjects(out, draft);
  if (out.size() == 1) return {};
  Close(out, '}');
  return out;
}

Status CheckLengths(const EntryDraft& draft) {
  const std::pair<const char*, const std::string*> members[] = {{"account's name", &draft.principal},
                                                                {"organisation", &draft.organisation},
                                                                {"role", &draft.role},
                                                                {"purpose", &draft.purpose},
                                                                {"reference", &draft.reference},
                                                                {"actor", &draft.actor},
                                                                {"address", &draft.address},
                                                                {"session", &draft.session},
                                                                {"policy", &draft.policy},
                                                                {"door", &draft.door}};
  for (const auto& [name, value] : members) {
    if (value->size() > (limits::kEntryMember - 2) / kMostEscaped && JsonStringSize(*value) > limits::kEntryMember)
      return Fail(sqlstate::kIo,
                  fmt::format("the {} is too long to be recorded, so nothing can be released under it", name),
                  fmt::format("make it shorter than {} bytes", limits::kEntryMember), "ledger.length");
  }
  return {};
}

}  // namespace

std::string_view EntryKindName(EntryKind kind) {
  switch (kind) {
    case EntryKind::disclosure:
      return "disclosure";
    case EntryKind::lookup:
      return "lookup";
    case EntryKind::statistic:
      return "statistic";
    case EntryKind::collection:
      return "collection";
    case EntryKind::alteration:
      return "alteration";
    case EntryKind::erasure:
      return "erasure";
    case EntryKind::refusal:
      return "refusal";
    case EntryKind::failure:
      return "failure";
    case EntryKind::session:
      return "session";
    case EntryKind::policy:
      return "policy";
    case EntryKind::key:
      return "key";
    case EntryKind::approval:
      return "approval";
    case EntryKind::alert:
      return "alert";
    case EntryKind::lock:
      return "lock";
    case EntryKind::person:
      return "person";
    case EntryKind::retention:
      return "retention";
    case EntryKind::start:
      return "start";
  }
  return {};
}

std::string EntryBinding(const EntryOrigin& origin, std::string_view salt) {
  return fmt::format("ecluse entry\n{}\n{}\n{}", origin.register_name, origin.node, salt);
}

std::string QuotedBinding(const EntryOrigin& origin, std::string_view salt) {
  return EntryBinding(origin, salt) + "\nquoted";
}

std::string PersonBinding(const EntryOrigin& origin, const SubjectToken& token) {
  return fmt::format("ecluse person\n{}\n{}\n{}", origin.register_name, origin.node, Base64UrlEncode(token));
}

void RenderedEntry::Complete(std::string& out, uint64_t seq, int64_t time) const {
  std::string_view all = text;
  out += all.substr(0, seq_at);
  Member(out, "seq");
  AppendJsonInteger(out, static_cast<int64_t>(seq));
  out += ',';
  out += all.substr(seq_at, time_at - seq_at);
  Member(out, "time");
  AppendJsonInteger(out, time);
  out += ',';
  out += all.substr(time_at);
}

Result<RenderedEntry> RenderEntry(const EntryDraft& draft, const EntryOrigin& origin, const Sealer& day,
                                  const Sealer& month) {
  ECLUSE_OK(CheckLengths(draft));
  RenderedEntry entry;
  std::string& out = entry.text;
  std::string salt = NewSalt();
  out.reserve(kUsualEntry);
  out += '{';
  AppendBudget(out, draft);
  AppendCharged(out, draft);
  NumberMember(out, "count", draft.count);
  TextMember(out, "door", draft.door);
  TextMember(out, "kind", EntryKindName(draft.kind));
  TextMember(out, "node", origin.node);
  TextMember(out, "organisation", draft.organisation);
  TextMember(out, "part", PartName(draft.part));
  TextMember(out, "policy", draft.policy);
  TextMember(out, "principal", draft.principal);
  TextMember(out, "purpose", draft.purpose);
  TextMember(out, "reason", StartOf(draft.reason, limits::kEntryMember));
  TextMember(out, "register", origin.register_name);
  TextMember(out, "role", draft.role);
  NumberMember(out, "rows", draft.rows);
  TextMember(out, "salt", salt);
  std::string quoted = Quoted(draft);
  if (!quoted.empty()) {
    ECLUSE_TRY(quoted, month(quoted, QuotedBinding(origin, salt)));
  }
  if (std::string plain = SealedPlain(draft, quoted); !plain.empty()) {
    ECLUSE_TRY(std::string sealed, day(plain, EntryBinding(origin, salt)));
    TextMember(out, "sealed", Base64UrlEncode(AsBytes(sealed)));
  }
  entry.seq_at = out.size();
  TextMember(out, "session", draft.session);
  AppendStatement(out, draft);
  entry.time_at = out.size();
  out += "\"v\":1}";
  if (entry.Size() > limits::kEntry)
    return Fail(sqlstate::kIo, "this statement is too large to be recorded, so nothing can be released for it",
                "name fewer tables, columns or values in one statement", "ledger.length",
                fmt::format("the entry would have {} bytes", entry.Size()));
  return entry;
}

RenderedEntry RenderPerson(const SubjectToken& token, std::string_view sealed_id, const EntryOrigin& origin) {
  RenderedEntry entry;
  std::string& out = entry.text;
  out = "{";
  TextMember(out, "kind", EntryKindName(EntryKind::person));
  TextMember(out, "node", origin.node);
  TextMember(out, "person", Base64UrlEncode(AsBytes(sealed_id)));
  TextMember(out, "register", origin.register_name);
  TextMember(out, "salt", NewSalt());
  entry.seq_at = out.size();
  TextMember(out, "subject", Base64UrlEncode(token));
  entry.time_at = out.size();
  out += "\"v\":1}";
  CHECK(entry.Size() <= limits::kEntry);
  return entry;
}

}  // namespace ecluse
