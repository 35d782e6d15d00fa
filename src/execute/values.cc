#include "execute/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/utf8.h"

namespace ecluse {
namespace {

// Type oids of PostgreSQL's pg_type.dat that can stand for a person.
constexpr Oid kName = 19, kInt8 = 20, kInt2 = 21, kInt4 = 23, kText = 25, kOid = 26, kFloat4 = 700, kFloat8 = 701,
              kUnknown = 705, kBpchar = 1042, kVarchar = 1043, kNumeric = 1700, kUuid = 2950;

using MaybeId = std::optional<std::string>;

std::unexpected<Error> CannotRead(std::string_view what) {
  return Fail(sqlstate::kNotSupported, fmt::format("the gate cannot read {} as the identifier of a person", what),
              "Send the value as text, integer, numeric or uuid, or cast it to the type of the column.",
              "deliver.value-form");
}

std::string_view TrimSpace(std::string_view text) {
  auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

MaybeId IntegerText(std::string_view text, int64_t low, int64_t high) {
  text = TrimSpace(text);
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) return std::nullopt;
  return std::to_string(value);
}

// A decimal number in plain or exponent form, if it is an integer; its digits without leading zeros.
MaybeId NumericText(std::string_view text) {
  text = TrimSpace(text);
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::string digits;
  size_t i = 0;
  int64_t point = -1, exponent = 0;
  for (; i < text.size() && (std::isdigit(static_cast<unsigned char>(text[i])) || text[i] == '.'); ++i) {
    if (text[i] != '.')
      digits += text[i];
    else if (point >= 0)
      return std::nullopt;
    else
      point = static_cast<int64_t>(digits.size());
  }
  if (digits.empty()) return std::nullopt;
  if (point < 0) point = static_cast<int64_t>(digits.size());
  if (i < text.size()) {
    if (text[i] != 'e' && text[i] != 'E') return std::nullopt;
    std::string_view rest = text.substr(i + 1);
    if (rest.starts_with('+')) rest.remove_prefix(1);
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), exponent);
    if (error != std::errc() || end != rest.data() + rest.size() || std::abs(exponent) > 1'000) return std::nullopt;
  }
  point += exponent;
  while (static_cast<int64_t>(digits.size()) > std::max<int64_t>(point, 0) && digits.back() == '0') digits.pop_back();
  if (digits.find_first_not_of('0') == std::string::npos) return "0";
  if (static_cast<int64_t>(digits.size()) > point) return std::nullopt;
  digits.append(static_cast<size_t>(point) - digits.size(), '0');
  digits.erase(0, digits.find_first_not_of('0'));
  return negative ? "-" + digits : digits;
}

// numeric_send: int16 digit count, weight, sign, display scale, then base-10000 digits.
Result<MaybeId> NumericBinary(std::string_view bytes) {
  if (bytes.size() < 8) return CannotRead("a malformed binary numeric");
  size_t count = LoadU16(bytes.data());
  int weight = static_cast<int16_t>(LoadU16(bytes.data() + 2));
  uint16_t sign = LoadU16(bytes.data() + 4);
  if (bytes.size() != 8 + count * 2) return CannotRead("a malformed binary numeric");
  if (sign != 0 && sign != 0x4000) return MaybeId();
  if (weight > 64) return MaybeId();
  std::string text;
  for (int i = 0; i <= std::max(weight, static_cast<int>(count) - 1); ++i) {
    int digit = i < static_cast<int>(count) ? LoadU16(bytes.data() + 8 + i * 2) : 0;
    if (i > weight && digit != 0) return MaybeId();
    if (i <= weight) text += fmt::format("{:04}", digit);
  }
  text.erase(0, std::min(text.find_first_not_of('0'), text.size()));
  if (text.empty()) return MaybeId("0");
  return MaybeId(sign != 0 ? "-" + text : text);
}

MaybeId FloatText(double value) {
  if (!std::isfinite(value) || value != std::floor(value) || std::fabs(value) >= 9.2e18) return std::nullopt;
  return std::to_string(static_cast<int64_t>(value));
}

MaybeId UuidText(std::string_view text) {
  text = TrimSpace(text);
  if (text.starts_with('{') && text.ends_with('}')) text = text.substr(1, text.size() - 2);
  std::string hex;
  for (char c : text) {
    if (c == '-') continue;
    if (!std::isxdigit(static_cast<unsigned char>(c))) return std::nullopt;
    hex += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (hex.size() != 32) return std::nullopt;
  for (size_t at : {20, 16, 12, 8}) hex.insert(at, 1, '-');
  return hex;
}

Result<MaybeId> CanonicalText(Oid type, std::string_view text) {
  switch (type) {
    case kInt2:
      return IntegerText(text, INT16_MIN, INT16_MAX);
    case kInt4:
      return IntegerText(text, INT32_MIN, INT32_MAX);
    case kInt8:
      return IntegerText(text, INT64_MIN, INT64_MAX);
    case kOid:
      return IntegerText(text, 0, UINT32_MAX);
    case kNumeric:
      return NumericText(text);
    case kFloat4:
    case kFloat8: {
      text = TrimSpace(text);
      if (text.starts_with('+')) text.remove_prefix(1);
      double value = 0;
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error != std::errc() || end != text.data() + text.size()) return MaybeId();
      return FloatText(type == kFloat4 ? static_cast<float>(value) : value);
    }
    case kUuid:
      return UuidText(text);
    case kBpchar: {
      while (text.ends_with(' ')) text.remove_suffix(1);
      return MaybeId(text);
    }
    case kName:
      return MaybeId(text.substr(0, limits::kIdentifier));
    case kText:
    case kVarchar:
    case kUnknown:
      return MaybeId(text);
    default:
      return CannotRead(fmt::format("a value of type oid {}", type));
  }
}

Result<MaybeId> CanonicalBinary(Oid type, std::string_view bytes) {
  auto sized = [&](size_t size) { return bytes.size() == size; };
  switch (type) {
    case kInt2:
      if (sized(2)) return MaybeId(std::to_string(static_cast<int16_t>(LoadU16(bytes.data()))));
      break;
    case kInt4:
      if (sized(4)) return MaybeId(std::to_string(static_cast<int32_t>(LoadU32(bytes.data()))));
      break;
    case kInt8:
      if (sized(8)) return MaybeId(std::to_string(static_cast<int64_t>(LoadU64(bytes.data()))));
      break;
    case kOid:
      if (sized(4)) return MaybeId(std::to_string(LoadU32(bytes.data())));
      break;
    case kFloat4:
      if (sized(4)) return FloatText(std::bit_cast<float>(LoadU32(bytes.data())));
      break;
    case kFloat8:
      if (sized(8)) return FloatText(std::bit_cast<double>(LoadU64(bytes.data())));
      break;
    case kUuid:
      if (sized(16)) return UuidText(HexEncode(AsBytes(bytes)));
      break;
    case kNumeric:
      return NumericBinary(bytes);
    case kName:
    case kText:
    case kVarchar:
    case kUnknown:
    case kBpchar:
      return CanonicalText(type, bytes);
    default:
      break;
  }
  return CannotRead(fmt::format("a binary value of type oid {}", type));
}

std::unexpected<Error> BadArray() { return CannotRead("a malformed array"); }

Result<std::vector<std::string>> TextArray(std::string_view text, bool* nulls) {
  text = TrimSpace(text);
  // An array may begin with its bounds: `[2:4]={…}`.
  if (text.starts_with('[')) {
    size_t equals = text.find('=');
    if (equals == std::string_view::npos) return BadArray();
    text = TrimSpace(text.substr(equals + 1));
  }
  if (!text.starts_with('{')) return BadArray();
  std::vector<std::string> out;
  int depth = 0;
  std::string word;
  bool quoted = false, any = false;
  auto finish = [&] {
    std::string_view trimmed = quoted ? std::string_view(word) : TrimSpace(word);
    bool null = !quoted && trimmed.size() == 4 && strncasecmp(trimmed.data(), "null", 4) == 0;
    *nulls |= null;
    if (any && !null && (quoted || !trimmed.empty())) out.emplace_back(trimmed);
    word.clear();
    quoted = any = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '{')
      ++depth;
    else if (c == '}') {
      finish();
      if (--depth == 0 && i + 1 != text.size()) return BadArray();
    } else if (c == ',')
      finish();
    else if (c == '"') {
      quoted = any = true;
      for (++i; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\' && ++i == text.size()) return BadArray();
        word += text[i];
      }
      if (i == text.size()) return BadArray();
    } else {
      if (c == '\\' && ++i == text.size()) return BadArray();
      if (!quoted || TrimSpace(text.substr(i, 1)).size() == 1) word += text[i];
      any = true;
    }
    if (out.size() > limits::kAskedValues) break;
  }
  if (depth != 0 && out.size() <= limits::kAskedValues) return BadArray();
  return out;
}

// array_send: int32 dimensions, flags, element oid; for each dimension size and lower bound; then length and bytes.
Result<std::vector<std::string>> BinaryArray(std::string_view bytes, Oid* element_type, bool* nulls) {
  if (bytes.size() < 12) return BadArray();
  uint32_t dimensions = LoadU32(bytes.data());
  *element_type = LoadU32(bytes.data() + 8);
  if (dimensions > 6 || bytes.size() < 12 + dimensions * 8) return BadArray();
  uint64_t count = dimensions == 0 ? 0 : 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    count *= LoadU32(bytes.data() + 12 + i * 8);
    if (count > bytes.size()) return BadArray();  // each element takes four bytes at least
  }
  bytes.remove_prefix(12 + dimensions * 8);
  std::vector<std::string> out;
  for (uint64_t i = 0; i < count; ++i) {
    if (bytes.size() < 4) return BadArray();
    uint32_t size = LoadU32(bytes.data());
    bytes.remove_prefix(4);
    if (size == UINT32_MAX) {
      *nulls = true;
      continue;
    }
    if (size > bytes.size()) return BadArray();
    out.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  if (!bytes.empty()) return BadArray();
  return out;
}

std::unexpected<Error> TooMany() {
  return Fail(sqlstate::kTooComplex, fmt::format("a statement names at most {} people", limits::kAskedValues),
              "Split the list over several statements.", "deliver.asked-values");
}

Result<const BoundValue*> Parameter(const BoundValues& values, int number) {
  if (number < 1 || static_cast<size_t>(number) > values.size())
    return Fail(sqlstate::kProtocolViolation, fmt::format("parameter ${} was not given a value", number),
                "Bind as many values as the statement has parameters.", "deliver.parameter-count");
  return &values[static_cast<size_t>(number - 1)];
}

Oid DeclaredType(const Plan& plan, int number) {
  if (plan.withheld.contains(number)) return 0;  // its source has the type
  size_t index = static_cast<size_t>(number - 1);
  return index < plan.parameter_types.size() ? plan.parameter_types[index] : 0;
}

// Every id that one source can stand for; none for NULL.
Result<std::vector<std::string>> SourceIds(const Plan& plan, const ValueSource& source, const BoundValues& values) {
  std::string_view bytes = source.constant;
  bool binary = false;
  Oid type = source.type;
  if (source.kind == ValueSource::Kind::parameter) {
    ECLUSE_TRY(const BoundValue* value, Parameter(values, source.parameter));
    if (!value->bytes) return std::vector<std::string>();
    bytes = *value->bytes;
    binary = value->binary;
    Oid declared = DeclaredType(plan, source.parameter);
    if (declared != 0 && !source.array) type = declared;
  }
  std::vector<std::string> elements;
  if (source.array) {
    ECLUSE_TRY(elements, ArrayElements(bytes, binary, &type));
    if (elements.size() > limits::kAskedValues) return TooMany();
  } else {
    elements.emplace_back(bytes);
  }
  std::vector<std::string> ids;
  for (const std::string& element : elements) {
    ECLUSE_TRY(MaybeId id, CanonicalId(type, element, binary));
    if (id && MayBeId(*id)) ids.push_back(std::move(*id));  // nobody has another
  }
  return ids;
}

}  // namespace

bool MayBeId(std::string_view text) {
  return !text.empty() && text.size() <= limits::kSubjectId && !text.contains('\0') &&
         !text.contains(kSubjectSeparator) && !text.contains(kSubjectColumnSeparator) && IsUtf8(text);
}

Result<std::optional<std::string>> CanonicalId(Oid type, std::string_view bytes, bool binary) {
  return binary ? CanonicalBinary(type, bytes) : CanonicalText(type, bytes);
}

Result<std::vector<std::string>> ArrayElements(std::string_view bytes, bool binary, Oid* element_type, bool* nulls) {
  bool any = false;
  if (nulls == nullptr) nulls = &any;
  return binary ? BinaryArray(bytes, element_type, nulls) : TextArray(bytes, nulls);
}

Result<std::vector<NamedPerson>> ReadAsked(const Plan& plan, const BoundValues& values) {
  std::vector<NamedPerson> people;
  for (const Asked& asked : plan.asked) {
    // A composite subject is named by one value for each of its columns: every combination of them is a person.
    std::vector<std::string> ids = {""};
    for (size_t column = 0; column < asked.values.size(); ++column) {
      ECLUSE_TRY(std::vector<std::string> parts, SourceIds(plan, asked.values[column], values));
      if (ids.size() * parts.size() > limits::kAskedValues) return TooMany();
      std::vector<std::string> combined;
      for (const std::string& id : ids)
        for (const std::string& part : parts)
          combined.push_back(column == 0 ? part : id + kSubjectColumnSeparator + part);
      ids = std::move(combined);
    }
    if (asked.values.empty()) continue;
    for (std::string& id : ids) {
      if (id.size() > limits::kSubjectId) continue;  // nobody has such an id
      people.push_back({asked.table_ref, std::move(id)});
    }
    if (people.size() > limits::kAskedValues) return TooMany();
  }
  return people;
}

Result<int64_t> CountLookups(const Plan& plan, const BoundValues& values) {
  int64_t lookups = std::max(plan.arms, plan.guarded ? 1 : 0) + plan.lists.fixed;
  for (int number : plan.lists.array_parameters) {
    ECLUSE_TRY(const BoundValue* value, Parameter(values, number));
    if (!value->bytes) continue;
    Oid type = 0;
    ECLUSE_TRY(std::vector<std::string> elements, ArrayElements(*value->bytes, value->binary, &type));
    if (elements.size() > limits::kAskedValues) return TooMany();
    lookups += std::max<int64_t>(static_cast<int64_t>(elements.size()) - 1, 0);
  }
  return lookups;
}

Result<int64_t> ReadSkip(const Plan& plan, const BoundValues& values) {
  if (!plan.skip) return 0;
  const ValueSource& source = plan.skip->value;
  if (source.kind == ValueSource::Kind::parameter) {
    ECLUSE_TRY(const BoundValue* value, Parameter(values, source.parameter));
    if (!value->bytes) return 0;  // OFFSET NULL skips nothing
  }
  ECLUSE_TRY(std::vector<std::string> ids, SourceIds(plan, source, values));
  if (ids.empty())
    return Fail("22P02", "OFFSET must be a whole number", "Give a number of rows from 0 on.", "deliver.offset");
  int64_t skip = 0;
  auto [end, error] = std::from_chars(ids[0].data(), ids[0].data() + ids[0].size(), skip);
  if (error != std::errc() || end != ids[0].data() + ids[0].size() || skip < 0)
    return Fail("2201X", "OFFSET must not be negative", "Give a number of rows from 0 on.", "deliver.offset");
  return skip;
}

}  // namespace ecluse
