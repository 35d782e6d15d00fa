#include "deliver/row_batch.h"

#include <gtest/gtest.h>

#include "deliver/pseudonym.h"
#include "pgwire/codec.h"
#include "seal/cell.h"

namespace ecluse {
namespace {

// Knows people by their text, so that tests can read it.
class PlainKeys : public KeyRing {
 public:
  Result<std::string> SealForDay(int64_t, std::string_view plain, std::string_view) override {
    return std::string(plain);
  }
  Result<std::string> OpenForDay(std::string_view sealed, std::string_view) override { return std::string(sealed); }
  Result<Secret> SigningSeed() override { return Secret(32); }
  void SubjectKey(std::string_view space, std::string_view id, uint8_t out[16]) const override {
    std::string text = std::string(space) + ":" + std::string(id);
    text.resize(16);
    std::memcpy(out, text.data(), 16);
  }
  void Pseudonym(std::string_view, std::string_view, std::string_view id, uint8_t out[16]) const override {
    std::memset(out, id.empty() ? 0 : id[0], 16);
  }
  Result<std::string> Wrap(std::string_view plain, std::string_view) override { return std::string(plain); }
  Result<std::string> Unwrap(std::string_view wrapped, std::string_view) override { return std::string(wrapped); }
  Result<uint64_t> DestroyDaysBefore(int64_t) override { return 0; }
  Result<std::vector<KeyInfo>> List() const override { return std::vector<KeyInfo>(); }
  Generations& generations() override { std::abort(); }
  LiteralKeys& literal_keys() override { std::abort(); }
  std::shared_ptr<const CompartmentKeys> Compartment(std::string_view) const override { return nullptr; }
  Result<uint64_t> TakeRing() override { return 0; }
  void OnKeyMade(std::function<void(const KeyInfo&)>) override {}
};

std::string Row(std::vector<pg::Values::Value> values) {
  std::string out;
  pg::WriteDataRow(out, values);
  return out.substr(5);
}

Plan TwoShownOneSubject() {
  Plan plan;
  plan.guarded = true;
  plan.visible_columns = 2;
  plan.tables.emplace_back().space = "person";
  plan.hidden.push_back({HiddenColumn::Kind::subjects, 0});
  return plan;
}

TEST(RowBatch, CutsHiddenColumnsAndKeepsThePeople) {
  Plan plan = TwoShownOneSubject();
  PlainKeys keys;
  RowBatch batch(plan, keys, "test", "officer");
  ASSERT_TRUE(batch.Add(Row({"Anne", std::nullopt,
                             "4\x1f"
                             "5"}),
                        {}));
  ASSERT_TRUE(batch.Add(Row({"Luc", "x", std::nullopt}), {}));
  std::string expected;
  pg::WriteDataRow(expected, std::vector<pg::Values::Value>{"Anne", std::nullopt});
  pg::WriteDataRow(expected, std::vector<pg::Values::Value>{"Luc", "x"});
  EXPECT_EQ(batch.bytes(), expected);
  ASSERT_EQ(batch.people().size(), 2u);
  EXPECT_EQ(batch.id(batch.people()[1]), "5");
  EXPECT_EQ(batch.rows()[0].last_person, 2u);
  EXPECT_EQ(batch.rows()[1].first_person, batch.rows()[1].last_person);
}

TEST(RowBatch, ASwallowedRowIsCountedAndNotShown) {
  Plan plan = TwoShownOneSubject();
  PlainKeys keys;
  RowBatch batch(plan, keys, "test", "officer");
  ASSERT_TRUE(batch.Add(Row({"Anne", "x", "4"}), {}, false));
  EXPECT_TRUE(batch.bytes().empty());
  EXPECT_EQ(batch.people().size(), 1u);
}

TEST(RowBatch, WhatIsNotAsPlannedIsAnError) {
  Plan plan = TwoShownOneSubject();
  PlainKeys keys;
  RowBatch batch(plan, keys, "test", "officer");
  EXPECT_FALSE(batch.Add(Row({"Anne", "4"}), {}));
  EXPECT_FALSE(batch.Add(Row({"Anne", "x", "4\x1f"}), {}));
  EXPECT_FALSE(batch.Add(Row({"Anne", "x",
                              "\x1f"
                              "4"}),
                         {}));
  EXPECT_FALSE(batch.Add(Row({"Anne", "x", std::string(600, '1')}), {}));
  EXPECT_FALSE(batch.Add("nonsense", {}));
}

TEST(RowBatch, SpreadAndPeopleSayWhetherARowIsAStatistic) {
  Plan plan = TwoShownOneSubject();
  plan.min_subjects = 3;
  plan.hidden = {{HiddenColumn::Kind::spread, 0}, {HiddenColumn::Kind::people, 0}};
  PlainKeys keys;
  RowBatch batch(plan, keys, "test", "analyst");
  ASSERT_TRUE(batch.Add(Row({"a", "b", "7", "3"}), {}));  // 7 has three bits
  ASSERT_TRUE(batch.Add(Row({"a", "b", "8", "2"}), {}));
  ASSERT_TRUE(batch.Add(Row({"a", "b", "-1", "3"}), {}));  // all 64 bits
  EXPECT_TRUE(batch.rows()[0].enough_bits);
  EXPECT_TRUE(batch.rows()[0].enough_people);
  EXPECT_FALSE(batch.rows()[1].enough_bits);
  EXPECT_FALSE(batch.rows()[1].enough_people);
  EXPECT_TRUE(batch.rows()[2].enough_bits);
  EXPECT_FALSE(batch.Add(Row({"a", "b", "x", "3"}), {}));
}

TEST(RowBatch, PseudonymsTakeThePlaceOfTheirColumn) {
  Plan plan = TwoShownOneSubject();
  plan.pseudonym = {0, -1};
  PlainKeys keys;
  RowBatch batch(plan, keys, "test", "analyst");
  EXPECT_FALSE(batch.Add(Row({"4", "x", "4"}), {}));  // the form is not known
  batch.Clear();
  ASSERT_TRUE(batch.Add(Row({"4", "x", "4"}), {{25, false}, {25, false}}));
  pg::Values values;
  ASSERT_TRUE(pg::ReadDataRow(batch.bytes().substr(5), &values));
  EXPECT_EQ((*values.begin())->size(), 22u);
  EXPECT_EQ((*values.begin())->find('4'), std::string_view::npos);
  batch.Clear();
  ASSERT_TRUE(batch.Add(Row({std::nullopt, "x", "4"}), {{25, false}, {25, false}}));
  ASSERT_TRUE(pg::ReadDataRow(batch.bytes().substr(5), &values));
  EXPECT_FALSE((*values.begin()).has_value());
}

KeyId IdOf(char key) { return {static_cast<uint8_t>(key)}; }
Xaes KeyOf(char key) { return Xaes(Secret(std::string_view(std::string(kXaesKey, key)))); }

// A ring that is taken anew once somebody has asked for its keys; a character stands for a data key.
class RenewedKeys : public PlainKeys {
 public:
  RenewedKeys(std::string_view before, std::string_view after) : before_(Keys(before)), after_(Keys(after)) {}
  std::shared_ptr<const CompartmentKeys> Compartment(std::string_view) const override {
    return asked_++ == 0 ? before_ : after_;
  }
  int asked() const { return asked_; }

 private:
  static std::shared_ptr<const CompartmentKeys> Keys(std::string_view data) {
    auto keys = std::make_shared<CompartmentKeys>();
    keys->search = Secret(kXaesKey);
    keys->link = Secret(kXaesKey);
    for (const char key : data) keys->AddData(IdOf(key), KeyOf(key));
    return keys;
  }
  std::shared_ptr<const CompartmentKeys> before_, after_;
  mutable int asked_ = 0;
};

TEST(RowBatch, AKeyNewerThanTheBatchIsFetchedOnce) {
  Plan plan = TwoShownOneSubject();
  plan.tables[0].table = {"taj", "person"};
  plan.cells.push_back({0, "nir", {type_oid::kText, -1}, {}});
  plan.sealed = {{0, 0, {Mask::Kind::clear}}, {}};
  const auto row = [](char key) {
    return Row({SealValue(KeyOf(key), IdOf(key), {"test", "taj.person", "nir", "person:4"}, "175"), "x", "4"});
  };
  const auto batch_of = [&](const RenewedKeys& keys) {
    RowBatch batch(plan, keys, "test", "officer");
    batch.SetSealedForms({"UTC", {}, {false, false}});
    return batch;
  };
  const RenewedKeys renewed("a", "ab");
  RowBatch batch = batch_of(renewed);
  ASSERT_TRUE(batch.Add(row('a'), {}));
  EXPECT_EQ(renewed.asked(), 1);
  ASSERT_TRUE(batch.Add(row('b'), {}));
  ASSERT_TRUE(batch.Add(row('b'), {}));
  EXPECT_EQ(renewed.asked(), 2) << "what was fetched is kept";
  std::string expected;
  for (int i = 0; i < 3; ++i) pg::WriteDataRow(expected, std::vector<pg::Values::Value>{"175", "x"});
  EXPECT_EQ(batch.bytes(), expected);

  const RenewedKeys without("a", "ac");
  const auto refused = batch_of(without).Add(row('b'), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, kUnknownKey);
  EXPECT_EQ(without.asked(), 2);
}

TEST(Pseudonym, HasTheColumnsOwnForm) {
  uint8_t bits[16];
  std::fill_n(bits, 16, uint8_t{0xff});
  std::string out;
  ASSERT_TRUE(AppendPseudonym(out, bits, 20, false));
  EXPECT_EQ(out, "9223372036854775807");
  out.clear();
  ASSERT_TRUE(AppendPseudonym(out, bits, 20, true));
  EXPECT_EQ(out.size(), 8u);
  out.clear();
  ASSERT_TRUE(AppendPseudonym(out, bits, 2950, false));
  EXPECT_EQ(out, "ffffffff-ffff-8fff-bfff-ffffffffffff");
  EXPECT_FALSE(AppendPseudonym(out, bits, 1082, false));
}

}  // namespace
}  // namespace ecluse
