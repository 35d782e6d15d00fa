#include "policy/sealed_columns.h"

#include <gtest/gtest.h>

namespace ecluse {
namespace {

TEST(SealedColumns, TheDomainSaysWhatIsSealed) {
  for (const char* name : {"text", "varchar", "varchar(40)", "date", "timestamp", "timestamp(3)", "timestamptz",
                           "timestamptz(0)", "smallint", "integer", "bigint", "numeric", "numeric(10,2)",
                           "numeric(3,-2)", "boolean", "bytea", "jsonb", "uuid"}) {
    const auto type = SealedType(name);
    ASSERT_TRUE(type) << name;
    EXPECT_EQ(SealedDomain(*type), name);
  }
  for (const char* name :
       {"", "int4", "Text", "text(4)", "varchar()", "varchar(x)", "varchar(40", "varchar(040)", "numeric(10)",
        "numeric(10,2,3)", "numeric(10, 2)", "mark taj.person", "varchar(99999999999)"})
    EXPECT_FALSE(SealedType(name)) << name;
  EXPECT_EQ(TypeText(*SealedType("timestamptz(3)")), "timestamp(3) with time zone");
  EXPECT_EQ(TypeText(*SealedType("varchar(40)")), "character varying(40)");
}

TEST(SealedColumns, NamesOfIndexes) {
  const Sealing all{true, 2, true, 86'400, true};
  std::vector<std::string> names;
  for (const TokenColumn& column :
       TokenColumns("born", {type_oid::kDate, -1}, Sealing{true, 0, false, 86'400 * 365, true}))
    names.push_back(column.name);
  EXPECT_EQ(names.front(), "__bidx_born");
  EXPECT_EQ(names.back(), "__bidx_born_r" + std::to_string(names.size() - 2));
  EXPECT_EQ(OfEqualityColumn("__bidx_born"), "born");
  EXPECT_EQ(OfEqualityColumn("born"), "born");
  for (const char* name : {"__bidx_born", "__bidx_born_p4", "__bidx_born_s", "__bidx_born_r12"})
    EXPECT_TRUE(IsTokenColumn("born", name)) << name;
  for (const char* name :
       {"born", "__bidx_borne", "__bidx_born_p", "__bidx_born_p4x", "__bidx_born_t", "__sealed_born"})
    EXPECT_FALSE(IsTokenColumn("born", name)) << name;
  EXPECT_NE(SearchMisfit({type_oid::kDate, -1}, all), "") << "prefix and sound are for text";
}

TEST(SealedColumns, StepsOfARange) {
  const ValueType date{type_oid::kDate, -1}, number{type_oid::kInt8, -1}, decimal{type_oid::kNumeric, -1};
  const auto days = StepsOf(date, {false, 0, false, 86'400, true});
  ASSERT_TRUE(days);
  bool below = false;
  EXPECT_EQ(PlaceOf(date, *days, "2000-01-01", &below)->step, 0);
  EXPECT_EQ(PlaceOf(date, *days, "1999-12-31", &below)->step, -1);
  EXPECT_EQ(PlaceOf(date, *days, "infinity", &below)->step, days->last);
  EXPECT_EQ(PlaceOf(date, *days, "-infinity", &below)->step, days->first);
  EXPECT_EQ(PlaceOf(date, *days, "0001-01-01", &below)->step, days->first + 1);
  EXPECT_EQ(PlaceOf(date, *days, "9999-12-31", &below)->step, days->last - 1);
  EXPECT_FALSE(PlaceOf(date, *days, "10000-01-01", &below));
  EXPECT_FALSE(below);
  EXPECT_FALSE(PlaceOf(date, *days, "0044-03-15 BC", &below));
  EXPECT_TRUE(below);
  const auto tens = StepsOf(number, {false, 0, false, 10, false});
  EXPECT_EQ(PlaceOf(number, *tens, "-1", &below)->step, -1);
  EXPECT_TRUE(PlaceOf(number, *tens, "-1", &below)->last);
  EXPECT_TRUE(PlaceOf(number, *tens, "20", &below)->first);
  EXPECT_FALSE(PlaceOf(number, *tens, "21", &below)->first);
  EXPECT_EQ(PlaceOf(number, *tens, "-9223372036854775808", &below)->step, tens->first);
  EXPECT_EQ(PlaceOf(number, *tens, "9223372036854775807", &below)->step, tens->last);
  EXPECT_EQ(PlaceOf(decimal, *StepsOf(decimal, {false, 0, false, 10, false}), "-0.5", &below)->step, -1);
  EXPECT_FALSE(PlaceOf(decimal, *StepsOf(decimal, {false, 0, false, 10, false}), "NaN", &below));
  EXPECT_FALSE(PlaceOf(decimal, *StepsOf(decimal, {false, 0, false, 10, false}), "-1e30", &below));
}

}  // namespace
}  // namespace ecluse
