// The small languages inside a policy: durations, masks, hours.
#include <unicode/timezone.h>

#include <array>
#include <charconv>

#include "base/limits.h"
#include "policy/policy_reader.h"

namespace ecluse {
namespace {

struct Unit {
  char letter;
  int64_t seconds;
};
constexpr std::array<Unit, 5> kUnits{{{'y', 365 * 86'400}, {'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}}};
constexpr std::array<std::string_view, 7> kDays{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

std::optional<int64_t> Digits(std::string_view text) {
  int64_t value = 0;
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<int> Day(std::string_view text) {
  for (size_t i = 0; i < kDays.size(); ++i) {
    if (text == kDays[i]) return static_cast<int>(i);
  }
  return std::nullopt;
}

// "08:30" -> 510; "24:00" is the end of the day.
std::optional<int> Minute(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  auto hour = Digits(text.substr(0, 2)), minute = Digits(text.substr(3));
  if (!hour || !minute || *minute > 59 || *hour > 24 || (*hour == 24 && *minute != 0)) return std::nullopt;
  return static_cast<int>(*hour * 60 + *minute);
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// "Mon-Fri 08:00-18:00"
std::optional<Hours::Span> ParseSpan(std::string_view text) {
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  std::string_view days = text.substr(0, space), times = Trim(text.substr(space));
  const size_t day_dash = days.find('-'), time_dash = times.find('-');
  if (time_dash == std::string_view::npos) return std::nullopt;
  auto first = Day(days.substr(0, day_dash));
  auto last = day_dash == std::string_view::npos ? first : Day(days.substr(day_dash + 1));
  auto from = Minute(times.substr(0, time_dash)), to = Minute(times.substr(time_dash + 1));
  if (!first || !last || !from || !to || *from >= *to) return std::nullopt;
  return Hours::Span{*first, *last, *from, *to};
}

bool IsTimeZone(const std::string& name) {
  std::unique_ptr<icu::TimeZone> zone(icu::TimeZone::createTimeZone(icu::UnicodeString::fromUTF8(name)));
  return zone != nullptr && *zone != icu::TimeZone::getUnknown();
}

}  // namespace

std::optional<std::chrono::seconds> ParseDuration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  auto count = Digits(text.substr(0, text.size() - 1));
  if (!count) return std::nullopt;
  for (const Unit& unit : kUnits) {
    if (unit.letter != text.back()) continue;
    if (*count > limits::kDurationMax.count() / unit.seconds) return std::nullopt;
    return std::chrono::seconds(*count * unit.seconds);
  }
  return std::nullopt;
}

std::string DurationText(std::chrono::seconds duration) {
  // An hour multiple up to two days is said in hours: "24h", as people write budgets.
  const int64_t seconds = duration.count();
  for (const Unit& unit : kUnits) {
    if (unit.letter == 'd' && seconds <= 2 * 86'400) continue;
    if (seconds >= unit.seconds && seconds % unit.seconds == 0) {
      return std::to_string(seconds / unit.seconds) + unit.letter;
    }
  }
  return std::to_string(seconds) + "s";
}

std::optional<Mask> ParseMask(std::string_view text) {
  using Kind = Mask::Kind;
  constexpr std::array<std::pair<std::string_view, Kind>, 8> kPlain{{{"clear", Kind::clear},
                                                                     {"hidden", Kind::hidden},
                                                                     {"redacted", Kind::redacted},
                                                                     {"initial", Kind::initial},
                                                                     {"last4", Kind::last4},
                                                                     {"year", Kind::year},
                                                                     {"month", Kind::month},
                                                                     {"pseudonym", Kind::pseudonym}}};
  for (const auto& [name, kind] : kPlain) {
    if (text == name) return Mask{kind, 0};
  }
  if (!text.starts_with("range(") || !text.ends_with(")")) return std::nullopt;
  auto step = Digits(text.substr(6, text.size() - 7));
  // Two, because range(1) of an integer is the integer.
  if (!step || *step < 2 || *step > limits::kBudgetMax) return std::nullopt;
  return Mask{Kind::range, *step};
}

std::string Mask::Text() const {
  switch (kind) {
    case Kind::clear:
      return "clear";
    case Kind::hidden:
      return "hidden";
    case Kind::redacted:
      return "redacted";
    case Kind::initial:
      return "initial";
    case Kind::last4:
      return "last4";
    case Kind::year:
      return "year";
    case Kind::month:
      return "month";
    case Kind::range:
      return "range(" + std::to_string(step) + ")";
    case Kind::pseudonym:
      return "pseudonym";
  }
  return "hidden";
}

std::string Window::Text() const {
  constexpr std::array<std::string_view, 3> kNames{"subjects", "lookups", "failures"};
  return std::to_string(limit) + " " + std::string(kNames[static_cast<size_t>(counts)]) + " per " + DurationText(per);
}

std::optional<Hours> ParseHours(std::string_view text, std::string& why) {
  Hours hours;
  text = Trim(text);
  const size_t last_space = text.rfind(' ');
  hours.time_zone = last_space == std::string_view::npos ? "" : std::string(text.substr(last_space + 1));
  if (!IsTimeZone(hours.time_zone)) {
    why = "`" + hours.time_zone + "` is not a time zone";
    return std::nullopt;
  }
  std::string_view spans = text.substr(0, last_space);
  for (size_t at = 0; at <= spans.size();) {
    size_t comma = std::min(spans.find(',', at), spans.size());
    std::string_view part = Trim(spans.substr(at, comma - at));
    auto span = ParseSpan(part);
    if (!span) {
      why = "`" + std::string(part) + "` is not days and hours";
      return std::nullopt;
    }
    hours.spans.push_back(*span);
    at = comma + 1;
  }
  return hours;
}

}  // namespace ecluse
