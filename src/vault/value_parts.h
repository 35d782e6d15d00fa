// The larger types of value_form.h, one file each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "vault/value_form.h"

namespace ecluse {

// 22P02: the text is no value of the type. Holds nothing of it.
std::unexpected<Error> NoValueOf(const char* type);
// 22003, 22008, 22001: it is one, and the column does not hold it.
std::unexpected<Error> NotHeld(const char* sqlstate, const char* type);
std::string_view TrimSpace(std::string_view text);

Result<std::string> CanonicalNumeric(std::string_view text, int32_t modifier);
Result<std::string> CanonicalNumericBinary(std::string_view bytes, int32_t modifier);
std::string NumericBinary(std::string_view canonical);

// Dates, timestamps, and timestamps with time zone, by the oid of `type`.
Result<std::string> CanonicalTime(const ValueType& type, std::string_view text);
Result<std::string> CanonicalTimeBinary(const ValueType& type, std::string_view bytes);
std::string TimeBinary(const ValueType& type, std::string_view canonical);
Result<std::string> TimeText(const ValueType& type, std::string_view canonical, const TimeStyle& style);

Result<std::string> CanonicalJsonb(std::string_view text);

}  // namespace ecluse
