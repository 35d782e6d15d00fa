#include "policy/sealed_columns.h"

#include <charconv>

#include "base/check.h"

namespace ecluse {
namespace {

constexpr std::string_view kToken = "__bidx_";

// What a type's modifier measures (PostgreSQL, utils/adt: varchar.c, numeric.c, timestamp.c).
enum class Measure { none, length, scale, precision };
struct SealedName {
  uint32_t oid;
  std::string_view domain, text, behind;  // `behind` comes after the modifier in the type's own name
  Measure measure;
};
constexpr SealedName kNames[] = {
    {type_oid::kText, "text", "text", "", Measure::none},
    {type_oid::kVarchar, "varchar", "character varying", "", Measure::length},
    {type_oid::kDate, "date", "date", "", Measure::none},
    {type_oid::kTimestamp, "timestamp", "timestamp", " without time zone", Measure::precision},
    {type_oid::kTimestamptz, "timestamptz", "timestamp", " with time zone", Measure::precision},
    {type_oid::kInt2, "smallint", "smallint", "", Measure::none},
    {type_oid::kInt4, "integer", "integer", "", Measure::none},
    {type_oid::kInt8, "bigint", "bigint", "", Measure::none},
    {type_oid::kNumeric, "numeric", "numeric", "", Measure::scale},
    {type_oid::kBool, "boolean", "boolean", "", Measure::none},
    {type_oid::kBytea, "bytea", "bytea", "", Measure::none},
    {type_oid::kJsonb, "jsonb", "jsonb", "", Measure::none},
    {type_oid::kUuid, "uuid", "uuid", "", Measure::none}};

constexpr int32_t kHeader = 4;  // VARHDRSZ, which lengths and scales are stored with

const SealedName& NameOf(uint32_t oid) {
  for (const SealedName& name : kNames) {
    if (name.oid == oid) return name;
  }
  CHECK(false);
}

std::string ModifierText(const ValueType& type, Measure measure) {
  if (type.modifier < 0) return "";
  switch (measure) {
    case Measure::none:
      return "";
    case Measure::length:
      return "(" + std::to_string(type.modifier - kHeader) + ")";
    case Measure::precision:
      return "(" + std::to_string(type.modifier) + ")";
    case Measure::scale: {
      const int32_t bits = type.modifier - kHeader;
      const int32_t scale = ((bits & 0x7ff) ^ 1024) - 1024;
      return "(" + std::to_string((bits >> 16) & 0xffff) + "," + std::to_string(scale) + ")";
    }
  }
  return "";
}

// `(40)`, `(10,2)`; nullopt where it is no such modifier.
std::optional<int32_t> ParseModifier(std::string_view text, Measure measure) {
  if (text.empty()) return -1;
  if (measure == Measure::none || !text.starts_with('(') || !text.ends_with(')')) return std::nullopt;
  text = text.substr(1, text.size() - 2);
  int32_t first = 0, second = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), first);
  if (error != std::errc() || first < 0) return std::nullopt;
  if (measure == Measure::scale) {
    if (end == text.data() + text.size() || *end != ',' || first > 1'000) return std::nullopt;
    const auto [stop, bad] = std::from_chars(end + 1, text.data() + text.size(), second);
    if (bad != std::errc() || stop != text.data() + text.size() || second < -1'000 || second > 1'000)
      return std::nullopt;
    return ((first << 16) | (second & 0x7ff)) + kHeader;
  }
  if (end != text.data() + text.size() || first > 10'485'760) return std::nullopt;  // MaxAttrSize
  return measure == Measure::length ? first + kHeader : first;
}

}  // namespace

std::optional<ValueType> SealedType(std::string_view domain) {
  const std::string_view word = domain.substr(0, domain.find('('));
  for (const SealedName& name : kNames) {
    if (name.domain != word) continue;
    const auto modifier = ParseModifier(domain.substr(word.size()), name.measure);
    if (!modifier) return std::nullopt;
    const ValueType type{name.oid, *modifier};
    return SealedDomain(type) == domain ? std::optional(type) : std::nullopt;
  }
  return std::nullopt;
}

std::string SealedDomain(const ValueType& type) {
  const SealedName& name = NameOf(type.oid);
  return std::string(name.domain) + ModifierText(type, name.measure);
}

std::string TypeText(const ValueType& type) {
  const SealedName& name = NameOf(type.oid);
  return std::string(name.text) + ModifierText(type, name.measure) + std::string(name.behind);
}

std::string EqualityColumn(const std::string& column) { return std::string(kToken) + column; }
std::string PrefixColumn(const std::string& column, unsigned characters) {
  return std::string(kToken) + column + "_p" + std::to_string(characters);
}
std::string SoundColumn(const std::string& column) { return std::string(kToken) + column + "_s"; }

std::string OfEqualityColumn(const std::string& name) {
  return name.starts_with(kToken) ? name.substr(kToken.size()) : name;
}

std::vector<TokenColumn> TokenColumns(const std::string& column, const Sealing& sealing) {
  std::vector<TokenColumn> columns;
  if (sealing.equality) columns.push_back({EqualityColumn(column), TokenColumn::Kind::equality, 0});
  for (unsigned n = 1; n <= sealing.prefix; ++n)
    columns.push_back({PrefixColumn(column, n), TokenColumn::Kind::prefix, n});
  if (sealing.phonetic) columns.push_back({SoundColumn(column), TokenColumn::Kind::sound, 0});
  return columns;
}

std::string SearchMisfit(const ValueType& type, const Sealing& sealing) {
  if (type.oid == type_oid::kJsonb && sealing.equality)
    return "is jsonb, of which equal values may be printed in several ways; equality is for other types";
  if (!IsText(type.oid) && (sealing.prefix > 0 || sealing.phonetic))
    return "is " + TypeText(type) + "; prefix and phonetic are for text";
  return "";
}

}  // namespace ecluse
