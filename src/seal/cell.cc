#include "seal/cell.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/random.h"
#include "execute/values.h"
#include "vault/folding.h"
#include "vault/value_form.h"
#include "vault/value_keys.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

std::string Text(const BlindToken& token) { return {reinterpret_cast<const char*>(token.data()), token.size()}; }

// Equal numbers have one spelling for the index: zeros that end a fraction are left out.
std::string_view Trimmed(std::string_view number) {
  if (!number.contains('.')) return number;
  while (number.ends_with('0')) number.remove_suffix(1);
  if (number.ends_with('.')) number.remove_suffix(1);
  return number;
}

}  // namespace

Result<std::shared_ptr<const CompartmentKeys>> SealingKeys(const KeyRing& keys, std::string_view compartment) {
  auto found = keys.Compartment(compartment);
  if (found != nullptr && found->renewing && !keys.ends_renewal())
    return Fail(sqlstate::kIo, "the keys that sealed columns are searched under are being renewed",
                "Whoever runs the gate finishes that: `ecluse keys rotate --search`, run again, with the gate stopped.",
                "seal.keys", fmt::format("the compartment {}", compartment));
  if (found != nullptr && found->complete()) return found;
  return Fail(sqlstate::kIo, "the keys of sealed columns are not there, so nothing of them is opened or written",
              "Ask whoever runs the gate: its keys are made where it starts (docs/operations.md).", "seal.keys",
              fmt::format("the compartment {}", compartment));
}

Result<std::string> OpenLink(const Links& links, std::string_view table, std::string_view pseudonym) {
  auto id = links.IdOf(pseudonym);
  if (id && MayBeId(*id)) return *std::move(id);
  return Fail(sqlstate::kIo, "whom a row is about does not open",
              "Nothing of the answer is released. Whoever runs the gate finds in its log which table it is, and what "
              "to do.",
              "seal.link",
              fmt::format("{}: a pseudonym was altered, or made in another compartment, space or register; a row that "
                          "was written or moved around the gate has to be restored",
                          table));
}

namespace {

// `space:id` as everybody else knows them.
Result<std::vector<KeyedSubject>> Keyed(const KeyRing& keys, std::span<const std::string> subjects) {
  if (keys.value_keys() == nullptr)
    return Fail(sqlstate::kIo, "people's own keys are not there, so nothing under them is opened or written",
                "report this", "seal.own-keys");
  std::vector<KeyedSubject> keyed;
  for (const std::string& subject : subjects) {
    const size_t colon = subject.find(':');
    CHECK(colon != std::string::npos);
    keys.SubjectKey(std::string_view(subject).substr(0, colon), std::string_view(subject).substr(colon + 1),
                    keyed.emplace_back().data());
  }
  return keyed;
}

std::vector<std::string> Once(std::span<const std::string> subjects) {
  std::vector<std::string> once(subjects.begin(), subjects.end());
  std::ranges::sort(once);
  once.erase(std::ranges::unique(once).begin(), once.end());
  return once;
}

}  // namespace

Result<OwnKeys> OwnKeys::Take(const KeyRing& keys, std::span<const std::string> subjects) {
  const std::vector<std::string> once = Once(subjects);
  ECLUSE_TRY(const auto keyed, Keyed(keys, once));
  ECLUSE_TRY(auto taken, keys.value_keys()->Take(keyed));
  OwnKeys own;
  for (size_t i = 0; i < once.size(); ++i) own.all_.push_back({once[i], std::move(taken[i]), false});
  return own;
}

Result<OwnKeys> OwnKeys::Find(const KeyRing& keys, std::span<const std::string> subjects) {
  const std::vector<std::string> once = Once(subjects);
  ECLUSE_TRY(const auto keyed, Keyed(keys, once));
  ECLUSE_TRY(auto found, keys.value_keys()->Find(keyed));
  OwnKeys own;
  for (size_t i = 0; i < once.size(); ++i) own.all_.push_back({once[i], std::move(found[i].key), found[i].erased});
  return own;
}

const OwnKeys::Key* OwnKeys::Find(std::string_view subject) const {
  const auto found = std::ranges::lower_bound(all_, subject, {}, &Key::subject);
  return found != all_.end() && found->subject == subject ? &*found : nullptr;
}

const Secret* OwnKeys::Of(std::string_view subject) const {
  const Key* found = Find(subject);
  return found != nullptr && !found->key.empty() ? &found->key : nullptr;
}

bool OwnKeys::Erased(std::string_view subject) const {
  const Key* found = Find(subject);
  return found != nullptr && found->erased;
}

std::unexpected<Error> NoSubject() {
  return Fail("23502", "a sealed column is written for a person, and the row names none",
              "Give the subject column a value.", "seal.subject");
}

Result<std::optional<std::string>> TokenOf(const BlindIndex& index, const ValueType& type, const Sealing& search,
                                           TokenColumn::Kind kind, unsigned level, std::string_view canonical) {
  const auto steps = kind == TokenColumn::Kind::block ? StepsOf(type, search) : std::nullopt;
  CHECK(kind != TokenColumn::Kind::block || steps);
  if (kind == TokenColumn::Kind::block) {
    bool below = false;
    const auto place = PlaceOf(type, *steps, canonical, &below);
    if (!place) {
      return Fail(
          "22008", "a value of a sealed column that is searched between bounds is outside of what its index holds",
          "Dates and times go from year 1 to 9999, or are infinity; numbers are those of bigint.", "seal.range");
    }
    return Text(index.Block(place->step, level));
  }
  if (!IsText(type.oid)) {
    return Text(index.Equality(type.oid == type_oid::kNumeric ? Trimmed(canonical) : canonical));
  }
  if (canonical.size() > limits::kSearchedText) {
    // Too long to be folded: equal where it is the same, and like and sounding by how it begins.
    if (kind == TokenColumn::Kind::equality) return Text(index.Equality(canonical));
    size_t size = limits::kSearchedText;
    while ((static_cast<unsigned char>(canonical[size]) & 0xc0) == 0x80) --size;
    canonical = canonical.substr(0, size);
  }
  if (kind == TokenColumn::Kind::sound) {
    ECLUSE_TRY(const std::string sound, SoundOf(canonical));
    return Text(index.Sound(sound));
  }
  ECLUSE_TRY(const std::string folded, Fold(canonical));
  if (kind == TokenColumn::Kind::equality)
    return Text(index.Equality(folded));  // Of a text with fewer letters that of none: neither NULL nor any other's.
  const auto token = index.Prefix(folded, level);
  return Text(token ? *token : index.NoPrefix(level));
}

Result<std::string> EnvelopeOf(const CompartmentKeys& keys, const Cell& cell, const ValueType& stored, Oid given,
                               std::string_view bytes, bool binary) {
  // Read as what it was given as; stored as what the column holds.
  ECLUSE_TRY(std::string canonical, CanonicalValue({given, -1}, bytes, binary));
  ECLUSE_TRY(canonical, CanonicalValue(stored, canonical, stored.oid == type_oid::kBytea));
  return SealValue(keys.current().key, keys.current().id, cell, canonical);
}

Result<std::string> OpenCell(const CompartmentKeys& keys, const Cell& cell, std::string_view envelope) {
  const auto refuse = [&](std::string_view rule, const std::string& why) {
    return Fail(sqlstate::kIo, fmt::format("a value of the sealed column \"{}\" does not open", cell.column),
                "Nothing of the answer is released. Whoever runs the gate finds in its log which table it is, and what "
                "to do.",
                std::string(rule), fmt::format("{}.{}: {}", cell.table, cell.column, why));
  };
  constexpr std::string_view kRestore = "a value that was written or moved around the gate has to be restored";
  const auto key_id = ValueKeyId(envelope);
  if (!key_id) return refuse("seal.open", fmt::format("it is no envelope of a known version; {}", kRestore));
  const Xaes* key = keys.Find(*key_id);
  if (key == nullptr)
    return refuse(kUnknownKey,
                  fmt::format("its key {} is not in this ring; restart the gate where keys were changed, or "
                              "put the right <data_dir>/keys/ring back",
                              HexEncode(*key_id)));
  if (UnderOwnKey(envelope) && cell.own == nullptr)
    return refuse(
        "seal.own-key",
        "its person's own key is not in <data_dir>/keys/values, which was put back from an older copy, or has "
        "gone; put the newest copy back");
  auto opened = OpenValue(*key, cell, envelope);
  if (!opened)
    return refuse("seal.open",
                  fmt::format("it was altered, or sealed for another person, column or register; {}", kRestore));
  return *std::move(opened);
}

Result<std::optional<std::string>> OpenLeft(const CompartmentKeys& keys, const Cell& cell, bool erased,
                                            std::string_view envelope) {
  auto opened = OpenCell(keys, cell, envelope);
  if (!opened && erased && UnderOwnKey(envelope) && opened.error().rule != kUnknownKey) return std::nullopt;
  if (!opened) return std::unexpected(std::move(opened).error());
  return std::optional(*std::move(opened));
}

std::string NobodysEnvelope(const CompartmentKeys& keys, Cell cell) {
  Secret nobodys(kXaesKey);
  RandomBytes(nobodys.mutable_bytes());
  cell.own = &nobodys;
  return SealValue(keys.current().key, keys.current().id, cell, "");
}

Result<std::string> SealCell(const CompartmentKeys& keys, const Cell& cell, std::string_view canonical) {
  std::string envelope = SealValue(keys.current().key, keys.current().id, cell, canonical);
  ECLUSE_TRY(const std::string again, OpenCell(keys, cell, envelope));
  if (again != canonical)
    return Fail(sqlstate::kInternal, "a value does not come back as it was sealed", "report this", "seal.value");
  return envelope;
}

Status SealText(const CompartmentKeys& keys, const BlindIndex& index, const Cell& cell, const ValueType& type,
                const Sealing& search, const std::vector<TokenColumn>& columns, std::optional<std::string>* value,
                std::vector<std::optional<std::string>>* tokens) {
  if (!*value) {
    tokens->resize(tokens->size() + columns.size());
    return {};
  }
  ECLUSE_TRY(const std::string canonical, CanonicalValue(type, **value, false));
  for (const TokenColumn& column : columns) {
    ECLUSE_TRY(const auto token, TokenOf(index, type, search, column.kind, column.level, canonical));
    tokens->push_back(token ? std::optional(ByteaText(*token)) : std::nullopt);
  }
  *value = ByteaText(SealValue(keys.current().key, keys.current().id, cell, canonical));
  return {};
}

std::string ByteaText(std::string_view bytes) { return "\\x" + HexEncode(AsBytes(bytes)); }

}  // namespace ecluse
