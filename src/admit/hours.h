// A role's working hours.
#pragma once

#include <cstdint>

#include "policy/policy.h"

namespace ecluse {

// Whether `wall_micros` (UTC since 1970) falls into one of the spans, on the wall clocks of their time zone (tz
// database names, through ICU). Hours without spans are always open; a time zone nobody knows is never. A span that
// ends at or before the minute it begins at runs over midnight and belongs to the day it began. Thread-safe.
bool WithinHours(const Hours& hours, int64_t wall_micros);

}  // namespace ecluse
