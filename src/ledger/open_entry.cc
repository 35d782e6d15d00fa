#include "ledger/open_entry.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/bytes.h"
#include "ledger/json.h"
#include "ledger/render.h"
#include "ledger/segment.h"
#include "vault/literal_keys.h"

namespace ecluse {
namespace {

namespace json = boost::json;

void Rename(json::value* list, const std::function<std::optional<std::string>(const SubjectToken&)>& name_of) {
  if (list == nullptr || !list->is_array()) return;
  for (json::value& item : list->get_array()) {
    if (!item.is_string()) continue;
    auto bytes = Base64UrlDecode(std::string_view(item.get_string()));
    SubjectToken token;
    if (!bytes || bytes->size() != token.size()) continue;
    std::copy(bytes->begin(), bytes->end(), token.begin());
    if (auto name = name_of(token)) item = *name;
  }
}

// `opened` with the members of what its `quoted` seals in the place of that. In canonical order `subjects`, which may
// name columns like that, stands behind it.
std::string WithQuoted(std::string opened, const std::string& binding, KeyRing& keys) {
  constexpr std::string_view kMember = "\"quoted\":\"";
  const size_t at = opened.find(kMember);
  if (at == std::string::npos || opened.find("\"subjects\":[") < at) return opened;
  const size_t begin = at + kMember.size(), end = opened.find('"', begin);
  const auto envelope = Base64UrlDecode(std::string_view(opened).substr(begin, end - begin));
  if (!envelope) return opened;
  auto plain = keys.literal_keys().Open({reinterpret_cast<const char*>(envelope->data()), envelope->size()}, binding);
  if (!plain || !*plain) return opened.replace(begin, end - begin, plain ? "its key is destroyed" : "does not open");
  return opened.replace(at, end + 1 - at, **plain, 1, (*plain)->size() - 2);
}

}  // namespace

Result<std::string> OpenSealed(std::string_view sealed, const EntryOrigin& origin, std::string_view salt,
                               KeyRing& keys) {
  auto envelope = Base64UrlDecode(sealed);
  if (!envelope) return LedgerDamaged("the sealed member of an entry is not base64url");
  ECLUSE_TRY(std::string opened, keys.OpenForDay({reinterpret_cast<const char*>(envelope->data()), envelope->size()},
                                                 EntryBinding(origin, salt)));
  return WithQuoted(std::move(opened), QuotedBinding(origin, salt), keys);
}

Result<std::string> OpenSealed(std::string_view text, KeyRing& keys) {
  if (text.find("\"sealed\":") == std::string_view::npos) return std::string();
  boost::system::error_code failed;
  json::value parsed = json::parse({text.data(), text.size()}, failed);
  if (failed || !parsed.is_object()) return LedgerDamaged("an entry is not JSON");
  const json::object& entry = parsed.get_object();
  const std::string_view coded = TextOf(entry, "sealed");
  if (coded.empty()) return std::string();
  return OpenSealed(coded, {std::string(TextOf(entry, "register")), std::string(TextOf(entry, "node"))},
                    TextOf(entry, "salt"), keys);
}

std::optional<int64_t> SealedOnDay(std::string_view text) {
  constexpr std::string_view kMember = "\"sealed\":\"";
  constexpr size_t kStart = 12;  // characters: the envelope's version, and its key's id, which begins with the day
  const size_t at = text.rfind(kMember);
  if (at == std::string_view::npos || text.size() < at + kMember.size() + kStart) return std::nullopt;
  const auto start = Base64UrlDecode(text.substr(at + kMember.size(), kStart));
  if (!start || start->size() < 5) return std::nullopt;
  return LoadU32(reinterpret_cast<const char*>(start->data()) + 1);
}

std::string WithNames(const std::string& opened,
                      const std::function<std::optional<std::string>(const SubjectToken&)>& name_of) {
  boost::system::error_code failed;
  json::value parsed = json::parse(opened, failed);
  if (failed || !parsed.is_object()) return opened;
  json::value* subjects = parsed.get_object().if_contains("subjects");
  if (subjects == nullptr || !subjects->is_array()) return opened;
  for (json::value& item : subjects->get_array()) {
    if (!item.is_object()) continue;
    Rename(item.get_object().if_contains("asked"), name_of);
    Rename(item.get_object().if_contains("returned"), name_of);
  }
  return json::serialize(parsed);
}

}  // namespace ecluse
