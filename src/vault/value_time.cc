#include <fmt/format.h>
#include <unicode/timezone.h>
#include <unicode/unistr.h>

#include <charconv>
#include <cmath>
#include <memory>

#include "base/bytes.h"
#include "base/check.h"
#include "vault/value_parts.h"

namespace ecluse {
namespace {

using namespace type_oid;

// Days and microseconds count from 2000-01-01, as PostgreSQL sends them.
constexpr int64_t kDay = 86'400'000'000, kEpoch2000 = 10'957;              // days from 1970 to 2000
constexpr int64_t kFirstDay = -2'451'545;                                  // 4714-11-24 BC
constexpr int64_t kEndOfDates = 2'145'031'949, kEndOfTimes = 106'751'983;  // 5874898-01-01, 294277-01-01
constexpr int64_t kInfinity = INT64_MAX, kMinusInfinity = INT64_MIN;

struct Date {
  int64_t year = 0;  // 0 is 1 BC
  unsigned month = 1, day = 1;
};

// The proleptic Gregorian calendar, in eras of 400 years that begin with March.
int64_t DaysOf(const Date& date) {
  const int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t of_era = year - era * 400;
  const int64_t of_year = (153 * (date.month > 2 ? date.month - 3 : date.month + 9) + 2) / 5 + date.day - 1;
  return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468 - kEpoch2000;
}

Date DateOf(int64_t days) {
  days += 719'468 + kEpoch2000;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const int64_t of_era = days - era * 146'097;
  const int64_t years = (of_era - of_era / 1'460 + of_era / 36'524 - of_era / 146'096) / 365;
  const int64_t of_year = of_era - (365 * years + years / 4 - years / 100);
  const int64_t month = (5 * of_year + 2) / 153;
  Date date;
  date.day = static_cast<unsigned>(of_year - (153 * month + 2) / 5 + 1);
  date.month = static_cast<unsigned>(month < 10 ? month + 3 : month - 9);
  date.year = years + era * 400 + (date.month <= 2 ? 1 : 0);
  return date;
}

std::unexpected<Error> NoTime(const char* type, const char* what = nullptr) {
  return Fail(
      "22007", fmt::format("a value for a sealed column is none of type {}", type),
      what != nullptr ? what : "write it as in ISO 8601: 2026-05-01, 2026-05-01 09:30:00, 2026-05-01 09:30:00+02",
      "vault.value");
}

const char* NameOf(uint32_t oid) {
  return oid == kDate ? "date" : oid == kTimestamp ? "timestamp" : "timestamp with time zone";
}

// Reads from the front of a text.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  bool Take(char c) {
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  // A number of so many digits.
  bool Number(size_t least, size_t most, int64_t& to) {
    size_t size = 0;
    to = 0;
    for (; size < text_.size() && size < most && text_[size] >= '0' && text_[size] <= '9'; ++size)
      to = to * 10 + (text_[size] - '0');
    text_.remove_prefix(size);
    return size >= least;
  }
  // The digits behind a point, rounded as PostgreSQL does: as a double.
  int64_t Micros() {
    double fraction = 0;
    const std::string digits = "0." + std::string(text_.substr(0, text_.find_first_not_of("0123456789"))) + "0";
    text_.remove_prefix(digits.size() - 3);
    std::from_chars(digits.data(), digits.data() + digits.size(), fraction);
    return static_cast<int64_t>(std::rint(fraction * 1e6));
  }
  bool empty() const { return text_.empty(); }
  bool TakeWord(std::string_view word) {
    if (!text_.ends_with(word)) return false;
    text_.remove_suffix(word.size());
    return true;
  }

 private:
  std::string_view text_;
};

// `:MM` or `MM`, after hours.
bool ReadOffset(Reader& reader, int64_t& seconds) {
  const bool west = reader.Take('-');
  if (!west && !reader.Take('+')) return false;
  int64_t hours = 0, minutes = 0, more = 0;
  if (!reader.Number(2, 2, hours)) return false;
  if (reader.Take(':')) {
    if (!reader.Number(2, 2, minutes)) return false;
    if (reader.Take(':') && !reader.Number(2, 2, more)) return false;
  } else if (!reader.empty() && !reader.Number(2, 2, minutes)) {
    return false;
  }
  if (hours > 15 || minutes > 59 || more > 59) return false;
  seconds = hours * 3'600 + minutes * 60 + more;
  if (west) seconds = -seconds;
  return true;
}

// False where it is no time of day; `held` false where no day has it.
bool ReadClock(Reader& reader, int64_t& micros, bool& held) {
  int64_t hours = 0, minutes = 0, seconds = 0, fraction = 0;
  if (!reader.Number(1, 2, hours) || !reader.Take(':') || !reader.Number(2, 2, minutes)) return false;
  if (reader.Take(':')) {
    if (!reader.Number(2, 2, seconds)) return false;
    if (reader.Take('.')) fraction = reader.Micros();
  }
  micros = ((hours * 60 + minutes) * 60 + seconds) * 1'000'000 + fraction;
  held = minutes < 60 && seconds < 60 && (hours < 24 || micros == kDay);
  return true;
}

// The number PostgreSQL would send.
Result<int64_t> Read(const ValueType& type, std::string_view text) {
  const char* name = NameOf(type.oid);
  if (text == "infinity") return kInfinity;
  if (text == "-infinity") return kMinusInfinity;
  Reader reader(text);
  const bool before_christ = reader.TakeWord(" BC");
  int64_t year = 0, month = 0, day = 0, clock = 0, offset = 0;
  if (!reader.Number(4, 7, year) || !reader.Take('-') || !reader.Number(1, 2, month) || !reader.Take('-') ||
      !reader.Number(1, 2, day))
    return NoTime(name);
  bool has_offset = false, held = true;
  if (reader.Take(' ') || reader.Take('T')) {
    if (!ReadClock(reader, clock, held)) return NoTime(name);
    (void)reader.Take(' ');
    has_offset = reader.Take('Z');
    if (!has_offset && !reader.empty()) {
      has_offset = ReadOffset(reader, offset);
      if (!has_offset) return NoTime(name);
    }
  }
  if (!reader.empty()) return NoTime(name);
  const Date date{before_christ ? 1 - year : year, static_cast<unsigned>(month), static_cast<unsigned>(day)};
  const int64_t days = month >= 1 && month <= 12 ? DaysOf(date) : 0;
  const Date again = DateOf(days);
  held = held && year != 0 && month >= 1 && month <= 12 && again.day == date.day && again.month == date.month;
  if (!held) return NotHeld("22008", name);
  if (type.oid == kDate) {
    if (days < kFirstDay || days >= kEndOfDates) return NotHeld("22008", name);
    return days;
  }
  if (type.oid == kTimestamptz && !has_offset)
    return NoTime(name, "say how far the time is from UTC, as in 2026-05-01 09:30:00+02");
  if (days < kFirstDay - 1 || days > kEndOfTimes) return NotHeld("22008", name);
  int64_t micros = days * kDay + clock - (type.oid == kTimestamptz ? offset * 1'000'000 : 0);
  if (type.modifier >= 0 && type.modifier < 6) {
    int64_t unit = 1;
    for (int32_t i = type.modifier; i < 6; ++i) unit *= 10;
    micros = micros >= 0 ? (micros + unit / 2) / unit * unit : -((-micros + unit / 2) / unit * unit);
  }
  if (micros < kFirstDay * kDay || micros >= kEndOfTimes * kDay) return NotHeld("22008", name);
  return micros;
}

// Whole days before `micros`, and what is left.
std::pair<int64_t, int64_t> Split(int64_t micros) {
  int64_t days = micros / kDay;
  if (micros % kDay < 0) --days;
  return {days, micros - days * kDay};
}

std::string ClockText(int64_t micros) {
  const int64_t seconds = micros / 1'000'000;
  std::string out = fmt::format("{:02}:{:02}:{:02}", seconds / 3'600, seconds / 60 % 60, seconds % 60);
  if (const int64_t fraction = micros % 1'000'000; fraction != 0) {
    out += fmt::format(".{:06}", fraction);
    out.erase(out.find_last_not_of('0') + 1);
  }
  return out;
}

std::string OffsetText(int64_t seconds) {
  const int64_t far = seconds < 0 ? -seconds : seconds;
  std::string out = fmt::format("{}{:02}", seconds < 0 ? '-' : '+', far / 3'600);
  if (far % 3'600 != 0) out += fmt::format(":{:02}", far / 60 % 60);
  if (far % 60 != 0) out += fmt::format(":{:02}", far % 60);
  return out;
}

std::string DateText(const Date& date, const TimeStyle& style) {
  const int64_t year = date.year > 0 ? date.year : 1 - date.year;
  switch (style.style) {
    case TimeStyle::Style::sql:
      return style.day_first ? fmt::format("{:02}/{:02}/{:04}", date.day, date.month, year)
                             : fmt::format("{:02}/{:02}/{:04}", date.month, date.day, year);
    case TimeStyle::Style::postgres:
      return style.day_first ? fmt::format("{:02}-{:02}-{:04}", date.day, date.month, year)
                             : fmt::format("{:02}-{:02}-{:04}", date.month, date.day, year);
    case TimeStyle::Style::german:
      return fmt::format("{:02}.{:02}.{:04}", date.day, date.month, year);
    case TimeStyle::Style::iso:
      break;
  }
  return fmt::format("{:04}-{:02}-{:02}", year, date.month, date.day);
}

// `offset`: seconds east of UTC that are printed and counted in.
std::string Written(const ValueType& type, int64_t value, const TimeStyle& style, int64_t offset) {
  if (value == kInfinity) return "infinity";
  if (value == kMinusInfinity) return "-infinity";
  std::string out;
  Date date;
  if (type.oid == kDate) {
    date = DateOf(value);
    out = DateText(date, style);
  } else {
    const auto [days, clock] = Split(value + offset * 1'000'000);
    date = DateOf(days);
    out = DateText(date, style) + " " + ClockText(clock);
    if (type.oid == kTimestamptz) out += OffsetText(offset);
  }
  if (date.year <= 0) out += " BC";
  return out;
}

// Of what has been read before.
int64_t Known(const ValueType& type, std::string_view canonical) { return Read({type.oid, -1}, canonical).value_or(0); }

// Seconds east of UTC, at the time.
Result<int64_t> OffsetOf(const std::string& zone, int64_t micros) {
  if (zone == "UTC" || micros == kInfinity || micros == kMinusInfinity) return 0;
  thread_local std::string name;
  thread_local std::unique_ptr<icu::TimeZone> found;
  if (name != zone || !found) {
    found.reset(icu::TimeZone::createTimeZone(icu::UnicodeString::fromUTF8(zone)));
    name = zone;
  }
  // `GMT+5` is west of Greenwich for PostgreSQL and POSIX, and east for ICU.
  const bool posix = zone.find_first_of("0123456789") != std::string::npos && !zone.starts_with("Etc/");
  if (posix || !found || *found == icu::TimeZone::getUnknown())
    return Fail(sqlstate::kNotSupported, "sealed times cannot be given in the session's time zone",
                "set TimeZone to a name of the IANA database, as Europe/Paris or UTC", "vault.value");
  int32_t raw = 0, summer = 0;
  UErrorCode failed = U_ZERO_ERROR;
  const auto milliseconds = static_cast<double>(micros / 1'000 + kEpoch2000 * 86'400'000);
  found->getOffset(milliseconds, 0, raw, summer, failed);
  CHECK(U_SUCCESS(failed));
  return (raw + summer) / 1'000;
}

}  // namespace

Result<std::string> CanonicalTime(const ValueType& type, std::string_view text) {
  ECLUSE_TRY(const int64_t value, Read(type, TrimSpace(text)));
  return Written(type, value, {}, 0);
}

Result<std::string> CanonicalTimeBinary(const ValueType& type, std::string_view bytes) {
  const char* name = NameOf(type.oid);
  const bool date = type.oid == kDate;
  if (bytes.size() != (date ? 4 : 8)) return NoTime(name, "send it as PostgreSQL does");
  int64_t value = date ? static_cast<int32_t>(LoadU32(bytes.data())) : static_cast<int64_t>(LoadU64(bytes.data()));
  if (date && value == INT32_MAX) value = kInfinity;
  if (date && value == INT32_MIN) value = kMinusInfinity;
  if (value == kInfinity || value == kMinusInfinity) return Written(type, value, {}, 0);
  const int64_t unit = date ? 1 : kDay;
  if (value < kFirstDay * unit || value >= (date ? kEndOfDates : kEndOfTimes * unit)) return NotHeld("22008", name);
  return CanonicalTime(type, Written(type, value, {}, 0));  // measured by the modifier
}

std::string TimeBinary(const ValueType& type, std::string_view canonical) {
  const int64_t value = Known(type, canonical);
  std::string out;
  if (type.oid == kDate) {
    const int64_t days = value == kInfinity ? INT32_MAX : value == kMinusInfinity ? INT32_MIN : value;
    AppendU32(out, static_cast<uint32_t>(static_cast<int32_t>(days)));
  } else {
    AppendU64(out, static_cast<uint64_t>(value));
  }
  return out;
}

Result<std::string> TimeText(const ValueType& type, std::string_view canonical, const TimeStyle& style) {
  if (type.oid != kDate && style.style != TimeStyle::Style::iso)
    return Fail(sqlstate::kNotSupported, "sealed times are given in DateStyle ISO alone", "SET datestyle TO ISO",
                "vault.value");
  if (type.oid != kTimestamptz && style.style == TimeStyle::Style::iso) return std::string(canonical);
  const int64_t value = Known(type, canonical);
  ECLUSE_TRY(const int64_t offset, type.oid == kTimestamptz ? OffsetOf(style.zone, value) : 0);
  return Written(type, value, style, offset);
}

}  // namespace ecluse
