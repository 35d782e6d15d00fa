#include "execute/values.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace ecluse {
namespace {

constexpr Oid kInt8 = 20, kInt4 = 23, kText = 25, kFloat8 = 701, kBpchar = 1042, kNumeric = 1700, kUuid = 2950;

std::string Id(Oid type, std::string_view bytes, bool binary = false) {
  auto id = CanonicalId(type, bytes, binary);
  if (!id) return "refused";
  return *id ? **id : "nobody";
}

std::string Big(uint64_t value, int bytes) {
  std::string all;
  AppendU64(all, value);
  return all.substr(static_cast<size_t>(8 - bytes));
}

TEST(CanonicalId, IntegersReadAsPostgresPrintsThem) {
  EXPECT_EQ(Id(kInt4, "  042 "), "42");
  EXPECT_EQ(Id(kInt4, "+7"), "7");
  EXPECT_EQ(Id(kInt4, "-0"), "0");
  EXPECT_EQ(Id(kInt4, "+-7"), "nobody");
  EXPECT_EQ(Id(kInt4, "4x"), "nobody");
  EXPECT_EQ(Id(kInt4, "2147483648"), "nobody");
  EXPECT_EQ(Id(kInt8, "2147483648"), "2147483648");
  EXPECT_EQ(Id(kInt4, Big(static_cast<uint64_t>(-5), 4), true), "-5");
  EXPECT_EQ(Id(kInt8, Big(1ULL << 40, 8), true), "1099511627776");
  EXPECT_EQ(Id(kInt4, "abc", true), "refused");
}

TEST(CanonicalId, NumericNamesAnIntegerOnlyWhereItIsOne) {
  EXPECT_EQ(Id(kNumeric, "42.00"), "42");
  EXPECT_EQ(Id(kNumeric, "4.2e1"), "42");
  EXPECT_EQ(Id(kNumeric, "420e-1"), "42");
  EXPECT_EQ(Id(kNumeric, "42.5"), "nobody");
  EXPECT_EQ(Id(kNumeric, "-3"), "-3");
  EXPECT_EQ(Id(kNumeric, "0.000"), "0");
  EXPECT_EQ(Id(kNumeric, "NaN"), "nobody");
  EXPECT_EQ(Id(kFloat8, "42"), "42");
  EXPECT_EQ(Id(kFloat8, "42.5"), "nobody");
  // numeric_send of 12345678: digits 1234 5678, weight 1.
  std::string binary;
  for (uint16_t word : {2, 1, 0, 0, 1234, 5678}) AppendU16(binary, word);
  EXPECT_EQ(Id(kNumeric, binary, true), "12345678");
  // 0.5: one digit 5000, weight -1.
  binary.clear();
  for (uint16_t word : {1, 0xffff, 0, 1, 5000}) AppendU16(binary, word);
  EXPECT_EQ(Id(kNumeric, binary, true), "nobody");
}

TEST(CanonicalId, UuidAndText) {
  EXPECT_EQ(Id(kUuid, "{A0EEBC99-9C0B4EF8BB6D6BB9BD380A11}"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
  EXPECT_EQ(Id(kUuid, "a0eebc99"), "nobody");
  EXPECT_EQ(Id(kText, " a "), " a ");
  EXPECT_EQ(Id(kBpchar, "ab  "), "ab");
  EXPECT_EQ(Id(1082, "2020-01-01"), "refused");
}

TEST(ArrayElements, TextFormLeavesOutNullAndKeepsQuoted) {
  Oid type = 0;
  EXPECT_EQ(*ArrayElements("{1, 2,NULL,\"NULL\",\"a,\\\"b\"}", false, &type),
            (std::vector<std::string>{"1", "2", "NULL", "a,\"b"}));
  EXPECT_EQ(ArrayElements("[2:3]={7,8}", false, &type)->size(), 2u);
  EXPECT_EQ(ArrayElements("{{1,2},{3,4}}", false, &type)->size(), 4u);
  EXPECT_TRUE(ArrayElements("{}", false, &type)->empty());
  EXPECT_FALSE(ArrayElements("1,2", false, &type));
  EXPECT_FALSE(ArrayElements("{1", false, &type));
}

TEST(ArrayElements, BinaryFormIsChecked) {
  std::string array;
  for (uint32_t word : {1u, 1u, kInt4, 3u, 1u, 4u, 7u, 0xffff'ffffu, 4u, 9u}) AppendU32(array, word);
  Oid type = 0;
  EXPECT_EQ(*ArrayElements(array, true, &type), (std::vector<std::string>{Big(7, 4), Big(9, 4)}));
  EXPECT_EQ(type, kInt4);
  for (size_t cut = 0; cut < array.size(); ++cut) EXPECT_FALSE(ArrayElements(array.substr(0, cut), true, &type)) << cut;
  EXPECT_FALSE(ArrayElements(array + "x", true, &type));
}

ValueSource Constant(std::string text, Oid type, bool array = false) {
  ValueSource source;
  source.constant = std::move(text);
  source.type = type;
  source.array = array;
  return source;
}

ValueSource Parameter(int number, Oid type, bool array = false) {
  ValueSource source = Constant("", type, array);
  source.kind = ValueSource::Kind::parameter;
  source.parameter = number;
  return source;
}

Plan Asking(std::vector<ValueSource> values) {
  Plan plan;
  plan.guarded = true;
  plan.arms = 1;
  plan.tables.emplace_back();
  plan.asked.push_back({0, std::move(values)});
  return plan;
}

TEST(ReadAsked, ConstantsAndParametersNamePeople) {
  Plan plan = Asking({Constant(" 07", kInt4)});
  EXPECT_EQ(ReadAsked(plan, {})->at(0).id, "7");
  plan = Asking({Parameter(1, kInt4, true)});
  std::string array = "{1,2,3}";
  auto people = ReadAsked(plan, {{array, false}});
  ASSERT_EQ(people->size(), 3u);
  EXPECT_EQ(people->at(2).id, "3");
  EXPECT_TRUE(ReadAsked(plan, {{std::nullopt, false}})->empty());
  EXPECT_FALSE(ReadAsked(plan, {}));
}

TEST(ReadAsked, ACompositeSubjectIsEveryCombination) {
  Plan plan = Asking({Constant("a", kText), Constant("{1,2}", kInt4, true)});
  auto people = ReadAsked(plan, {});
  ASSERT_EQ(people->size(), 2u);
  EXPECT_EQ(people->at(1).id, std::string("a\x1e") + "2");
}

TEST(CountLookups, EveryFurtherValueOfASearchedListCostsOne) {
  Plan plan = Asking({});
  plan.arms = 2;
  plan.lists.fixed = 3;
  plan.lists.array_parameters = {1};
  std::string array = "{1,2,3,4}";
  EXPECT_EQ(*CountLookups(plan, {{array, false}}), 2 + 3 + 3);
  EXPECT_EQ(*CountLookups(plan, {{std::nullopt, false}}), 5);
}

TEST(ReadSkip, OffsetFromAParameter) {
  Plan plan = Asking({});
  EXPECT_EQ(*ReadSkip(plan, {}), 0);
  plan.skip = Skip{Parameter(1, kInt8)};
  EXPECT_EQ(*ReadSkip(plan, {{"12", false}}), 12);
  EXPECT_EQ(*ReadSkip(plan, {{std::nullopt, false}}), 0);
  EXPECT_FALSE(ReadSkip(plan, {{"-1", false}}));
  EXPECT_FALSE(ReadSkip(plan, {{"", false}}));
  EXPECT_FALSE(ReadSkip(plan, {{"(SELECT 1)", false}}));
  ValueSource constant;
  constant.constant = "(SELECT 1)";
  constant.type = kInt8;
  plan.skip = Skip{constant};
  EXPECT_FALSE(ReadSkip(plan, {}));
}

}  // namespace
}  // namespace ecluse
