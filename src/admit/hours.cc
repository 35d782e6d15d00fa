#include "admit/hours.h"

#include <unicode/timezone.h>

#include <memory>
#include <string>

namespace ecluse {
namespace {

constexpr int64_t kMinute = 60'000'000;

// What a statement pays for its hours: one comparison, unless the minute or the zone has changed.
struct ZoneCache {
  std::string name;
  std::unique_ptr<icu::TimeZone> zone;
  int64_t minute = -1;
  int64_t offset_minutes = 0;
};

bool LocalMinute(const std::string& name, int64_t utc_minute, int64_t* local) {
  thread_local ZoneCache cache;
  if (cache.name != name || !cache.zone) {
    cache.zone.reset(icu::TimeZone::createTimeZone(icu::UnicodeString::fromUTF8(name)));
    cache.name = name;
    cache.minute = -1;
  }
  if (!cache.zone || *cache.zone == icu::TimeZone::getUnknown()) return false;
  if (cache.minute != utc_minute) {
    UErrorCode status = U_ZERO_ERROR;
    int32_t raw = 0, dst = 0;
    cache.zone->getOffset(static_cast<UDate>(utc_minute) * 60'000, false, raw, dst, status);
    if (U_FAILURE(status)) return false;
    cache.offset_minutes = (raw + dst) / 60'000;
    cache.minute = utc_minute;
  }
  *local = utc_minute + cache.offset_minutes;
  return true;
}

bool DayIn(const Hours::Span& span, int day) {
  return span.first_day <= span.last_day ? day >= span.first_day && day <= span.last_day
                                         : day >= span.first_day || day <= span.last_day;
}

}  // namespace

bool WithinHours(const Hours& hours, int64_t wall_micros) {
  if (hours.spans.empty()) return true;
  int64_t local = 0;
  if (!LocalMinute(hours.time_zone, wall_micros / kMinute, &local)) return false;
  int minute = static_cast<int>(local % 1'440);
  int day = static_cast<int>((local / 1'440 + 3) % 7);  // 1970-01-01 was a Thursday
  for (const Hours::Span& span : hours.spans) {
    if (span.from_minute < span.to_minute) {
      if (DayIn(span, day) && minute >= span.from_minute && minute < span.to_minute) return true;
    } else {
      if (DayIn(span, day) && minute >= span.from_minute) return true;
      if (DayIn(span, (day + 6) % 7) && minute < span.to_minute) return true;
    }
  }
  return false;
}

}  // namespace ecluse
