#include "ledger/record.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "ledger/json.h"

namespace ecluse {
namespace {

// RFC 3720, appendix B.4.
TEST(Crc32c, VectorsOfTheStandard) {
  EXPECT_EQ(Crc32c(0, std::vector<uint8_t>(32, 0)), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(0, std::vector<uint8_t>(32, 0xFF)), 0x62A8AB43u);
  EXPECT_EQ(Crc32c(0, AsBytes("123456789")), 0xE3069283u);
  EXPECT_EQ(Crc32c(Crc32c(0, AsBytes("1234")), AsBytes("56789")), 0xE3069283u);
}

TEST(Record, ComesBackAndFitsItsSize) {
  LedgerId ledger{1, 2, 3};
  for (size_t length : {size_t{1}, size_t{7}, size_t{8}, size_t{700}, limits::kEntry}) {
    std::string out(kRecordHeader, '\0');
    std::string entry(length, 'e');
    out += entry;
    FinishRecord(out, 0, 41, 40, ledger);
    EXPECT_EQ(out.size(), RecordSize(length));
    EXPECT_EQ(out.size() % kRecordAlignment, 0u);
    auto record = ReadRecord(AsBytes(out), ledger);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->entry, entry);
    EXPECT_EQ(record->header.seq, 41u);
    EXPECT_EQ(record->header.group, 40u);
    EXPECT_FALSE(ReadRecord(AsBytes(out), LedgerId{9}));
    EXPECT_FALSE(ReadRecord(AsBytes(std::string_view(out).substr(0, out.size() - 1)), ledger));
    for (size_t i = 0; i < kRecordHeader + length; i += 1 + i / 8) {
      std::string bent = out;
      bent[i] ^= 0x10;
      EXPECT_FALSE(ReadRecord(AsBytes(bent), ledger)) << i;
    }
  }
  EXPECT_FALSE(ReadRecord(AsBytes(std::string(200, '\0')), LedgerId{}));
}

std::string Json(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  EXPECT_EQ(out.size(), JsonStringSize(text));
  return out;
}

// RFC 8785, 3.2.2.2.
TEST(CanonicalJson, Strings) {
  EXPECT_EQ(Json("plain é €"), "\"plain é €\"");
  EXPECT_EQ(Json("\b\t\n\f\r\"\\/"), R"("\b\t\n\f\r\"\\/")");
  EXPECT_EQ(Json(std::string_view("\x00\x01\x1f\x7f", 4)), "\"\\u0000\\u0001\\u001f\x7f\"");
  EXPECT_EQ(Json("a\xFFz"), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(Json("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");  // a surrogate
  EXPECT_EQ(Json("\xC0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");                  // overlong
  EXPECT_EQ(Json("\xF0\x9F\x98\x80"), "\"\xF0\x9F\x98\x80\"");
}

// RFC 8785, 3.2.3: the order of its own example.
TEST(CanonicalJson, NamesSortByUtf16) {
  const char* sorted[] = {"\r", "1", "\xC2\x80", "\xC3\xB6", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xEF\xAC\xB3"};
  for (size_t i = 0; i < std::size(sorted); ++i)
    for (size_t j = 0; j < std::size(sorted); ++j)
      EXPECT_EQ(JsonNameLess(sorted[i], sorted[j]), i < j) << i << " " << j;
  EXPECT_TRUE(JsonNameLess("a", "ab"));
  EXPECT_FALSE(JsonNameLess("ab", "a"));
}

TEST(CanonicalJson, NumbersStayBelowTwoToThe53) {
  std::string out;
  AppendJsonInteger(out, INT64_MAX);
  AppendJsonInteger(out += ' ', INT64_MIN);
  AppendJsonInteger(out += ' ', -7);
  EXPECT_EQ(out, "9007199254740991 -9007199254740991 -7");
}

TEST(CanonicalJson, CutsBetweenCharacters) {
  EXPECT_EQ(CutUtf8("aé", 2), "a");
  EXPECT_EQ(CutUtf8("aé", 3), "aé");
  EXPECT_EQ(CutUtf8("é", 0), "");
}

TEST(Entry, TimeIsReadFromItsEnd) {
  EXPECT_EQ(EntryTime(R"({"reason":"\"time\":5","time":1714564800000000,"v":1})"), 1'714'564'800'000'000);
  EXPECT_EQ(EntryTime("{}"), 0);
}

}  // namespace
}  // namespace ecluse
