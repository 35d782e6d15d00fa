#include "policy/sealed_columns.h"

#include <charconv>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
namespace ecluse {
namespace {


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

constexpr int64_t kDaySeconds = 86'400;
constexpr int64_t kFirstDay = -730'119, kLastDay = 2'921'939;  // 0001-01-01 and 9999-12-31, from 2000-01-01

// Rounded down.
int64_t StepOf(int64_t value, int64_t size) { return value / size - (value % size < 0 ? 1 : 0); }

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

constexpr std::string_view kLinked = "id ", kWithin = " in ";

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

std::optional<LinkedIds> LinkedAs(std::string_view domain) {
  const size_t behind = domain.rfind(kWithin);
  if (!domain.starts_with(kLinked) || behind == std::string_view::npos || behind < kLinked.size()) return std::nullopt;
  const auto type = SealedType(domain.substr(kLinked.size(), behind - kLinked.size()));
  if (!type) return std::nullopt;
  return LinkedIds{*type, std::string(domain.substr(behind + kWithin.size()))};
}

std::string LinkedDomain(const ValueType& type, std::string_view compartment) {
  return std::string(kLinked) + SealedDomain(type) + std::string(kWithin) + std::string(compartment);
}

std::optional<ValueType> StandingType(std::string_view domain, const Sealing& sealing) {
  if (!sealing.link) return SealedType(domain);
  const auto linked = LinkedAs(domain);
  return linked ? std::optional(linked->type) : std::nullopt;
}

std::string SearchKeyNote(std::string_view search_key) {
  return "ecluse: tokens under the search key " + std::string(search_key);
}

std::string EqualityColumn(const std::string& column) { return std::string(kTokenPrefix) + column; }
std::string EqualityColumn(const std::string& column, const Sealing& sealing) {
  return sealing.link ? column : EqualityColumn(column);
}
std::string PrefixColumn(const std::string& column, unsigned characters) {
  return std::string(kTokenPrefix) + column + "_p" + std::to_string(characters);
}
std::string SoundColumn(const std::string& column) { return std::string(kTokenPrefix) + column + "_s"; }

bool IsTokenColumn(const std::string& column, const std::string& name) {
  const std::string equality = EqualityColumn(column);
  if (!name.starts_with(equality)) return false;
  const std::string_view behind = std::string_view(name).substr(equality.size());
  return behind.empty() || behind == "_s" ||
         ((behind.starts_with("_p") || behind.starts_with("_r")) && behind.size() > 2 &&
          behind.find_first_not_of("0123456789", 2) == std::string_view::npos);
}

std::string OfEqualityColumn(const std::string& name) {
  return name.starts_with(kTokenPrefix) ? name.substr(kTokenPrefix.size()) : name;
}

std::string RangeDomain(const Sealing& sealing) {
  return "range(" + std::to_string(sealing.range) + (sealing.range_of_time ? "s)" : ")");
}

std::string BlockColumn(const std::string& column, unsigned level) {
  return std::string(kTokenPrefix) + column + "_r" + std::to_string(level);
}

std::optional<RangeSteps> StepsOf(const ValueType& type, const Sealing& sealing) {
  if (sealing.range == 0) return std::nullopt;
  RangeSteps steps;
  int64_t least = INT64_MIN, most = INT64_MAX;
  switch (type.oid) {
    case type_oid::kDate:
      steps.size = sealing.range / kDaySeconds;
      least = kFirstDay;
      most = kLastDay;
      break;
    case type_oid::kTimestamp:
    case type_oid::kTimestamptz:
      steps.size = sealing.range * 1'000'000;
      least = kFirstDay * kDaySeconds * 1'000'000;
      most = (kLastDay + 1) * kDaySeconds * 1'000'000 - 1;
      break;
    case type_oid::kInt2:
      steps.size = sealing.range;
      least = INT16_MIN;
      most = INT16_MAX;
      break;
    case type_oid::kInt4:
      steps.size = sealing.range;
      least = INT32_MIN;
      most = INT32_MAX;
      break;
    default:
      steps.size = sealing.range;
  }
  if (steps.size < 1) return std::nullopt;
  steps.discrete = type.oid != type_oid::kNumeric;
  steps.first = StepOf(least, steps.size);
  steps.last = StepOf(most, steps.size);
  // Of the widest types the two outermost steps are those of infinity as well.
  if (least > INT64_MIN) --steps.first, ++steps.last;
  const auto blocks = [&] {
    const unsigned high = steps.levels - 1;
    return static_cast<__int128_t>(steps.last >> high) - (steps.first >> high) + 1;
  };
  while (blocks() > limits::kRangeBlocks) ++steps.levels;
  return steps;
}

std::optional<StepPlace> PlaceOf(const ValueType& type, const RangeSteps& steps, std::string_view canonical,
                                 bool* below) {
  *below = canonical.starts_with('-');
  const bool time =
      type.oid == type_oid::kDate || type.oid == type_oid::kTimestamp || type.oid == type_oid::kTimestamptz;
  if (canonical == "infinity" || canonical == "Infinity") return StepPlace{steps.last, true, true};
  if (canonical == "-infinity" || canonical == "-Infinity") return StepPlace{steps.first, true, true};
  int64_t value = 0;
  bool whole = true;
  if (time) {
    const auto sent = ValueForm(type, canonical, true, {});
    if (!sent) return std::nullopt;
    value = type.oid == type_oid::kDate ? static_cast<int32_t>(LoadU32(sent->data()))
                                        : static_cast<int64_t>(LoadU64(sent->data()));
    *below = value < 0;
  } else {
    const std::string_view digits = canonical.substr(0, canonical.find('.'));
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    whole = digits.size() == canonical.size() ||
            canonical.substr(digits.size() + 1).find_first_not_of('0') == std::string_view::npos;
    if (!whole && canonical.starts_with('-')) {
      if (value == INT64_MIN) return std::nullopt;
      --value;  // rounded down
    }
  }
  StepPlace place;
  place.step = StepOf(value, steps.size);
  if (time && (place.step <= steps.first || place.step >= steps.last)) return std::nullopt;
  place.first = whole && value % steps.size == 0;
  place.last = steps.discrete && value != INT64_MAX && (value + 1) % steps.size == 0;
  return place;
}

std::vector<TokenColumn> TokenColumns(const std::string& column, const ValueType& type, const Sealing& sealing) {
  std::vector<TokenColumn> columns;
  if (sealing.link) return columns;
  if (sealing.equality) columns.push_back({EqualityColumn(column), TokenColumn::Kind::equality, 0});
  for (unsigned n = 1; n <= sealing.prefix; ++n)
    columns.push_back({PrefixColumn(column, n), TokenColumn::Kind::prefix, n});
  if (sealing.phonetic) columns.push_back({SoundColumn(column), TokenColumn::Kind::sound, 0});
  const auto steps = StepsOf(type, sealing);
  for (unsigned level = 0; steps && level < steps->levels; ++level)
    columns.push_back({BlockColumn(column, level), TokenColumn::Kind::block, level});
  return columns;
}

std::string SearchMisfit(const ValueType& type, const Sealing& sealing) {
  if (type.oid == type_oid::kJsonb && sealing.equality)
    return "is jsonb, of which equal values may be printed in several ways; equality is for other types";
  if (!IsText(type.oid) && (sealing.prefix > 0 || sealing.phonetic))
    return "is " + TypeText(type) + "; prefix and phonetic are for text";
  if (sealing.range == 0) return "";
  const bool date = type.oid == type_oid::kDate;
  const bool time = type.oid == type_oid::kTimestamp || type.oid == type_oid::kTimestamptz;
  const bool number = type.oid == type_oid::kInt2 || type.oid == type_oid::kInt4 || type.oid == type_oid::kInt8 ||
                      type.oid == type_oid::kNumeric;
  if (!date && !time && !number) return "is " + TypeText(type) + "; range is for dates, timestamps and numbers";
  if (number == sealing.range_of_time || (date && sealing.range % kDaySeconds != 0))
    return "is " + TypeText(type) + "; its range goes by " +
           (number ? "a number, as range(10)"
            : date ? "days, as range(1d)"
                   : "a duration, as range(1h)");
  return "";
}

}  // namespace ecluse
