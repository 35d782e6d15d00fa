#include "base/time_text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <charconv>
#include <ctime>

namespace ecluse {

std::string TimeText(int64_t micros) {
  int64_t seconds = micros / 1'000'000, rest = micros % 1'000'000;
  if (rest < 0) {
    rest += 1'000'000;
    --seconds;
  }
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(static_cast<std::time_t>(seconds)), rest);
}

std::optional<int64_t> ParseTime(const std::string& text, int64_t now) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end + 1 == text.data() + text.size() && number >= 0 && number < 1'000'000'000) {
    int64_t unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3'600 : *end == 'd' ? 86'400 : 0;
    constexpr int64_t kMostSeconds = 100LL * 366 * 86'400;
    if (unit == 0 || number > kMostSeconds / unit) return std::nullopt;
    return now - number * unit * 1'000'000;
  }
  std::tm parts{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%d", &parts);
  if (rest != nullptr && *rest == 'T') rest = strptime(rest, "T%H:%M:%S", &parts);
  if (rest == nullptr) return std::nullopt;
  int64_t micros = 0;
  if (*rest == '.') {
    int digits = 0;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest)
      if (digits++ < 6) micros = micros * 10 + (*rest - '0');
    if (digits == 0) return std::nullopt;
    for (; digits < 6; ++digits) micros *= 10;
  }
  if (*rest == 'Z') ++rest;
  if (*rest != '\0') return std::nullopt;
  const int day = parts.tm_mday;
  const int64_t seconds = timegm(&parts);
  if (parts.tm_mday != day) return std::nullopt;  // 30 February
  return seconds * 1'000'000 + micros;
}

}  // namespace ecluse
