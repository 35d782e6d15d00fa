// Times as people and files write them. UTC throughout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace ecluse {

// "2024-05-01T12:00:00.000000Z" (RFC 3339) of microseconds since 1970.
std::string TimeText(int64_t micros);

// Microseconds since 1970 of `2024-05-01`, `2024-05-01T12:00:00`, that with a fraction or with `Z`; or of a time before
// `now`: `90s`, `15m`, `2h`, `7d`. nullopt where it is neither.
std::optional<int64_t> ParseTime(const std::string& text, int64_t now);
inline constexpr const char* kTimeForms = "2024-05-01, 2024-05-01T12:00:00Z, or a time ago as 90s, 15m, 2h, 7d";

}  // namespace ecluse
