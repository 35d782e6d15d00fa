#include "ledger/person_keys.h"

#include <chrono>

#include "base/limits.h"
#include "ledger/testing.h"
#include "vault/literal_keys.h"

namespace ecluse {
namespace {

using std::chrono::days;

class PersonKeysTest : public testing::Test {
 protected:
  std::unique_ptr<PersonKeys> Open(Store::Mode mode = Store::Mode::existing) {
    PersonKeysOptions options{folder_.data(), mode, &folder_.clock(), days(7), days(90)};
    auto opened = PersonKeys::Open(options, folder_.keys());
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }
  Generations& generations() { return folder_.keys().generations(); }
  static SubjectToken Token(int number) {
    SubjectToken token{};
    token[0] = static_cast<uint8_t>(number);
    token[1] = static_cast<uint8_t>(number >> 8);
    return token;
  }
  PersonKeys::Wrapped Wrapped(int number) {
    return {Token(number), generations().Wrap("key of " + std::to_string(number), WrapBinding(Token(number)))};
  }
  std::string Stored(PersonKeys& keys, int number) {
    const SubjectToken token = Token(number);
    auto found = keys.store().Get({reinterpret_cast<const char*>(token.data()), token.size()});
    EXPECT_TRUE(found);
    return found->value_or("");
  }
  void Pass(std::chrono::seconds time) { folder_.clock().Advance(std::chrono::microseconds(time).count()); }

  LedgerFolder folder_;
};

TEST_F(PersonKeysTest, GenerationsAreMadeAtHalfTheHorizonAndGoBeforeItsEnd) {
  auto keys = Open(Store::Mode::create);
  ASSERT_EQ(generations().List().size(), 1u);
  const std::string first = generations().List()[0].id;
  const int many = static_cast<int>(limits::kWrappedTogether) + 5;  // in two steps
  std::vector<PersonKeys::Wrapped> all;
  for (int i = 0; i < many; ++i) all.push_back(Wrapped(i));
  ASSERT_TRUE(keys->Add(all));
  Pass(days(3));
  ASSERT_TRUE(keys->Renew());
  EXPECT_EQ(generations().List().size(), 1u);
  Pass(std::chrono::hours(12));
  ASSERT_TRUE(keys->Renew());
  ASSERT_EQ(generations().List().size(), 2u);
  for (int i = 0; i < many; ++i) {
    const std::string now = Stored(*keys, i);
    ASSERT_TRUE(generations().UnderNewest(now)) << i;
    EXPECT_EQ(generations().Unwrap(now, WrapBinding(Token(i)))->text(), "key of " + std::to_string(i));
    EXPECT_TRUE(generations().Unwrap(all[static_cast<size_t>(i)].second, WrapBinding(Token(i))));  // a copy of before
  }
}

TEST_F(PersonKeysTest, WhatIsAsOldAsTheHorizonIsDestroyedAndToldOf) {
  auto keys = Open(Store::Mode::create);
  std::vector<std::string> told;
  const PersonKeys::Wrapped before = Wrapped(1);
  ASSERT_TRUE(keys->Add({before}));
  const std::string first = generations().List()[0].id;
  Pass(std::chrono::hours(84));
  ASSERT_TRUE(keys->Renew());
  Pass(std::chrono::hours(60));
  ASSERT_TRUE(keys->Renew());  // 6 days: not yet
  EXPECT_TRUE(generations().Unwrap(before.second, WrapBinding(before.first)));
  keys.reset();
  // After a long pause all of it at once.
  Pass(days(30));
  keys = Open();
  keys->Tell([&](std::string reason) -> Status {
    told.push_back(std::move(reason));
    return {};
  });
  ASSERT_TRUE(keys->Renew());
  ASSERT_EQ(generations().List().size(), 1u);
  EXPECT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].rfind("destroys the root generation " + first, 0), 0u);
  EXPECT_FALSE(generations().Unwrap(before.second, WrapBinding(before.first)));
  EXPECT_EQ(generations().Unwrap(Stored(*keys, 1), WrapBinding(Token(1)))->text(), "key of 1");
}

// An introduction may wait for long, where the disk is full.
TEST_F(PersonKeysTest, WhatWaitedWhileAGenerationWasMadeIsUnderThatOne) {
  auto keys = Open(Store::Mode::create);
  const PersonKeys::Wrapped waits = Wrapped(1);
  Pass(days(4));
  ASSERT_TRUE(keys->Renew());
  ASSERT_FALSE(generations().UnderNewest(waits.second));
  ASSERT_TRUE(keys->Add({waits}));
  EXPECT_TRUE(generations().UnderNewest(Stored(*keys, 1)));
}

TEST_F(PersonKeysTest, AFileThatLacksTheNewestIsRefused) {
  auto keys = Open(Store::Mode::create);
  const std::string path = generations().path();
  std::filesystem::copy_file(path, path + ".old");
  Pass(days(4));
  ASSERT_TRUE(keys->Renew());
  keys.reset();
  std::filesystem::rename(path + ".old", path);
  auto ring = KeyRing::Open(folder_.root(), folder_.data());
  ASSERT_TRUE(ring);
  auto refused = PersonKeys::Open({folder_.data(), Store::Mode::existing, &folder_.clock(), days(7), days(90)}, **ring);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("is not in"), std::string::npos);
}

TEST_F(PersonKeysTest, WhatDoesNotOpenHoldsNothingUp) {
  auto keys = Open(Store::Mode::create);
  ASSERT_TRUE(keys->Add({Wrapped(1), Wrapped(2)}));
  const SubjectToken token = Token(1);
  const std::pair<std::string, std::string> damaged{std::string(token.begin(), token.end()), std::string(81, '\1')};
  ASSERT_TRUE(keys->store().Put({&damaged, 1}, true));
  Pass(days(4));
  ASSERT_TRUE(keys->Renew());
  EXPECT_EQ(Stored(*keys, 1), damaged.second);
  EXPECT_TRUE(generations().UnderNewest(Stored(*keys, 2)));
}

// One that was set ahead and corrected must not end the making and destroying of generations.
TEST_F(PersonKeysTest, AGenerationOfATimeToComeGoesWithTheNext) {
  auto keys = Open(Store::Mode::create);
  const PersonKeys::Wrapped before = Wrapped(1);
  ASSERT_TRUE(keys->Add({before}));
  const int64_t year = std::chrono::microseconds(days(400)).count();
  folder_.clock().StepWall(year);
  keys->Tell([](std::string) { return Fail("58030", "the ledger has failed"); });
  EXPECT_FALSE(keys->Renew()) << "what cannot be told of is not destroyed";
  ASSERT_EQ(generations().List().size(), 2u);
  keys.reset();
  folder_.clock().StepWall(-year);
  keys = Open();
  ASSERT_TRUE(keys->Renew());
  ASSERT_EQ(generations().List().size(), 3u);
  EXPECT_EQ(generations().List().back().made, folder_.clock().WallMicros());
  ASSERT_TRUE(keys->Renew());
  EXPECT_EQ(generations().List().size(), 3u) << "once";
  EXPECT_TRUE(generations().Unwrap(before.second, WrapBinding(before.first)));
  Pass(days(7));
  ASSERT_TRUE(keys->Renew());
  EXPECT_FALSE(generations().Unwrap(before.second, WrapBinding(before.first)));
  EXPECT_EQ(generations().Unwrap(Stored(*keys, 1), WrapBinding(Token(1)))->text(), "key of 1");
}

TEST_F(PersonKeysTest, AClockFarAheadOfTheLastEntryIsNotBelievedAtOnce) {
  const int64_t last = folder_.clock().WallMicros();
  ASSERT_TRUE(Open(Store::Mode::create));
  ASSERT_TRUE(folder_.keys().literal_keys().Seal(last, "x", ""));
  Pass(days(400));
  PersonKeysOptions options{folder_.data(), Store::Mode::existing, &folder_.clock(), days(7), days(90), last};
  auto keys = PersonKeys::Open(options, folder_.keys());
  ASSERT_TRUE(keys);
  ASSERT_TRUE((*keys)->Renew());
  EXPECT_EQ(generations().List().size(), 2u);
  EXPECT_EQ(folder_.keys().literal_keys().List()->size(), 1u);
  Pass(std::chrono::hours(17));
  ASSERT_TRUE((*keys)->Renew());
  EXPECT_EQ(generations().List().size(), 1u);
  EXPECT_TRUE(folder_.keys().literal_keys().List()->empty());
}

// Interrupted between the two, or where the note could not be written.
TEST_F(PersonKeysTest, TheNoteOfTheNewestIsWrittenAgain) {
  ASSERT_TRUE(Open(Store::Mode::create));
  const std::string path = folder_.data() + "/keys/generation";
  ASSERT_TRUE(generations().Make(folder_.clock().WallMicros()));
  auto keys = Open();
  ASSERT_TRUE(keys);
  EXPECT_EQ(ReadWholeFile(RealFiles(), path, 100).value_or(""), generations().List().back().id + "\n");
  std::filesystem::remove(path);
  ASSERT_TRUE(keys->Renew());
  EXPECT_EQ(ReadWholeFile(RealFiles(), path, 100).value_or(""), generations().List().back().id + "\n");
}

// ---- keys of values ----

TEST_F(PersonKeysTest, KeysOfValuesAreMadeOnceKeptInTimeAndDestroyed) {
  auto keys = Open(Store::Mode::create);
  const KeyedSubject ann{1}, ben{2};
  const KeyedSubject both[] = {ann, ben};
  auto found = keys->Find(both);
  ASSERT_TRUE(found);
  EXPECT_TRUE((*found)[0].key.empty() && !(*found)[0].erased);
  auto made = keys->Take(both);
  ASSERT_TRUE(made);
  const std::string of_ann((*made)[0].text());
  EXPECT_EQ(of_ann.size(), kXaesKey);
  EXPECT_NE((*made)[1].text(), of_ann);
  auto wrapped = keys->FindWrapped(both, false);
  Pass(days(4));
  ASSERT_TRUE(keys->Renew());
  keys.reset();
  keys = Open();
  auto later = keys->FindWrapped(both, false);
  ASSERT_TRUE(wrapped && later);
  EXPECT_TRUE(generations().UnderNewest((*later)[0].wrapped) && !generations().UnderNewest((*wrapped)[0].wrapped));
  EXPECT_EQ((*keys->Take(both))[0].text(), of_ann);

  keys->BeginErasure(ann);
  const auto refused = keys->Take(both);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "55006");
  const PersonKeys::Erasure fifth{{1}, 5};
  ASSERT_TRUE(keys->DestroyValueKey(ann, fifth));
  ASSERT_TRUE(keys->DestroyValueKey(KeyedSubject{3}, fifth)) << "who has none";
  found = keys->Find(both);
  ASSERT_TRUE(found);
  EXPECT_TRUE((*found)[0].erased && (*found)[0].key.empty());
  EXPECT_FALSE((*found)[1].erased || (*found)[1].key.empty());
  Pass(days(4));
  ASSERT_TRUE(keys->Renew()) << "who was erased has nothing to be wrapped anew";
  auto anew = keys->Take({&ann, 1});
  ASSERT_TRUE(anew);
  EXPECT_NE((*anew)[0].text(), of_ann);
  const auto now = [&] { return std::string((*keys->Find({&ann, 1}))[0].key.text()); };
  EXPECT_EQ(now(), (*anew)[0].text());
  EXPECT_TRUE((*keys->Find({&ann, 1}))[0].erased) << "once";
  // An entry that is gone through again takes nothing that came behind it.
  for (const PersonKeys::Erasure& again : {fifth, PersonKeys::Erasure{{1}, 4}}) {
    ASSERT_TRUE(keys->DestroyValueKey(ann, again));
    EXPECT_EQ(now(), (*anew)[0].text());
  }
  Pass(days(4));
  ASSERT_TRUE(keys->Renew());
  keys.reset();
  keys = Open();
  EXPECT_EQ(now(), (*anew)[0].text()) << "wrapped anew, with the mark before it";
  EXPECT_TRUE((*keys->Find({&ann, 1}))[0].erased);
  // A later one does, and one of another ledger, whose numbers are its own.
  ASSERT_TRUE(keys->DestroyValueKey(ann, {{2}, 1}));
  EXPECT_EQ(now(), "");
  const KeyedSubject twice[] = {ben, KeyedSubject{9}, KeyedSubject{9}};
  auto same = keys->Take(twice);
  ASSERT_TRUE(same);
  EXPECT_EQ((*same)[1].text(), (*same)[2].text());
}

}  // namespace
}  // namespace ecluse
