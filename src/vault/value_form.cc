#include "vault/value_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/bytes.h"
#include "base/utf8.h"
#include "vault/value_parts.h"

namespace ecluse {

using namespace type_oid;

std::unexpected<Error> NoValueOf(const char* type) {
  return Fail("22P02", fmt::format("a value for a sealed column is none of type {}", type),
              "write it as PostgreSQL prints it, dates and times as in ISO 8601", "vault.value");
}

std::unexpected<Error> NotHeld(const char* sqlstate, const char* type) {
  return Fail(sqlstate, fmt::format("a value for a sealed column is larger than its type {} holds", type),
              "see the column's declared type", "vault.value");
}

std::string_view TrimSpace(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

namespace {

Result<std::string> CanonicalInteger(std::string_view text, int64_t low, int64_t high, const char* type) {
  text = TrimSpace(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size()) return NoValueOf(type);
  if (error != std::errc() || value < low || value > high) return NotHeld("22003", type);
  return std::to_string(value);
}

Result<std::string> IntegerBinary(std::string_view bytes, size_t size, const char* type) {
  if (bytes.size() != size) return NoValueOf(type);
  if (size == 2) return std::to_string(static_cast<int16_t>(LoadU16(bytes.data())));
  if (size == 4) return std::to_string(static_cast<int32_t>(LoadU32(bytes.data())));
  return std::to_string(static_cast<int64_t>(LoadU64(bytes.data())));
}

std::string IntegerSent(std::string_view canonical, size_t size) {
  int64_t value = 0;
  std::from_chars(canonical.data(), canonical.data() + canonical.size(), value);
  std::string out;
  if (size == 2) AppendU16(out, static_cast<uint16_t>(value));
  if (size == 4) AppendU32(out, static_cast<uint32_t>(value));
  if (size == 8) AppendU64(out, static_cast<uint64_t>(value));
  return out;
}

// Any beginning of a word that no other has (PostgreSQL's parse_bool).
Result<std::string> CanonicalBool(std::string_view text) {
  std::string word(TrimSpace(text));
  std::ranges::transform(word, word.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const auto is = [&](std::string_view whole, size_t least) { return word.size() >= least && whole.starts_with(word); };
  if (is("true", 1) || is("yes", 1) || is("on", 2) || word == "1") return "t";
  if (is("false", 1) || is("no", 1) || is("off", 2) || word == "0") return "f";
  return NoValueOf("boolean");
}

// What is canonical of bytea is the bytes: from `\x…`, or with escapes.
Result<std::string> CanonicalBytea(std::string_view text) {
  if (text.starts_with("\\x")) {
    std::string hex;
    for (const char c : text.substr(2)) {
      const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
      if (space && hex.size() % 2 == 0) continue;
      hex += c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
    }
    const auto bytes = HexDecode(hex);
    if (!bytes) return NoValueOf("bytea");
    return std::string(bytes->begin(), bytes->end());
  }
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    const auto octal = [&](size_t at, char most) { return at < text.size() && text[at] >= '0' && text[at] <= most; };
    if (i + 1 < text.size() && text[i + 1] == '\\') {
      out += '\\';
      ++i;
    } else if (octal(i + 1, '3') && octal(i + 2, '7') && octal(i + 3, '7')) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      return NoValueOf("bytea");
    }
  }
  return out;
}

// 32 digits, with a hyphen or none behind each four, in braces or not.
Result<std::string> CanonicalUuid(std::string_view text) {
  if (text.starts_with('{')) {
    if (!text.ends_with('}')) return NoValueOf("uuid");
    text = text.substr(1, text.size() - 2);
  }
  std::string hex;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '-' && !hex.empty() && hex.size() < 32 && hex.size() % 4 == 0 && text[i - 1] != '-') continue;
    hex += c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
  }
  if (hex.size() != 32 || !HexDecode(hex)) return NoValueOf("uuid");
  for (const size_t at : {20, 16, 12, 8}) hex.insert(at, 1, '-');
  return hex;
}

// As varchar(n): spaces beyond are dropped, anything else refused.
Result<std::string> CanonicalText(std::string_view text, const ValueType& type) {
  if (!IsUtf8(text) || text.find('\0') != std::string_view::npos)
    return Fail("22021", "a value for a sealed column is not UTF-8", "send it in the client's encoding", "vault.value");
  if (type.oid != kVarchar || type.modifier < 4) return std::string(text);
  size_t size = 0;
  for (int32_t left = type.modifier - 4; left > 0 && size < text.size(); --left)
    size += NextUtf8(text.substr(size)).size;
  if (text.find_first_not_of(' ', size) != std::string_view::npos) return NotHeld("22001", "varchar");
  return std::string(text.substr(0, size));
}

}  // namespace

bool IsText(uint32_t oid) { return oid == kText || oid == kVarchar; }

bool MayBeSealed(uint32_t oid) {
  constexpr std::array kAll = {kBool, kBytea,     kInt8,        kInt2,    kInt4, kText, kVarchar,
                               kDate, kTimestamp, kTimestamptz, kNumeric, kUuid, kJsonb};
  return std::ranges::find(kAll, oid) != kAll.end();
}

Result<std::string> CanonicalValue(const ValueType& type, std::string_view bytes, bool binary) {
  switch (type.oid) {
    case kText:
    case kVarchar:
      return CanonicalText(bytes, type);
    case kInt2:
      return binary ? IntegerBinary(bytes, 2, "smallint") : CanonicalInteger(bytes, INT16_MIN, INT16_MAX, "smallint");
    case kInt4:
      return binary ? IntegerBinary(bytes, 4, "integer") : CanonicalInteger(bytes, INT32_MIN, INT32_MAX, "integer");
    case kInt8:
      return binary ? IntegerBinary(bytes, 8, "bigint") : CanonicalInteger(bytes, INT64_MIN, INT64_MAX, "bigint");
    case kNumeric:
      return binary ? CanonicalNumericBinary(bytes, type.modifier) : CanonicalNumeric(bytes, type.modifier);
    case kBool:
      if (!binary) return CanonicalBool(bytes);
      if (bytes.size() != 1) return NoValueOf("boolean");
      return bytes[0] != '\0' ? "t" : "f";
    case kBytea:
      return binary ? Result<std::string>(bytes) : CanonicalBytea(bytes);
    case kUuid:
      if (!binary) return CanonicalUuid(bytes);
      if (bytes.size() != 16) return NoValueOf("uuid");
      return CanonicalUuid(HexEncode(AsBytes(bytes)));
    case kDate:
    case kTimestamp:
    case kTimestamptz:
      return binary ? CanonicalTimeBinary(type, bytes) : CanonicalTime(type, bytes);
    case kJsonb:
      if (!binary) return CanonicalJsonb(bytes);
      if (!bytes.starts_with('\x01')) return NoValueOf("jsonb");
      return CanonicalJsonb(bytes.substr(1));
    default:
      return Fail(sqlstate::kNotSupported, fmt::format("the gate does not seal values of type oid {}", type.oid),
                  "seal columns of text, dates, times, numbers, boolean, bytea, jsonb and uuid", "vault.value");
  }
}

Result<std::string> ValueForm(const ValueType& type, std::string_view canonical, bool binary, const TimeStyle& style) {
  if (!IsText(type.oid) && type.oid != kBytea && type.oid != kJsonb) {
    const auto again = CanonicalValue({type.oid, -1}, canonical, false);
    if (!again || *again != canonical)
      return Fail(sqlstate::kIo, "a sealed value is not of its column's type",
                  "it was sealed when the column had another: see docs/vault_format.md", "vault.value");
  }
  switch (type.oid) {
    case kInt2:
      return binary ? IntegerSent(canonical, 2) : std::string(canonical);
    case kInt4:
      return binary ? IntegerSent(canonical, 4) : std::string(canonical);
    case kInt8:
      return binary ? IntegerSent(canonical, 8) : std::string(canonical);
    case kNumeric:
      return binary ? NumericBinary(canonical) : std::string(canonical);
    case kBool:
      return binary ? std::string(1, canonical == "t" ? '\x01' : '\0') : std::string(canonical);
    case kBytea:
      return binary ? std::string(canonical) : "\\x" + HexEncode(AsBytes(canonical));
    case kUuid: {
      if (!binary) return std::string(canonical);
      std::string hex(canonical);
      std::erase(hex, '-');
      const auto bytes = HexDecode(hex);
      return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
    }
    case kDate:
    case kTimestamp:
    case kTimestamptz:
      return binary ? Result<std::string>(TimeBinary(type, canonical)) : TimeText(type, canonical, style);
    case kJsonb:
      return binary ? "\x01" + std::string(canonical) : std::string(canonical);
    default:
      return std::string(canonical);
  }
}

}  // namespace ecluse
