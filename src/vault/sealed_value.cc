#include "vault/sealed_value.h"

#include "base/bytes.h"
#include "base/check.h"
#include "base/utf8.h"

namespace ecluse {
namespace {

// Each with its length before it, so that no two lists of texts give the same bytes.
void AppendText(std::string& out, std::string_view text) {
  CHECK(text.size() <= UINT16_MAX);
  AppendU16(out, static_cast<uint16_t>(text.size()));
  out += text;
}

std::string Associated(const Cell& cell) {
  std::string out;
  out.reserve(64 + cell.register_name.size() + cell.table.size() + cell.column.size() + cell.subject.size());
  out = "ecluse value";
  for (const std::string_view text : {cell.register_name, cell.table, cell.column, cell.subject}) AppendText(out, text);
  return out;
}

// Neither of the two opens a value without the other.
Xaes KeyOfTwo(const Xaes& key, const Secret& own) {
  CHECK(own.size() == kXaesKey);
  Secret both(kXaesKey);
  HmacKey(key.key()).Sign({"ecluse value of a person", own.text()}, both.mutable_bytes());
  return Xaes(std::move(both));
}

Secret ColumnKey(const Secret& search, std::string_view register_name, std::string_view column) {
  std::string of = "ecluse blind index";
  for (const std::string_view text : {register_name, column}) AppendText(of, text);
  Secret key(32);
  HmacKey(search.bytes()).Sign({of}, key.mutable_bytes());
  return key;
}

}  // namespace

std::string SealValue(const Xaes& key, const KeyId& id, const Cell& cell, std::string_view plain) {
  if (cell.own == nullptr) return SealEnvelope(key, id, plain, Associated(cell));
  return SealEnvelope(KeyOfTwo(key, *cell.own), id, plain, Associated(cell), EnvelopeVersion::key_of_two);
}

std::optional<std::string> OpenValue(const Xaes& key, const Cell& cell, std::string_view envelope) {
  if (!UnderOwnKey(envelope)) return OpenEnvelope(key, envelope, Associated(cell));
  if (cell.own == nullptr) return std::nullopt;
  return OpenEnvelope(KeyOfTwo(key, *cell.own), envelope, Associated(cell), EnvelopeVersion::key_of_two);
}

std::optional<KeyId> ValueKeyId(std::string_view envelope) {
  return EnvelopeKeyId(envelope, UnderOwnKey(envelope) ? EnvelopeVersion::key_of_two : EnvelopeVersion::key);
}

bool UnderOwnKey(std::string_view envelope) {
  return !envelope.empty() && envelope[0] == static_cast<char>(EnvelopeVersion::key_of_two);
}

BlindIndex::BlindIndex(const Secret& search, std::string_view register_name, std::string_view column)
    : key_(ColumnKey(search, register_name, column).bytes()) {}

BlindToken BlindIndex::Token(char kind, unsigned level, std::string_view of) const {
  BlindToken token;
  std::string head(1, kind);
  AppendU16(head, static_cast<uint16_t>(level));
  key_.Sign({head, of}, token);
  return token;
}

BlindToken BlindIndex::Equality(std::string_view folded) const { return Token('e', 0, folded); }

std::optional<BlindToken> BlindIndex::Prefix(std::string_view folded, unsigned characters) const {
  CHECK(characters <= UINT16_MAX);
  size_t size = 0;
  for (unsigned i = 0; i < characters; ++i) {
    if (size == folded.size()) return std::nullopt;
    size += NextUtf8(folded.substr(size)).size;
  }
  return Token('p', characters, folded.substr(0, size));
}

BlindToken BlindIndex::NoPrefix(unsigned characters) const { return Token('p', characters, ""); }

BlindToken BlindIndex::Sound(std::string_view sound) const { return Token('s', 0, sound); }

BlindToken BlindIndex::Block(int64_t step, unsigned level) const {
  CHECK(level < 64);
  std::string number;
  AppendU64(number, static_cast<uint64_t>(step >> level));
  return Token('r', level, number);
}

std::optional<std::vector<StepBlock>> BlocksOf(int64_t first, int64_t last, unsigned levels, size_t most) {
  std::vector<StepBlock> low, high;  // from both ends, each level's blocks that do not fill one of the next
  const auto add = [&](std::vector<StepBlock>& to, unsigned level, int64_t number) {
    to.push_back({level, number});
    return low.size() + high.size() <= most;
  };
  for (unsigned level = 0; first <= last; ++level) {
    if (level + 1 == levels) {
      for (int64_t number = first;; ++number) {
        if (!add(low, level, number)) return std::nullopt;
        if (number == last) break;
      }
      break;
    }
    if ((first & 1) != 0 && !add(low, level, first)) return std::nullopt;
    // `last` may have been `first`, which has just been taken.
    const bool taken = (first & 1) != 0 && first == last;
    if (taken) break;
    if ((last & 1) == 0 && !add(high, level, last)) return std::nullopt;
    if ((last & 1) == 0 && first == last) break;
    first = (first >> 1) + (first & 1);
    last = (last >> 1) - ((last & 1) == 0 ? 1 : 0);
  }
  low.insert(low.end(), high.rbegin(), high.rend());
  return low;
}

}  // namespace ecluse
