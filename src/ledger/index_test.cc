// The index: its rows, filled at once or one by one, and what it says beside the ledger itself.
#include "ledger/index.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

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

LedgerId FolderId(const LedgerFolder& of) {
  SegmentFolder folder{&RealFiles(), of.data() + "/ledger", {}, 0};
  std::string origin;
  return *ReadOrigin(folder, &origin);
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

// Rows of random entries, taken at random times, against the entries themselves; then with the first of them pruned.
TEST(IndexRows, TellOfEveryEntryAndNoOther) {
  LedgerFolder folder(true);
  auto ledger = folder.Open();
  const LedgerId id = FolderId(folder);
  ledger.reset();
  const KeyRing& keys = folder.keys();
  std::mt19937_64 random(7);
  const auto below = [&](uint64_t end) { return random() % end; };
  const std::string path = folder.data() + "/index";
  ASSERT_TRUE(Store::Destroy(path));
  auto index = Store::Open(path, Store::Mode::create);
  ASSERT_TRUE(index);
  std::map<std::string, std::set<uint64_t>> of_account;
  std::map<SubjectToken, std::set<uint64_t>> of_person;
  std::set<uint64_t> closed;
  IndexRows rows(keys);
  uint64_t seq = 0, entries = 0;
  for (int round = 0; round < 60; ++round) {
    for (uint64_t i = below(6) == 0 ? 4'500 : below(20); i > 0; --i) {
      seq += 1 + (below(50) == 0 ? below(300'000) : 0);
      IndexedEntry entry{seq, 0, "account-" + std::to_string(below(3)), "", "", {}, below(200) == 0};
      for (uint64_t named = below(3); named > 0; --named) {
        SubjectToken token{};
        token[15] = static_cast<uint8_t>(below(40));
        entry.people.push_back(token);
        of_person[token].insert(seq);
      }
      of_account[entry.principal].insert(seq);
      if (entry.closed) closed.insert(seq);
      rows.Add(entry);
      ++entries;
    }
    Pairs pairs;
    const size_t most = rows.size();
    rows.Take(pairs);
    EXPECT_LE(pairs.size(), most + closed.size());
    EXPECT_EQ(rows.size(), 0u);
    pairs.emplace_back(
        index_format::kMeta,
        index_format::Encode({seq + 1, std::string(reinterpret_cast<const char*>(id.data()), id.size()), {}}));
    ASSERT_TRUE((*index)->Put(pairs, false));
  }
  EXPECT_LT(AllOf(**index).size(), entries / 5) << "many entries stand in one row";

  const auto check = [&](uint64_t pruned) {
    const auto reader = IndexReader::Open(folder.data(), id, keys);
    ASSERT_EQ(reader.size(), seq + 1);
    const auto within = [&](const std::set<uint64_t>& all, uint64_t first, uint64_t end) {
      if (first >= end) return std::vector<uint64_t>();  // of a period that ends before it begins
      return std::vector<uint64_t>(all.lower_bound(std::max(first, pruned)), all.lower_bound(std::max(end, pruned)));
    };
    for (int i = 0; i < 200; ++i) {
      uint64_t first = below(seq + 10), end = below(seq + 10);
      if (i == 0) first = 0, end = seq + 1;
      for (const auto& [account, all] : of_account)
        ASSERT_EQ(*reader.By(Facet::principal, account, first, end), within(all, first, end)) << first << " " << end;
      for (const auto& [token, all] : of_person)
        ASSERT_EQ(*reader.Naming(token, first, end), within(all, first, end)) << first << " " << end;
      ASSERT_EQ(*reader.Closed(first, end), within(closed, first, end));
    }
  };
  check(0);
  for (const uint64_t end : {seq / 3, seq / 3 + 1, seq / 2, seq - 1}) {
    ASSERT_TRUE(PruneIndex(**index, end, {}));
    check(end);
    for (const auto& [key, value] : AllOf(**index)) {
      if (key[0] != index_format::kNamed && key[0] != index_format::kFacet) continue;
      const auto seqs = index_format::DecodePlaces(key, value);
      ASSERT_TRUE(seqs);
      EXPECT_GE(seqs->front(), end) << "nothing is left of what was removed";
    }
  }
}

TEST(IndexRows, KnowWhereAnEntryBeginsInAWholeBundle) {
  LedgerFolder folder(true);
  auto ledger = folder.Open();
  const LedgerId id = FolderId(folder);
  ledger.reset();
  const std::string path = folder.data() + "/index";
  ASSERT_TRUE(Store::Destroy(path));
  auto index = Store::Open(path, Store::Mode::create);
  ASSERT_TRUE(index);
  IndexRows rows(folder.keys());
  Pairs pairs;
  const auto add = [&](uint64_t from, uint64_t end) {
    for (uint64_t seq = from; seq < end; ++seq) rows.Add({seq, 300 + seq % 7 * 9'000, "", "", "", {}, false});
    rows.Take(pairs);
  };
  add(100, 300);  // the first bundle is not whole
  add(300, 700);
  add(956, 1'024);  // nor are those around a gap, here of a bundle
  add(1'024, 1'280);
  pairs.emplace_back(
      index_format::kMeta,
      index_format::Encode({1'280, std::string(reinterpret_cast<const char*>(id.data()), id.size()), {}}));
  ASSERT_TRUE((*index)->Put(pairs, false));
  const auto known = [&](uint64_t pruned) {
    const auto reader = IndexReader::Open(folder.data(), id, folder.keys());
    std::set<uint64_t> bundles;
    for (uint64_t seq = 0, offset = 0; seq < 1'280; ++seq) {
      if (seq % 256 == 0) offset = 0;
      const auto place = reader.PlaceInBundle(seq);
      if (place) {
        EXPECT_EQ(*place, offset) << seq;
        bundles.insert(seq / 256);
      }
      offset += 2 + 300 + seq % 7 * 9'000;
    }
    EXPECT_TRUE(bundles.empty() || *bundles.begin() >= pruned);
    return bundles;
  };
  EXPECT_EQ(known(0), (std::set<uint64_t>{1, 4}));
  ASSERT_TRUE(PruneIndex(**index, 512, {}));
  EXPECT_EQ(known(2), (std::set<uint64_t>{4}));
}

TEST(IndexRows, WhatIsNoRowIsRefused) {
  using index_format::DecodePlaces, index_format::EncodePlaces, index_format::KeyOfPlaces;
  const std::vector<uint64_t> seqs = {0, 1, 200, 70'000, uint64_t{1} << 52};
  const std::string key = KeyOfPlaces(index_format::kNamed, {}, seqs.back()), value = EncodePlaces(seqs);
  EXPECT_EQ(DecodePlaces(key, value), seqs);
  EXPECT_FALSE(DecodePlaces(key.substr(1), value));
  EXPECT_FALSE(DecodePlaces(key, value + "\x01")) << "before the first entry";
  EXPECT_FALSE(DecodePlaces(key, value + "\x80")) << "cut short";
  EXPECT_FALSE(DecodePlaces(key, std::string(1, '\0'))) << "an entry twice";
  EXPECT_FALSE(DecodePlaces(key, std::string(40, '\x80') + "\x01")) << "a number without end";
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
      if (i % 9 == 0) draft.statement = "SELECT " + std::string(6'000, 'x');  // longer than entries mostly are
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

  LedgerId Id() { return FolderId(folder_); }

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
  // With one that lies of where entries are: of the last one's record, and of those in a bundle.
  const LedgerId id = Id();
  const auto row = [&](std::string key, std::string value) {
    auto lying = Store::Open(index, Store::Mode::existing);
    ASSERT_TRUE((*lying)->Put(Pairs{{std::move(key), std::move(value)}}, false));
  };
  const uint64_t known = IndexReader::Open(folder_.data(), id, folder_.keys()).size();
  EXPECT_TRUE(IndexReader::Open(folder_.data(), id, folder_.keys()).PlaceInBundle(100));
  for (const uint64_t segment : {uint64_t{0}, uint64_t{1}, uint64_t{7}, UINT64_MAX}) {
    for (const uint64_t offset :
         {uint64_t{0}, uint64_t{kSegmentHeader}, uint64_t{kSegmentHeader + 8}, UINT64_MAX - 7}) {
      row(std::string(index_format::kMeta),
          index_format::Encode({known, std::string(id.begin(), id.end()), {known - 1, segment, offset}}));
      Check(700);
    }
  }
  row(index_format::KeyOfBundle(0), std::string(512, '\x01'));
  row(index_format::KeyOfBundle(1), std::string(512, '\0'));
  row(index_format::KeyOfBundle(2), "short");
  Check(700);
  std::filesystem::remove_all(index);
  folder_.Open();  // it is made again
  EXPECT_TRUE(std::filesystem::exists(index));
  Check(700);
}

// A row that leads to the introduction of somebody else names nobody.
TEST_F(QueryTest, AnIndexThatNamesAnotherIsRefused) {
  {
    auto ledger = folder_.Open();
    Write(*ledger, 0, 300);
  }
  const LedgerId id = Id();
  SubjectToken one, two;
  uint64_t of_two = 0;
  {
    const auto reader = IndexReader::Open(folder_.data(), id, folder_.keys());
    one = reader.TokenOf("person", "1")->value();
    two = reader.TokenOf("person", "2")->value();
    of_two = reader.IntroductionOf(two)->value();
    EXPECT_EQ((*LedgerQuery::Open(folder_.data(), folder_.keys()))->NamesOf(std::vector{two, one})->at(1), "person:1");
  }
  {
    auto lying = Store::Open(folder_.data() + "/index", Store::Mode::existing);
    const IndexRows::Pairs row = {
        {index_format::KeyOfToken(one), index_format::Encode(index_format::TokenValue{{}, of_two})}};
    ASSERT_TRUE((*lying)->Put(row, false));
  }
  auto query = LedgerQuery::Open(folder_.data(), folder_.keys());
  const auto names = (*query)->NamesOf(std::vector{two, one});
  ASSERT_FALSE(names);
  EXPECT_NE(names.error().message.find("index is damaged"), std::string::npos) << names.error().message;
  EXPECT_EQ((*query)->NamesOf(std::vector{two})->at(0), "person:2");
}

// The ledger was put back from a copy, and the index was not: it knows of entries that the ledger does not hold.
TEST_F(QueryTest, AnIndexOfMoreThanTheLedgerHolds) {
  {
    auto ledger = folder_.Open();
    Write(*ledger, 0, 300);
  }
  const std::string data = folder_.data();
  std::filesystem::copy(data + "/ledger", data + "/ledger.old", std::filesystem::copy_options::recursive);
  {
    auto ledger = folder_.Open();
    Write(*ledger, 300, 700);
  }
  std::filesystem::remove_all(data + "/ledger");
  std::filesystem::rename(data + "/ledger.old", data + "/ledger");
  Check(300);
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
