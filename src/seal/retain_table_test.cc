#include "seal/retain_table.h"

#include <gtest/gtest.h>

namespace ecluse {
namespace {

using namespace std::chrono_literals;

TEST(Retain, SaysWhyRowsStayAndEndsWhereItIsNotAboutThem) {
  EXPECT_EQ(KeptReason("23503", "a_fkey"), "other rows refer to them: constraint a_fkey (23503)");
  EXPECT_EQ(KeptReason("23001", ""), "other rows refer to them (23001)");
  EXPECT_EQ(KeptReason("23514", "a\nb"), "a constraint refuses: constraint a\\x0ab (23514)");
  for (const char* state : {"P0001", "22012", "45000", "27000", "ZZ999"})
    EXPECT_EQ(KeptReason(state, ""), "a trigger refuses (" + std::string(state) + ")");
  // A connection that is gone, rights, a full disk, a cancelled statement: the next row would say the same.
  for (const char* state : {"08006", "42501", "42P01", "53100", "57014", "40001", "XX000", "25P02", "55000"})
    EXPECT_FALSE(KeptReason(state, "a")) << state;
}

class RetainOrder : public testing::Test {
 protected:
  void Table(const std::string& name, bool retention = true) {
    PolicyTable& table = policy_.tables[{"s", name}];
    table.name = {"s", name};
    if (retention) table.retention = {"at", 24h};
    catalog_.tables[{"s", name}].name = {"s", name};
  }
  void Refers(const std::string& from, const std::string& to) {
    CatalogForeignKey key;
    key.from = {"s", from};
    key.to = {"s", to};
    catalog_.tables[{"s", from}].foreign_keys.push_back(key);
  }
  std::string Order() const {
    std::string out;
    for (const TableName& name : DeletionOrder(policy_, catalog_)) out += name.name;
    return out;
  }

  Policy policy_;
  Catalog catalog_;
};

TEST_F(RetainOrder, WhatRefersGoesFirst) {
  for (const char* name : {"a", "b", "c", "d"}) Table(name);
  EXPECT_EQ(Order(), "abcd");
  Refers("c", "b");
  Refers("b", "a");
  Refers("a", "a");
  EXPECT_EQ(Order(), "cbad");
}

TEST_F(RetainOrder, WhoFindsPeopleByAnotherGoesBeforeIt) {
  for (const char* name : {"a", "b", "c"}) Table(name);
  policy_.tables[{"s", "c"}].via = {"s", "a"};
  EXPECT_EQ(Order(), "bca");
}

TEST_F(RetainOrder, TablesWithoutARetentionAndRingsHinderNobody) {
  for (const char* name : {"a", "b"}) Table(name);
  Table("c", false);
  Refers("c", "a");
  Refers("a", "b");
  Refers("b", "a");
  EXPECT_EQ(Order(), "ab");
}

}  // namespace
}  // namespace ecluse
