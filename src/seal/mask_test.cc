#include "seal/mask.h"

#include <gtest/gtest.h>

namespace ecluse {
namespace {

std::string Masked(uint32_t oid, std::string_view value, Mask mask, const std::string& zone = "Europe/Paris") {
  return MaskedValue({oid, -1}, value, mask, zone).value_or("NULL");
}

// The database's own masks are compared with these, value by value, in tests/test_sealed_types.py.
TEST(Mask, WhatARoleSees) {
  using enum Mask::Kind;
  using namespace type_oid;
  EXPECT_EQ(Masked(kText, "Élise", {initial, 0}), "É");
  EXPECT_EQ(Masked(kText, "", {initial, 0}), "");
  EXPECT_EQ(Masked(kText, "1234567", {last4, 0}), "");
  EXPECT_EQ(Masked(kText, "ééééabcd", {last4, 0}), "abcd");
  EXPECT_EQ(Masked(kDate, "1999-12-31", {year, 0}), "1999-01-01");
  EXPECT_EQ(Masked(kDate, "0044-03-15 BC", {month, 0}), "0044-03-01 BC");
  EXPECT_EQ(Masked(kDate, "infinity", {year, 0}), "infinity");
  EXPECT_EQ(Masked(kDate, "4714-12-31 BC", {year, 0}), "NULL");
  EXPECT_EQ(Masked(kTimestamptz, "2024-01-31 23:30:00+00", {month, 0}), "2024-01-31 23:00:00+00")
      << "February in Paris";
  EXPECT_EQ(Masked(kInt4, "-1", {range, 10}), "-10");
  EXPECT_EQ(Masked(kInt4, "-2147483648", {range, 1000}), "-2147483648") << "held at the type's least value";
  EXPECT_EQ(Masked(kInt8, "9223372036854775807", {range, 10}), "9223372036854775800");
  EXPECT_EQ(Masked(kNumeric, "-0.001", {range, 3}), "-3");
  EXPECT_EQ(Masked(kNumeric, "-123456789012345678901234567890.5", {range, 1000}), "-123456789012345678901234568000");
  EXPECT_EQ(Masked(kNumeric, "-5", {range, 1'000'000'000'000'000'000}), "-1000000000000000000");
  EXPECT_EQ(Masked(kNumeric, "NaN", {range, 3}), "NaN");
}

}  // namespace
}  // namespace ecluse
