// The index: its rows, filled at once or one by one, and what it says beside the ledger itself.
#include "ledger/index.h"

#include <algorithm>

#include "ledger/dossier.h"
#include "ledger/origin.h"
#include "ledger/query.h"
#include "ledger/testing.h"
#include "ledger/who_saw.h"

namespace ecluse {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs AllOf(const Store& store) {
  Pairs all;
  EXPECT_TRUE(store.Visit("", "\xff", [&](std::string_view key, std::string_view value) {
    all.emplace_back(key, value);
    return true;
  }));
  return all;
}

TEST(Store, HoldsTheSameFilledOrPut) {
  LedgerFolder folder(true);
  Pairs pairs;
  for (int i = 0; i < 5'000; ++i) pairs.emplace_back("k" + std::to_string(i * 7919 % 5'000), std::to_string(i));
  auto put = Store::Open(folder.data() + "-put", Store::Mode::create);
  auto filled = Store::Open(folder.data() + "-filled", Store::Mode::create);
  ASSERT_TRUE(put && filled);
  ASSERT_TRUE((*put)->Put(pairs, false));
  const Pairs first(pairs.begin(), pairs.begin() + 3'000), rest(pairs.begin() + 2'000, pairs.end());
  ASSERT_TRUE((*filled)->Ingest(first));
  ASSERT_TRUE((*filled)->Ingest({}));
  ASSERT_TRUE((*filled)->Ingest(rest));
  EXPECT_EQ(AllOf(**filled), AllOf(**put));
  EXPECT_EQ(AllOf(**put).size(), 5'000u);
}

TEST(Store, VisitsARange) {
  LedgerFolder folder(true);
  auto store = Store::Open(folder.data() + "-range", Store::Mode::create);
  ASSERT_TRUE(store);
  const Pairs pairs = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}};
  ASSERT_TRUE((*store)->Put(pairs, false));
  std::string seen;
  auto take = [&](std::string_view key, std::string_view value) {
    seen.append(key).append(value);
    return value != "3";
  };
  ASSERT_TRUE((*store)->Visit("b", "d", take));
  EXPECT_EQ(seen, "b2c3");
  seen.clear();
  ASSERT_TRUE((*store)->Visit("a", "z", take));
  EXPECT_EQ(seen, "a1b2c3") << "it stops where it is told to";
}

class QueryTest : public testing::Test {
 protected:
  // Entries of three accounts from two addresses that each name one or two of ten people.
  void Write(Ledger& ledger, int from, int to) {
    for (int i = from; i < to; ++i) {
      EntryDraft draft = SomeDraft("case-" + std::to_string(i));
      draft.principal = "account-" + std::to_string(i % 3);
      draft.role = i % 2 == 0 ? "officer" : "clerk";
      draft.address = "10.0.0." + std::to_string(i % 2);
      auto one = folder_.TokenOf(ledger, std::to_string(i % 10)),
           two = folder_.TokenOf(ledger, std::to_string(i * 7 % 10));
      ASSERT_TRUE(one && two);
      draft.subjects = {{"taj.person", {*one}, {*two}, {{"name", "clear"}}}};
      ASSERT_TRUE(ledger.AppendAndWait(draft));
    }
  }

  std::vector<std::string> Found(const Query& query) {
    std::vector<std::string> references;
    auto ledger = LedgerQuery::Open(folder_.data(), folder_.keys());
    EXPECT_TRUE(ledger) << ledger.error().message;
    uint64_t closed = 0;
    EXPECT_TRUE((*ledger)->Find(
        query,
        [&](const EntryFacts& facts) -> Status {
          if (facts.kind == "disclosure") references.push_back(facts.reference);
          return {};
        },
        &closed));
    EXPECT_EQ(closed, 0u);
    return references;
  }

  static std::vector<std::string> Expected(int to, const std::function<bool(int)>& fits) {
    std::vector<std::string> references;
    for (int i = 0; i < to; ++i)
      if (fits(i)) references.push_back("case-" + std::to_string(i));
    return references;
  }

  void Check(int to) {
    Query query;
    query.principal = "account-1";
    EXPECT_EQ(Found(query), Expected(to, [](int i) { return i % 3 == 1; }));
    query.address = "10.0.0.0";
    EXPECT_EQ(Found(query), Expected(to, [](int i) { return i % 3 == 1 && i % 2 == 0; }));
    query = {};
    query.role = "clerk";
    query.principal = "account-2";
    EXPECT_EQ(Found(query), Expected(to, [](int i) { return i % 3 == 2 && i % 2 == 1; }));
    auto ledger = LedgerQuery::Open(folder_.data(), folder_.keys());
    ASSERT_TRUE(ledger);
    for (int person = 0; person < 10; ++person) {
      query = {};
      auto token = (*ledger)->TokenOf("person", std::to_string(person));
      ASSERT_TRUE(token && *token);
      query.names = *token;
      EXPECT_EQ(Found(query), Expected(to, [&](int i) { return i % 10 == person || i * 7 % 10 == person; })) << person;
    }
    EXPECT_FALSE(*(*ledger)->TokenOf("person", "10"));
    EXPECT_FALSE(*(*ledger)->TokenOf("place", "1"));
  }

  LedgerId Id() {
    SegmentFolder folder{&RealFiles(), folder_.data() + "/ledger", {}, 0};
    std::string origin;
    return *ReadOrigin(folder, &origin);
  }

  LedgerFolder folder_{true};
};

TEST_F(QueryTest, FindsTheSameWithAnyPartOfTheIndex) {
  {
    auto ledger = folder_.Open();
    Write(*ledger, 0, 300);
    Check(300);  // beside the ledger that is being written, whatever its index knows by now
  }
  Check(300);
  const std::string index = folder_.data() + "/index", old = folder_.data() + "/index.old";
  std::filesystem::copy(index, old, std::filesystem::copy_options::recursive);
  {
    auto ledger = folder_.Open();
    Write(*ledger, 300, 700);
  }
  Check(700);
  std::filesystem::remove_all(index);
  Check(700);  // without an index
  std::filesystem::rename(old, index);
  Check(700);  // with one of before
  std::filesystem::remove_all(index);
  folder_.Open();  // it is made again
  EXPECT_TRUE(std::filesystem::exists(index));
  Check(700);
}

// What waits for the index is bounded, and an index that is far behind is filled: the same is found.
TEST_F(QueryTest, FindsTheSameWhateverWayTheIndexWasMade) {
  LedgerOptions options = folder_.options();
  options.index_backlog = 1;  // everything is read again
  options.index_fill = 50;
  {
    auto ledger = Ledger::Open(options, folder_.keys());
    ASSERT_TRUE(ledger);
    Write(**ledger, 0, 400);
    Check(400);
  }
  Check(400);
  std::filesystem::remove_all(folder_.data() + "/index");
  ASSERT_TRUE(Ledger::Open(options, folder_.keys()));
  auto index = IndexReader::Open(folder_.data(), Id(), folder_.keys());
  EXPECT_GE(index.size(), 400u);
  Check(400);
}

// A result that was judged as a whole and refused: it may have told that people are there, and showed no value.
TEST_F(QueryTest, RefusedResultsTellOfPeopleWithoutValues) {
  {
    auto ledger = folder_.Open();
    auto refused = folder_.TokenOf(*ledger, "1"), both = folder_.TokenOf(*ledger, "2"),
         asked = folder_.TokenOf(*ledger, "3");
    ASSERT_TRUE(refused && both && asked);
    EntryDraft draft = SomeDraft();
    draft.kind = EntryKind::refusal;
    draft.subjects = {{"taj.person", {*refused, *both}, {*asked}, {{"name", "clear"}}}};
    ASSERT_TRUE(ledger->AppendAndWait(draft));
    draft.kind = EntryKind::disclosure;
    draft.subjects = {{"taj.person", {*both}, {}, {{"born", "clear"}}}};
    ASSERT_TRUE(ledger->AppendAndWait(draft));
  }
  auto ledger = LedgerQuery::Open(folder_.data(), folder_.keys());
  ASSERT_TRUE(ledger);
  Query query;
  query.principal = "amelie";
  auto dossier = AskDossier(**ledger, query, Policy{});
  ASSERT_TRUE(dossier) << dossier.error().message;
  ASSERT_EQ(dossier->subjects.size(), 2u);
  EXPECT_TRUE(dossier->asked.empty()) << "whom a refused statement asked for it was not told of";
  EXPECT_EQ(dossier->subjects[0].name, "person:1");
  EXPECT_TRUE(dossier->subjects[0].fields.empty());
  EXPECT_EQ(dossier->subjects[1].entries, 2u);
  EXPECT_EQ(dossier->subjects[1].fields.size(), 1u);
  EXPECT_EQ(dossier->categories["unknown"].clear, 1u);
  EXPECT_EQ(dossier->evidence.size(), 2u);
  EXPECT_NE(DossierHtml(*dossier, Language::fr).find("aucune valeur"), std::string::npos);
  auto seen = AskWhoSaw(**ledger, "person", "1", 0, INT64_MAX);
  ASSERT_TRUE(seen);
  ASSERT_EQ(seen->seen.size(), 1u);
  EXPECT_TRUE(seen->seen[0].returned);
  EXPECT_TRUE(seen->seen[0].facts.subjects[0].fields.empty());
  EXPECT_FALSE(AskWhoSaw(**ledger, "person", "3", 0, INT64_MAX)->seen[0].returned);
}

TEST_F(QueryTest, WhatDoesNotOpenIsCounted) {
  {
    auto ledger = folder_.Open();
    Write(*ledger, 0, 20);
  }
  std::filesystem::remove_all(folder_.data() + "/index");
  // Another ring opens nothing of it.
  LedgerFolder other(true);
  for (const char* principal : {"account-1", ""}) {
    auto ledger = LedgerQuery::Open(folder_.data(), other.keys());
    ASSERT_TRUE(ledger) << ledger.error().message;
    Query query;
    query.principal = principal;
    query.address = principal[0] == '\0' ? "10.0.0.1" : "";
    uint64_t closed = 0, seen = 0;
    auto done = (*ledger)->Find(
        query,
        [&](const EntryFacts&) -> Status {
          ++seen;
          return {};
        },
        &closed);
    ASSERT_TRUE(done) << done.error().operator_detail;
    EXPECT_EQ(closed, principal[0] == '\0' ? 20u : 7u);
    EXPECT_EQ(seen, principal[0] == '\0' ? 0u : 7u) << "what stands outside is known all the same";
  }
}

}  // namespace
}  // namespace ecluse
