// Expected values are what PostgreSQL 15 printed and sent.
#include "vault/value_form.h"

#include <gtest/gtest.h>

#include <random>

#include "base/bytes.h"

namespace ecluse {
namespace {

using namespace type_oid;

struct Example {
  uint32_t oid;
  int32_t modifier;
  std::string_view given;
  std::string_view printed;  // empty where it is refused
  std::string_view sent;     // in hexadecimal; where it is refused the SQLSTATE
};

TEST(ValueForm, IsWhatPostgresPrintsAndSends) {
  const Example examples[] = {
      {kNumeric, -1, "1.10", "1.10", "0002000000000002000103e8"},
      {kNumeric, -1, "-0", "0", "0000000000000000"},
      {kNumeric, -1, "-0.00", "0.00", "0000000000000002"},
      {kNumeric, -1, "00012.3400", "12.3400", "0002000000000004000c0d48"},
      {kNumeric, -1, "1e3", "1000", "000100000000000003e8"},
      {kNumeric, -1, "1.5e-3", "0.0015", "0001ffff00000004000f"},
      {kNumeric, -1, ".5", "0.5", "0001ffff000000011388"},
      {kNumeric, -1, "5.", "5", "00010000000000000005"},
      {kNumeric, -1, ".", "", "22P02"},
      {kNumeric, -1, "1e", "", "22P02"},
      {kNumeric, -1, " 12 ", "12", "0001000000000000000c"},
      {kNumeric, -1, "NaN", "NaN", "00000000c0000000"},
      {kNumeric, -1, "-inf", "-Infinity", "00000000f0000000"},
      {kNumeric, -1, "+Infinity", "Infinity", "00000000d0000000"},
      {kNumeric, -1, "123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789",
       "000b000700000009000c0d801ed204d2162e23340d801ed204d2162e2328"},
      {kNumeric, -1, "10000", "10000", "00010001000000000001"},
      {kNumeric, -1, "0.00001", "0.00001", "0001fffe0000000503e8"},
      {kNumeric, -1, "100000000", "100000000", "00010002000000000001"},
      {kNumeric, -1, "1e-20000", "", "22003"},
      {kNumeric, -1, "1e131073", "", "22003"},
      {kNumeric, -1, "1_000", "", "22P02"},
      {kNumeric, -1, "0x10", "", "22P02"},
      {kNumeric, -1, "-12.5E+1", "-125", "0001000040000000007d"},
      {kNumeric, -1, "1e+-1", "", "22P02"},
      {kNumeric, 655366, "1.005", "1.01", "000200000000000200010064"},
      {kNumeric, 655366, "-1.005", "-1.01", "000200004000000200010064"},
      {kNumeric, 655366, "99999999.994", "99999999.99", "0003000100000002270f270f26ac"},
      {kNumeric, 655366, "99999999.995", "", "22003"},
      {kNumeric, 198658, "12345", "12300", "0002000100000000000108fc"},
      {kNumeric, 198658, "49", "0", "0000000000000000"},
      {kNumeric, 198658, "50", "100", "00010000000000000064"},
      {kNumeric, 198658, "99950", "", "22003"},
      {kNumeric, 131080, "0.0099", "0.0099", "0001ffff000000040063"},
      {kNumeric, 131080, "0.01", "", "22003"},
      {kNumeric, 327684, "0.5", "1", "00010000000000000001"},
      {kNumeric, 327684, "0.49999", "0", "0000000000000000"},
      {kNumeric, 327686, "NaN", "NaN", "00000000c0000000"},
      {kNumeric, 327686, "Infinity", "", "22003"},
      {kNumeric, 196615, "0.9995", "", "22003"},
      {kInt4, -1, " +7 ", "7", "00000007"},
      {kInt4, -1, "-2147483648", "-2147483648", "80000000"},
      {kInt4, -1, "2147483648", "", "22003"},
      {kInt4, -1, "1.5", "", "22P02"},
      {kInt4, -1, "", "", "22P02"},
      {kInt4, -1, "+-1", "", "22P02"},
      {kInt2, -1, "32767", "32767", "7fff"},
      {kInt2, -1, "32768", "", "22003"},
      {kInt8, -1, "9223372036854775807", "9223372036854775807", "7fffffffffffffff"},
      {kInt8, -1, "9223372036854775808", "", "22003"},
      {kInt8, -1, "00012", "12", "000000000000000c"},
      {kDate, -1, "2026-05-01", "2026-05-01", "00002591"},
      {kDate, -1, "2026-5-1", "2026-05-01", "00002591"},
      {kDate, -1, "1900-02-29", "", "22008"},
      {kDate, -1, "2000-02-29", "2000-02-29", "0000003b"},
      {kDate, -1, "0001-01-01", "0001-01-01", "fff4dbf9"},
      {kDate, -1, "0001-01-01 BC", "0001-01-01 BC", "fff4da8b"},
      {kDate, -1, "4714-11-24 BC", "4714-11-24 BC", "ffda97a7"},
      {kDate, -1, "4714-11-23 BC", "", "22008"},
      {kDate, -1, "5874897-12-31", "5874897-12-31", "7fda970c"},
      {kDate, -1, "5874898-01-01", "", "22008"},
      {kDate, -1, "infinity", "infinity", "7fffffff"},
      {kDate, -1, "-infinity", "-infinity", "80000000"},
      {kDate, -1, "2026-13-01", "", "22008"},
      {kDate, -1, "2026-00-10", "", "22008"},
      {kDate, -1, "0000-01-01", "", "22008"},
      {kDate, -1, "2026-05-01 10:00:00", "2026-05-01", "00002591"},
      {kDate, -1, " 2026-05-01 ", "2026-05-01", "00002591"},
      {kDate, -1, "2026-04-31", "", "22008"},
      {kDate, -1, "2026-05-00", "", "22008"},
      {kTimestamp, -1, "2026-05-01 09:30:00", "2026-05-01 09:30:00", "0002f3bcfe57f600"},
      {kTimestamp, -1, "2026-05-01T09:30", "2026-05-01 09:30:00", "0002f3bcfe57f600"},
      {kTimestamp, -1, "2026-05-01 09:30:00.120", "2026-05-01 09:30:00.12", "0002f3bcfe59cac0"},
      {kTimestamp, -1, "2026-05-01 09:30:00.1234567", "2026-05-01 09:30:00.123457", "0002f3bcfe59d841"},
      {kTimestamp, -1, "2026-05-01 24:00:00", "2026-05-02 00:00:00", "0002f3c925b4c000"},
      {kTimestamp, -1, "2026-05-01 24:00:01", "", "22008"},
      {kTimestamp, -1, "2026-05-01 09:30:00+02", "2026-05-01 09:30:00", "0002f3bcfe57f600"},
      {kTimestamp, -1, "2026-05-01", "2026-05-01 00:00:00", "0002f3b507dd6000"},
      {kTimestamp, -1, "1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999", "fffca2fec4c81fff"},
      {kTimestamp, -1, "0044-03-15 12:00:00 BC", "0044-03-15 12:00:00 BC", "ff1af9e8fb46d000"},
      {kTimestamp, -1, "294276-12-31 23:59:59.999999", "294276-12-31 23:59:59.999999", "7fffff5bb3b29fff"},
      {kTimestamp, -1, "294277-01-01 00:00:00", "", "22008"},
      {kTimestamp, -1, "infinity", "infinity", "7fffffffffffffff"},
      {kTimestamp, 0, "2026-05-01 09:30:00.5", "2026-05-01 09:30:01", "0002f3bcfe673840"},
      {kTimestamp, 0, "1999-05-01 09:30:00.5", "1999-05-01 09:30:00", "ffffecc7675bb600"},
      {kTimestamp, 3, "2026-05-01 09:30:00.0005", "2026-05-01 09:30:00.001", "0002f3bcfe57f9e8"},
      {kTimestamp, 3, "1999-05-01 09:30:00.0004", "1999-05-01 09:30:00", "ffffecc7675bb600"},
      {kTimestamp, -1, "4714-11-24 00:00:00 BC", "4714-11-24 00:00:00 BC", "fd0f7cc1411fa000"},
      {kTimestamp, -1, "2026-05-01 09:61:00", "", "22008"},
      {kTimestamptz, -1, "2026-05-01 09:30:00+02", "2026-05-01 07:30:00+00", "0002f3bb5130ae00"},
      {kTimestamptz, -1, "2026-05-01 09:30:00Z", "2026-05-01 09:30:00+00", "0002f3bcfe57f600"},
      {kTimestamptz, -1, "2026-05-01 09:30:00-05:30", "2026-05-01 15:00:00+00", "0002f3c19a83fc00"},
      {kTimestamptz, -1, "2026-05-01T09:30:00+0530", "2026-05-01 04:00:00+00", "0002f3b8622bf000"},
      {kTimestamptz, -1, "2026-05-01 00:30:00+02", "2026-04-30 22:30:00+00", "0002f3b3c5ffea00"},
      {kTimestamptz, -1, "1900-01-01 00:00:00+00:09:21", "1899-12-31 23:50:39+00", "fff4c9ee5a9b51c0"},
      {kTimestamptz, -1, "-infinity", "-infinity", "8000000000000000"},
      {kTimestamptz, -1, "0001-01-01 00:00:00+01", "0001-12-31 23:00:00+00 BC", "ff1fe2feef08bc00"},
      {kTimestamptz, -1, "2026-05-01 09:30:00+16", "", "22007"},
      {kTimestamptz, -1, "2026-05-01 09:30:00 +02", "2026-05-01 07:30:00+00", "0002f3bb5130ae00"},
      {kBool, -1, "t", "t", "01"},
      {kBool, -1, " TRUE ", "t", "01"},
      {kBool, -1, "of", "f", "00"},
      {kBool, -1, "o", "", "22P02"},
      {kBool, -1, "1", "t", "01"},
      {kBool, -1, "yes", "t", "01"},
      {kBool, -1, "nope", "", "22P02"},
      {kBool, -1, "0", "f", "00"},
      {kBool, -1, "", "", "22P02"},
      {kBool, -1, "tr", "t", "01"},
      {kUuid, -1, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
       "a0eebc999c0b4ef8bb6d6bb9bd380a11"},
      {kUuid, -1, "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
       "a0eebc999c0b4ef8bb6d6bb9bd380a11"},
      {kUuid, -1, "a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
       "a0eebc999c0b4ef8bb6d6bb9bd380a11"},
      {kUuid, -1, "a0eebc999c0b4ef8bb6d6bb9bd380a1", "", "22P02"},
      {kUuid, -1, "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
       "a0eebc999c0b4ef8bb6d6bb9bd380a11"},
      {kUuid, -1, "a0-eebc999c0b4ef8bb6d6bb9bd380a11", "", "22P02"},
      {kUuid, -1, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-", "", "22P02"},
      {kUuid, -1, "a0eebc99--9c0b4ef8bb6d6bb9bd380a11", "", "22P02"},
      {kUuid, -1, "", "", "22P02"},
      {kBytea, -1, "\\xDEad", "\\xdead", "dead"},
      {kBytea, -1, "\\x de ad", "\\xdead", "dead"},
      {kBytea, -1, "\\xd", "", "22P02"},
      {kBytea, -1, "ab\\\\c\\001", "\\x61625c6301", "61625c6301"},
      {kBytea, -1, "a\\400", "", "22P02"},
      {kBytea, -1, "\\", "", "22P02"},
      {kBytea, -1, "", "\\x", ""},
      {kBytea, -1, "\\x", "\\x", ""},
      {kVarchar, 7, "abc", "abc", "616263"},
      {kVarchar, 7, "abc  ", "abc", "616263"},
      {kVarchar, 7, "abcd", "", "22001"},
      {kVarchar, 7, "éèà", "éèà", "c3a9c3a8c3a0"},
      {kVarchar, 7, "ab c", "", "22001"},
      {kText, -1, "x", "x", "78"},
      {kJsonb, -1, "{\"b\":1,\"a\":2,\"aa\":[1,2,{\"z\":null}],\"a\":3}",
       "{\"a\": 3, \"b\": 1, \"aa\": [1, 2, {\"z\": null}]}",
       "017b2261223a20332c202262223a20312c20226161223a205b312c20322c207b227a223a206e756c6c7d5d7d"},
      {kJsonb, -1, " [ ] ", "[]", "015b5d"},
      {kJsonb, -1, "{}", "{}", "017b7d"},
      {kJsonb, -1, "\"a\\u00e9\\n\\/\\u0001\\ud83d\\ude00\"", "\"aé\\n/\\u0001😀\"",
       "012261c3a95c6e2f5c7530303031f09f988022"},
      {kJsonb, -1, "\"\\u0000\"", "", "22P02"},
      {kJsonb, -1, "\"\\ud83d\"", "", "22P02"},
      {kJsonb, -1, "1e2", "100", "01313030"},
      {kJsonb, -1, "1.50", "1.50", "01312e3530"},
      {kJsonb, -1, "-0", "0", "0130"},
      {kJsonb, -1, "01", "", "22P02"},
      {kJsonb, -1, "1.", "", "22P02"},
      {kJsonb, -1, "tru", "", "22P02"},
      {kJsonb, -1, "true false", "", "22P02"},
      {kJsonb, -1, "[1,]", "", "22P02"},
      {kJsonb, -1, "{\"a\":1,}", "", "22P02"},
      {kJsonb, -1, "1E-5", "0.00001", "01302e3030303031"},
      {kJsonb, -1, "-0.0", "0.0", "01302e30"},
      {kJsonb, -1, "\"\t\"", "", "22P02"},
      {kJsonb, -1, "\"\\u007f\"",
       "\"\x7f"
       "\"",
       "01227f22"},
  };
  for (const Example& example : examples) {
    const ValueType type{example.oid, example.modifier};
    const auto canonical = CanonicalValue(type, example.given, false);
    const bool refused = example.printed.empty() && example.sent.size() == 5;
    ASSERT_EQ(!canonical.has_value(), refused) << type.oid << " " << example.given;
    if (refused) {
      EXPECT_EQ(canonical.error().sqlstate, example.sent) << type.oid << " " << example.given;
      continue;
    }
    EXPECT_EQ(ValueForm(type, *canonical, false, {}).value(), example.printed) << type.oid << " " << example.given;
    const std::string sent = ValueForm(type, *canonical, true, {}).value();
    EXPECT_EQ(HexEncode(AsBytes(sent)), example.sent) << type.oid << " " << example.given;
    EXPECT_EQ(CanonicalValue(type, sent, true).value_or("(refused)"), *canonical) << type.oid << " " << example.given;
    EXPECT_EQ(CanonicalValue(type, example.printed, false).value_or("(refused)"), *canonical) << example.given;
  }
}

std::string Number(uint64_t value, size_t size) {
  std::string out;
  for (size_t i = size; i-- > 0;) out += static_cast<char>(value >> (8 * i));
  return out;
}

// Whatever is received is printed so that it reads as the same again.
TEST(ValueForm, ComesOutAsItWentIn) {
  std::mt19937_64 random(11);
  const auto same = [](const ValueType& type, const std::string& sent) {
    const auto canonical = CanonicalValue(type, sent, true);
    ASSERT_TRUE(canonical) << type.oid << " " << HexEncode(AsBytes(sent));
    ASSERT_EQ(HexEncode(AsBytes(ValueForm(type, *canonical, true, {}).value())), HexEncode(AsBytes(sent)))
        << *canonical;
    const std::string printed = ValueForm(type, *canonical, false, {}).value();
    ASSERT_EQ(CanonicalValue(type, printed, false).value(), *canonical);
  };
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t bits = random() >> (random() % 60);
    same({kInt2}, Number(bits, 2));
    same({kInt4}, Number(bits, 4));
    same({kInt8}, Number(bits, 8));
    same({kDate}, Number(static_cast<uint64_t>(static_cast<int64_t>(bits % 2'147'000'000) - 2'451'545), 4));
    const int64_t micros = static_cast<int64_t>(random() % 9'200'000'000'000'000'000u) - 210'000'000'000'000'000;
    same({kTimestamp}, Number(static_cast<uint64_t>(micros), 8));
    same({kTimestamptz}, Number(static_cast<uint64_t>(micros), 8));
    same({kUuid}, Number(bits, 8) + Number(random(), 8));
    same({kBytea}, Number(bits, 1 + bits % 8));
    std::string numeric = std::to_string(bits);
    const size_t scale = random() % 12;
    if (scale > 0)
      numeric += "." + std::to_string(1'000'000'000'000'000 + bits % 1'000'000'000'000'000).substr(1, scale);
    same({kNumeric}, ValueForm({kNumeric}, CanonicalValue({kNumeric}, numeric, false).value(), true, {}).value());
    ASSERT_EQ(CanonicalValue({kNumeric}, numeric, false).value(), numeric);
  }
  for (const uint64_t end : {uint64_t{1} << 63, ~(uint64_t{1} << 63)}) same({kTimestamptz}, Number(end, 8));
}

// Whatever bytes come, an answer comes.
TEST(ValueForm, NoBytesDoHarm) {
  std::mt19937_64 random(5);
  constexpr std::string_view kLikely = "0123456789-+:. eETZBCainfty{}[],\"\\u\x01\x00 t";
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes;
    for (uint64_t left = random() % 24; left > 0; --left)
      bytes += random() % 8 == 0 ? static_cast<char>(random()) : kLikely[random() % kLikely.size()];
    for (const uint32_t oid : {kBool, kBytea, kInt8, kInt2, kInt4, kText, kVarchar, kDate, kTimestamp, kTimestamptz,
                               kNumeric, kUuid, kJsonb, 600u}) {
      for (const bool binary : {false, true}) {
        const auto canonical =
            CanonicalValue({oid, i % 2 == 0 ? -1 : static_cast<int32_t>(random() % 100)}, bytes, binary);
        if (canonical)
          EXPECT_EQ(CanonicalValue({oid}, ValueForm({oid}, *canonical, true, {}).value(), true), *canonical);
      }
    }
  }
  EXPECT_FALSE(CanonicalValue({kJsonb}, std::string(100'000, '['), false));
  EXPECT_TRUE(CanonicalValue({kJsonb}, std::string(100, '[') + std::string(100, ']'), false));
  EXPECT_FALSE(CanonicalValue({kNumeric}, "1e999999999999999999999", false));
  std::string large = "[0";
  for (int i = 0; i < 10'000; ++i) large += ",1e131071";
  EXPECT_EQ(CanonicalValue({kJsonb}, large + "]", false).error().sqlstate, "54000") << "1.3 GB in 90 kB";
  std::string members = "{\"a\":0";
  for (int i = 0; i < 10'000; ++i) members += ",\"" + std::to_string(i) + "\":1e131071";
  EXPECT_EQ(CanonicalValue({kJsonb}, members + "}", false).error().sqlstate, "54000");
  EXPECT_EQ(CanonicalValue({kNumeric}, "1." + std::string(16'383, '3') + "e16383", false)->size(), 16'384u);
}

TEST(ValueForm, DatesAndTimesInTheStyleOfTheSession) {
  using Style = TimeStyle::Style;
  const auto printed = [](uint32_t oid, std::string_view canonical, const TimeStyle& style) {
    return ValueForm({oid}, canonical, false, style).value_or("(refused)");
  };
  EXPECT_EQ(printed(kDate, "2026-05-01", {Style::sql, false}), "05/01/2026");
  EXPECT_EQ(printed(kDate, "2026-05-01", {Style::sql, true}), "01/05/2026");
  EXPECT_EQ(printed(kDate, "2026-05-01", {Style::postgres, false}), "05-01-2026");
  EXPECT_EQ(printed(kDate, "2026-05-01", {Style::postgres, true}), "01-05-2026");
  EXPECT_EQ(printed(kDate, "0044-03-15 BC", {Style::german}), "15.03.0044 BC");
  EXPECT_EQ(printed(kDate, "infinity", {Style::german}), "infinity");
  EXPECT_EQ(printed(kTimestamp, "2026-05-01 09:30:00", {Style::german}), "(refused)");
  TimeStyle paris;
  paris.zone = "Europe/Paris";
  EXPECT_EQ(printed(kTimestamptz, "2026-05-01 07:30:00+00", paris), "2026-05-01 09:30:00+02");
  EXPECT_EQ(printed(kTimestamptz, "2026-12-31 23:30:00.5+00", paris), "2027-01-01 00:30:00.5+01");
  EXPECT_EQ(printed(kTimestamptz, "1900-01-01 00:00:00+00", paris), "1900-01-01 00:09:21+00:09:21");
  EXPECT_EQ(printed(kTimestamptz, "infinity", paris), "infinity");
  TimeStyle nowhere;
  nowhere.zone = "Nowhere/Land";
  EXPECT_EQ(printed(kTimestamptz, "2026-05-01 07:30:00+00", nowhere), "(refused)");
  for (const char* posix : {"GMT+5", "UTC-3", "CET-1CEST"}) {
    nowhere.zone = posix;
    EXPECT_EQ(printed(kTimestamptz, "2026-05-01 07:30:00+00", nowhere), "(refused)") << "the two read it apart";
  }
  for (const uint32_t oid : {kInt4, kNumeric, kBool, kUuid, kDate, kTimestamp})
    for (const bool binary : {false, true})
      EXPECT_FALSE(ValueForm({oid}, "Dupont", binary, {})) << oid << ": what was sealed as another type";
  EXPECT_FALSE(CanonicalValue({kTimestamp}, "2026-05-01 09:30.5", false)) << "PostgreSQL reads nine minutes";
  EXPECT_EQ(CanonicalValue({kTimestamp}, "2026-05-01 09:30:00.1234565", false), "2026-05-01 09:30:00.123456");
  EXPECT_EQ(CanonicalValue({kTimestamp}, "2026-05-01 09:30:59.9999999", false), "2026-05-01 09:31:00");
  EXPECT_EQ(CanonicalValue({kTimestamptz}, "2026-05-01 09:30:00", false).error().sqlstate, "22007") << "where?";
}

}  // namespace
}  // namespace ecluse
