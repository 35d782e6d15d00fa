#include "seal/mask.h"

#include <unicode/timezone.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/check.h"
#include "base/utf8.h"

namespace ecluse {
namespace {

using namespace type_oid;

// The first bytes of a text that make so many characters.
size_t BytesOf(std::string_view text, size_t characters) {
  size_t size = 0;
  while (characters-- > 0 && size < text.size()) size += NextUtf8(text.substr(size)).size;
  return size;
}

// `year-month-day` at the beginning of a canonical date or time.
struct Day {
  int64_t year = 0;  // 0 is 1 BC
  std::string_view written, month, day;
  bool before_christ = false;
};

Day DayOf(std::string_view canonical) {
  Day out;
  const size_t dash = canonical.find('-');
  CHECK(dash != std::string_view::npos && canonical.size() >= dash + 6);
  out.written = canonical.substr(0, dash);
  out.month = canonical.substr(dash + 1, 2);
  out.day = canonical.substr(dash + 4, 2);
  out.before_christ = canonical.ends_with(" BC");
  std::from_chars(out.written.data(), out.written.data() + out.written.size(), out.year);
  if (out.before_christ) out.year = 1 - out.year;
  return out;
}

constexpr int64_t kFirstYear = -4'712;  // 4713 BC
constexpr int64_t kLastYear = 294'276;

std::string CutDay(const Day& day, bool year) {
  return std::string(day.written) + "-" + (year ? "01" : std::string(day.month)) + "-01";
}

// Cut where the zone's own months begin, as PostgreSQL's timezone() and date_trunc() do.
std::optional<std::string> CutZoned(std::string_view canonical, bool year, const std::string& zone) {
  const ValueType type{kTimestamptz, -1};
  const Day utc = DayOf(canonical);
  // PostgreSQL's masks leave a margin of days, in which a zone could leave what a timestamp holds.
  if (utc.year < kFirstYear || utc.year > kLastYear) return std::nullopt;
  if (utc.year == kFirstYear && utc.month == "01" && utc.day < "03") return std::nullopt;
  if (utc.year == kLastYear && utc.month == "12" &&
      (utc.day > "29" || (utc.day == "29" && !canonical.contains(" 00:00:00+")))) {
    return std::nullopt;
  }
  const auto local = ValueForm(type, canonical, false, {TimeStyle::Style::iso, false, zone});
  if (!local) return std::nullopt;
  const Day cut = DayOf(*local);
  const std::unique_ptr<icu::TimeZone> known(icu::TimeZone::createTimeZone(icu::UnicodeString::fromUTF8(zone)));
  // Days since 1970 of the first of that month, in the proleptic Gregorian calendar.
  int64_t month = 1;
  if (!year) std::from_chars(cut.month.data(), cut.month.data() + 2, month);
  const int64_t y = cut.year - (month <= 2 ? 1 : 0);
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t of_era = y - era * 400;
  const int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5;
  const int64_t days = era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
  int32_t raw = 0, daylight = 0;
  UErrorCode status = U_ZERO_ERROR;
  known->getOffset(static_cast<double>(days) * 86'400'000.0, true, raw, daylight, status);
  if (U_FAILURE(status)) return std::nullopt;
  const int64_t seconds = (raw + daylight) / 1'000;
  const auto two = [](int64_t value) { return (value < 10 ? "0" : "") + std::to_string(value); };
  const int64_t size = seconds < 0 ? -seconds : seconds;
  const std::string offset =
      (seconds < 0 ? "-" : "+") + two(size / 3'600) + ":" + two(size / 60 % 60) + ":" + two(size % 60);
  auto back = CanonicalValue(type, CutDay(cut, year) + " 00:00:00" + offset + (cut.before_christ ? " BC" : ""), false);
  return back ? std::optional(*std::move(back)) : std::nullopt;
}

std::optional<std::string> CutTime(const ValueType& type, std::string_view canonical, bool year,
                                   const std::string& zone) {
  if (canonical.ends_with("infinity")) return std::string(canonical);
  if (type.oid == kTimestamptz) return CutZoned(canonical, year, zone);
  const Day day = DayOf(canonical);
  if (day.year < kFirstYear || day.year > kLastYear) return std::nullopt;
  return CutDay(day, year) + (type.oid == kTimestamp ? " 00:00:00" : "") + (day.before_christ ? " BC" : "");
}

// Of decimal digits: the remainder by `step`; and the number with `add` added or taken away, which leaves it positive.
uint64_t Remainder(std::string_view digits, uint64_t step) {
  __uint128_t rest = 0;
  for (const char c : digits) rest = (rest * 10 + static_cast<uint64_t>(c - '0')) % step;
  return static_cast<uint64_t>(rest);
}

std::string Moved(std::string_view digits, uint64_t by, bool up) {
  std::string out(20, '0');  // room for what is added
  out += digits;
  int carry = 0;
  for (size_t i = out.size(); i-- > 0;) {
    const int part = static_cast<int>(by % 10);
    by /= 10;
    int digit = out[i] - '0' + (up ? part + carry : -part - carry);
    carry = up ? (digit > 9 ? 1 : 0) : (digit < 0 ? 1 : 0);
    digit += up ? -10 * carry : 10 * carry;
    out[i] = static_cast<char>('0' + digit);
  }
  CHECK(carry == 0 && by == 0);
  out.erase(0, std::min(out.find_first_not_of('0'), out.size() - 1));
  return out;
}

std::string Rounded(const ValueType& type, std::string_view canonical, int64_t step) {
  if (type.oid == kNumeric && canonical.find_first_not_of("-.0123456789") != std::string_view::npos) return "NaN";
  const bool negative = canonical.starts_with('-');
  if (negative) canonical.remove_prefix(1);
  const std::string_view whole = canonical.substr(0, canonical.find('.'));
  const bool fraction = canonical.size() > whole.size() &&
                        canonical.substr(whole.size() + 1).find_first_not_of('0') != std::string_view::npos;
  const uint64_t unsigned_step = static_cast<uint64_t>(step);
  const uint64_t rest = Remainder(whole, unsigned_step);
  std::string digits = Moved(whole, rest, false);
  if (negative && (rest != 0 || fraction)) digits = Moved(digits, unsigned_step, true);
  if (negative && digits != "0") digits.insert(0, 1, '-');
  if (type.oid == kNumeric) return digits;
  // Held at the type's least value.
  const std::string least = type.oid == kInt2 ? "-32768" : type.oid == kInt4 ? "-2147483648" : "-9223372036854775808";
  const bool below =
      digits.starts_with('-') && (digits.size() > least.size() || (digits.size() == least.size() && digits > least));
  return below ? least : digits;
}

}  // namespace

std::optional<std::string> MaskedValue(const ValueType& type, std::string_view canonical, const Mask& mask,
                                       const std::string& zone) {
  switch (mask.kind) {
    case Mask::Kind::clear:
      return std::string(canonical);
    case Mask::Kind::initial:
      return std::string(canonical.substr(0, BytesOf(canonical, 1)));
    case Mask::Kind::last4: {
      // A short value would be shown whole.
      const size_t count = CountUtf8(canonical);
      return count >= 8 ? std::string(canonical.substr(BytesOf(canonical, count - 4))) : std::string();
    }
    case Mask::Kind::year:
    case Mask::Kind::month:
      return CutTime(type, canonical, mask.kind == Mask::Kind::year, zone);
    case Mask::Kind::range:
      return Rounded(type, canonical, mask.step);
    case Mask::Kind::hidden:
    case Mask::Kind::redacted:
    case Mask::Kind::pseudonym:
      break;  // the database's, or none of a sealed column
  }
  return std::nullopt;
}

}  // namespace ecluse
