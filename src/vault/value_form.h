// A value of a sealed column as one text, whatever form it came in and is wanted in (PostgreSQL manual, chapter 8; its
// binary forms as the types' send and receive functions have them).
//
// The canonical form is what is sealed and indexed: what PostgreSQL 15 prints of the value with DateStyle ISO and
// TimeZone UTC, but of bytea the bytes themselves. Equal values of a type have equal canonical forms, except numerics
// of another scale (1.0, 1.00), and jsonb that holds such, which PostgreSQL keeps apart in print too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ecluse {

// What a column was declared as: pg_type's oid and pg_attribute's atttypmod.
struct ValueType {
  uint32_t oid = 0;
  int32_t modifier = -1;
  friend bool operator==(const ValueType&, const ValueType&) = default;
};

namespace type_oid {
inline constexpr uint32_t kBool = 16, kBytea = 17, kInt8 = 20, kInt2 = 21, kInt4 = 23, kText = 25, kVarchar = 1043,
                          kDate = 1082, kTimestamp = 1114, kTimestamptz = 1184, kNumeric = 1700, kUuid = 2950,
                          kJsonb = 3802;
}

// text, varchar, date, timestamp, timestamptz, smallint, integer, bigint, numeric, boolean, bytea, jsonb, uuid.
bool MayBeSealed(uint32_t oid);
bool IsText(uint32_t oid);

// How a session has dates and times printed: its DateStyle and TimeZone.
struct TimeStyle {
  enum class Style { iso, sql, postgres, german };
  Style style = Style::iso;
  bool day_first = false;    // of sql and postgres
  std::string zone = "UTC";  // as ICU names it
};

// `bytes`, text (dates and times in ISO form alone) or binary, as PostgreSQL would take it for a column of the type:
// rounded and measured by the modifier. Its errors are PostgreSQL's (22P02, 22003, 22001, 22007, 22008), and hold
// nothing of the value.
Result<std::string> CanonicalValue(const ValueType& type, std::string_view bytes, bool binary);

// Of a canonical form the text or binary form that PostgreSQL would send. 0A000: times in another style than ISO, or in
// a zone that ICU does not know by that name. 58030: it is not the canonical form of a value of the type.
Result<std::string> ValueForm(const ValueType& type, std::string_view canonical, bool binary, const TimeStyle& style);

}  // namespace ecluse
