#include "ledger/ledger.h"

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/file.h"
#include "base/limits.h"
#include "ledger/segment.h"
#include "ledger/testing.h"
#include "vault/generations.h"

namespace ecluse {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

class LedgerTest : public testing::Test {
 protected:
  LedgerFolder folder_;
};

TEST_F(LedgerTest, AnEntryComesBackAsItWasWritten) {
  auto ledger = folder_.Open();
  auto token = folder_.TokenOf(*ledger, "4242").value();
  EntryDraft draft = SomeDraft();
  draft.subjects = {{"taj.person", {token}, {token}, {{"person_id", "clear"}, {"birth_date", "year"}}}};
  auto receipt = ledger->AppendAndWait(draft);
  ASSERT_TRUE(receipt) << receipt.error().message;

  auto all = All(*ledger);
  ASSERT_EQ(all.size(), receipt->seq() + 1);
  const StoredEntry& last = all.back();
  json::object entry = json::parse(last.json).as_object();
  for (const char* hidden : {"subjects", "reference", "address", "literals"}) EXPECT_FALSE(entry.contains(hidden));
  std::string salt(entry["salt"].as_string());
  EXPECT_EQ(Base64UrlDecode(salt)->size(), 16u);
  entry.stable_erase(entry.find("salt"));
  entry.stable_erase(entry.find("sealed"));
  EXPECT_EQ(
      json::serialize(entry),
      R"({"budget":{"60 subjects per 1h":59},"charged":{"lookups":1},"door":"sql","kind":"disclosure","node":"one",)"
      R"("organisation":"brigade-7","policy":"ab12","principal":"amelie","purpose":"judicial-inquiry",)"
      R"("register":"interior","role":"officer","rows":1,"seq":)" +
          std::to_string(receipt->seq()) +
          R"(,"session":"s1","statement":{"fingerprint":"0000000000001234","text":"SELECT * FROM taj.person WHERE )"
          R"(person_id = $1"},"time":1714564800000000,"v":1})");
  std::string t = Base64UrlEncode(token);
  EXPECT_EQ(last.opened, R"({"address":"127.0.0.1","literals":["4242"],"reference":"case-1","subjects":[{"asked":[")" +
                             t + R"("],"fields":{"birth_date":"year","person_id":"clear"},"returned":[")" + t +
                             R"("],"table":"taj.person"}]})");
  EXPECT_EQ(last.time, 1'714'564'800'000'000);
}

TEST_F(LedgerTest, SequencesAreDenseAcrossSegmentsAndRestarts) {
  size_t expected = 0;
  for (int round = 0; round < 3; ++round) {
    auto ledger = folder_.Open();
    EXPECT_EQ(ledger->size(), expected);
    for (int i = 0; i < 400; ++i) ASSERT_TRUE(ledger->AppendAndWait(SomeDraft(std::to_string(i))));
    auto all = All(*ledger);
    for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i].seq, i);
    expected = all.size();
    EXPECT_EQ(ledger->size(), expected);
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.segment(1))) << "its entries are in the tree";
  EXPECT_TRUE(std::filesystem::exists(folder_.data() + "/ledger/tile/entries/003"));
  auto ledger = folder_.Open();
  for (uint64_t first : {uint64_t{0}, expected / 2, expected - 1, expected}) {
    uint64_t seen = first;
    ASSERT_TRUE(ledger->Replay(first, [&](const StoredEntry& entry) { return entry.seq == seen++; }));
    EXPECT_EQ(seen, expected);
  }
}

TEST_F(LedgerTest, OnePersonHasOneTokenForever) {
  SubjectToken a, b;
  {
    auto ledger = folder_.Open();
    a = folder_.TokenOf(*ledger, "1").value();
    b = folder_.TokenOf(*ledger, "2").value();
    EXPECT_NE(a, b);
    EXPECT_EQ(folder_.TokenOf(*ledger, "1").value(), a);
    EXPECT_NE(folder_.TokenOf(*ledger, "plate", "x").value(), a);
  }
  auto ledger = folder_.Open();
  EXPECT_EQ(folder_.TokenOf(*ledger, "1").value(), a);
  EXPECT_EQ(OfKind(All(*ledger), "person").size(), 3u);
  ledger.reset();
  std::filesystem::remove_all(folder_.data() + "/index");  // derived: made again
  ledger = folder_.Open();
  EXPECT_EQ(folder_.TokenOf(*ledger, "2").value(), b);
  auto keys = ledger->KeysOf(std::vector{a, SubjectToken{}, b}).value();
  std::set<std::pair<SubjectToken, SubjectKey>> got(keys.begin(), keys.end());
  EXPECT_EQ(got, (std::set<std::pair<SubjectToken, SubjectKey>>{{a, folder_.KeyOf("1")}, {b, folder_.KeyOf("2")}}));
}

TEST_F(LedgerTest, ThreadsThatNameTheSamePeopleIntroduceThemOnce) {
  auto ledger = folder_.Open();
  std::vector<std::vector<SubjectToken>> tokens(8);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < tokens.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) tokens[t].push_back(folder_.TokenOf(*ledger, std::to_string(i)).value());
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& one : tokens) EXPECT_EQ(one, tokens[0]);
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  EXPECT_EQ(OfKind(All(*ledger), "person").size(), 300u);
}

TEST_F(LedgerTest, AnIntroductionIsDurableBeforeWhatNamesThePerson) {
  auto ledger = folder_.Open();
  for (int i = 0; i < 50; ++i) {
    auto token = folder_.TokenOf(*ledger, std::to_string(i)).value();
    EntryDraft draft = SomeDraft();
    draft.subjects = {{"taj.person", {token}, {}, {}}};
    ASSERT_TRUE(ledger->AppendAndWait(draft));
  }
  std::set<std::string> introduced;
  for (const auto& entry : All(*ledger)) {
    json::object object = json::parse(entry.json).as_object();
    if (object["kind"] == "person") introduced.insert(std::string(object["subject"].as_string()));
    if (entry.opened.empty()) continue;
    json::value opened = json::parse(entry.opened);
    EXPECT_TRUE(introduced.contains(std::string(opened.at("subjects").at(0).at("returned").at(0).as_string())));
  }
}

TEST_F(LedgerTest, TheFileAloneNamesNobody) {
  {
    auto ledger = folder_.Open();
    auto token = folder_.TokenOf(*ledger, "TELLTALE-ID").value();
    EntryDraft draft = SomeDraft("TELLTALE-REFERENCE");
    draft.literals = {"TELLTALE-LITERAL"};
    draft.actor = "TELLTALE-ACTOR";
    draft.subjects = {{"taj.person", {token}, {}, {}}};
    ASSERT_TRUE(ledger->AppendAndWait(draft));
  }
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder_.data())) {
    if (!file.is_regular_file()) continue;
    auto content = ReadWholeFile(RealFiles(), file.path(), 1 << 30).value();
    EXPECT_EQ(content.find("TELLTALE"), std::string::npos) << file.path();
  }
}

TEST_F(LedgerTest, ALargeDisclosureIsSplitBySubjectsOnly) {
  auto ledger = folder_.Open();
  EntryDraft draft = SomeDraft();
  draft.rows = 5'000;
  EntrySubjects people{"taj.person", {}, {}, {{"family_name", "clear"}}};
  for (int i = 0; i < 2'000; ++i) people.returned.push_back(folder_.TokenOf(*ledger, std::to_string(i)).value());
  draft.subjects = {people, {"taj.involvement", {people.returned[0]}, {}, {}}};
  auto receipt = ledger->AppendAndWait(draft);
  ASSERT_TRUE(receipt) << receipt.error().operator_detail;
  auto parts = OfKind(All(*ledger), "disclosure");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts.back().seq, receipt->seq());
  std::set<std::string> named;
  std::vector<std::string> places;
  for (const auto& part : parts) {
    EXPECT_LE(part.json.size(), limits::kEntry);
    json::object object = json::parse(part.json).as_object();
    places.emplace_back(object["part"].as_string());
    bool last = &part == &parts.back();
    for (const char* total : {"rows", "budget", "charged"}) EXPECT_EQ(object.contains(total), last) << total;
    EXPECT_EQ(object["principal"], "amelie");
    for (const auto& table : json::parse(part.opened).at("subjects").as_array())
      for (const auto& token : table.at("returned").as_array()) named.emplace(token.as_string());
  }
  EXPECT_EQ(places, (std::vector<std::string>{"first", "part", "last"}));
  EXPECT_EQ(named.size(), 2'000u);
}

TEST_F(LedgerTest, CoroutinesGetTheirReceiptsOnTheirOwnThread) {
  auto ledger = folder_.Open();
  asio::io_context context;
  std::set<uint64_t> seqs;
  auto append = [](Ledger* to, std::set<uint64_t>* out) -> asio::awaitable<void> {
    auto before = std::this_thread::get_id();
    for (int i = 0; i < 20; ++i) {
      auto receipt = co_await to->Append(SomeDraft());
      EXPECT_TRUE(receipt);
      EXPECT_EQ(std::this_thread::get_id(), before);
      if (receipt) out->insert(receipt->seq());
    }
  };
  for (int i = 0; i < 100; ++i) asio::co_spawn(context, append(ledger.get(), &seqs), asio::detached);
  context.run();
  EXPECT_EQ(seqs.size(), 2'000u);
  EXPECT_EQ(ledger->size(), *seqs.rbegin() + 1);
}

TEST_F(LedgerTest, OneWriterAtATime) {
  auto ledger = folder_.Open();
  auto second = folder_.TryOpen();
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("another gate"), std::string::npos);
}

TEST_F(LedgerTest, AFolderOfAnotherRegisterIsRefused) {
  folder_.Open();
  LedgerOptions options = folder_.options();
  options.register_name = "exterior";
  auto other = Ledger::Open(options, folder_.keys());
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("interior/one"), std::string::npos);
}

TEST_F(LedgerTest, TimeNeverGoesBackAndASteppedClockStopsRelease) {
  auto ledger = folder_.Open();
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  folder_.clock().StepWall(-3'000'000);
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  auto all = All(*ledger);
  EXPECT_EQ(all.back().time, all[all.size() - 2].time);
  folder_.clock().StepWall(-3'000'000);
  auto refused = ledger->AppendAndWait(SomeDraft());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sqlstate, "58030");
  EXPECT_NE(refused.error().hint.find("clock"), std::string::npos);
  EXPECT_FALSE(ledger->healthy());
  folder_.clock().StepWall(6'000'000);
  EXPECT_FALSE(ledger->AppendAndWait(SomeDraft())) << "a failed ledger stays failed";
  EXPECT_FALSE(folder_.TokenOf(*ledger, "1"));
}

TEST_F(LedgerTest, AMovedClockIsToldInTheLedgerAndStopsItEvenWhereNothingIsWritten) {
  for (int64_t step : {-3'600'000'000, 3'600'000'000}) {
    int64_t before = folder_.clock().WallMicros();
    {
      auto ledger = folder_.Open();
      folder_.clock().StepWall(step);
      for (int i = 0; i < 100 && ledger->healthy(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
      EXPECT_FALSE(ledger->healthy());
      EXPECT_FALSE(ledger->AppendAndWait(SomeDraft()));
    }
    folder_.clock().StepWall(-step);
    auto alerts = OfKind(All(*folder_.Open()), "alert");
    ASSERT_FALSE(alerts.empty());
    EXPECT_NE(alerts.back().json.find("ledger.clock: the wall clock was moved by"), std::string::npos);
    EXPECT_EQ(alerts.back().time, before) << "the time it was, not what somebody made of it";
  }
}

TEST_F(LedgerTest, AClockThatIsBehindIsAcceptedOnceAndAsFarAsItWas) {
  {
    auto ledger = folder_.Open();
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
    EXPECT_FALSE(Ledger::AcceptClock(folder_.options(), folder_.keys(), "x")) << "a gate has it open";
  }
  EXPECT_FALSE(Ledger::AcceptClock(folder_.options(), folder_.keys(), "x")) << "it is not behind";
  int64_t last = folder_.clock().WallMicros();
  folder_.clock().StepWall(-3'600'000'000);
  LedgerOptions options = folder_.options();
  options.node.clear();
  Status accepted = Ledger::AcceptClock(options, folder_.keys(), "by amelie and benoit: it was an hour ahead");
  ASSERT_TRUE(accepted) << accepted.error().message;
  for (int64_t n = 1; n <= 2; ++n) {
    folder_.clock().Advance(60'000'000);
    auto ledger = folder_.Open();
    ASSERT_TRUE(ledger);
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
    folder_.clock().Advance(600'000'000);
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
    EXPECT_EQ(All(*ledger).back().time, last + n * 600'000'000) << "goes on from the last entry's time";
    EXPECT_EQ(ledger->NowMicros(), All(*ledger).back().time);
  }
  auto approvals = OfKind(All(*folder_.Open()), "approval");
  ASSERT_EQ(approvals.size(), 1u);
  EXPECT_NE(approvals[0].json.find("amelie and benoit"), std::string::npos);
  folder_.clock().StepWall(-3'600'000'000);
  EXPECT_FALSE(folder_.TryOpen()) << "further behind than was accepted";
  folder_.clock().StepWall(2 * 3'600'000'000);
  EXPECT_TRUE(folder_.TryOpen());
  folder_.clock().StepWall(-3'600'000'000);
  EXPECT_FALSE(folder_.TryOpen()) << "it was right in between";
}

TEST_F(LedgerTest, AStartBehindTheLastEntryIsRefused) {
  {
    auto ledger = folder_.Open();
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  }
  folder_.clock().StepWall(-60'000'000);
  auto late = folder_.TryOpen();
  ASSERT_FALSE(late);
  EXPECT_NE(late.error().message.find("behind"), std::string::npos);
  folder_.clock().StepWall(60'000'000);
  EXPECT_TRUE(folder_.TryOpen());
}

TEST_F(LedgerTest, EveryKeyIsAnnouncedOnceBeforeItsFirstUse) {
  {
    auto ledger = folder_.Open();
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
    folder_.clock().Advance(86'400'000'000);
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  }
  folder_.Open();
  auto ledger = folder_.Open();
  auto keys = OfKind(All(*ledger), "key");
  ASSERT_EQ(keys.size(),
            9u);  // two key-encryption keys, index, pseudonym, the ledger's own, a generation, a month, two days
  EXPECT_NE(keys.back().json.find("day 2024-05-02"), std::string::npos);
  EXPECT_LT(keys.back().seq, OfKind(All(*ledger), "disclosure").back().seq);
}

TEST_F(LedgerTest, WhatAStatementQuotedGoesWithTheKeyOfItsMonth) {
  LedgerOptions options = folder_.options();
  options.erasure_horizon = std::chrono::days(7);
  options.literals_retention = std::chrono::days(90);
  EntryDraft draft = SomeDraft();
  draft.subjects.push_back({"taj.person", {}, {}, {{"quoted", "clear"}}});
  {
    auto ledger = Ledger::Open(options, folder_.keys());
    ASSERT_TRUE(ledger);
    draft.subjects[0].returned = {*folder_.TokenOf(**ledger, "1")};
    ASSERT_TRUE((*ledger)->AppendAndWait(draft));
    const std::string opened = OfKind(All(**ledger), "disclosure")[0].opened;
    EXPECT_NE(opened.find(R"("literals":["4242"],"reference":"case-1")"), std::string::npos) << opened;
  }
  const std::string month = folder_.data() + "/keys/literals/2024-05";
  const auto pass = [&](int days) {
    folder_.clock().Advance(std::chrono::microseconds(std::chrono::days(days)).count());
    auto ledger = Ledger::Open(options, folder_.keys());
    EXPECT_TRUE(ledger);
    // Its thread begins with a look.
    for (int i = 0; i < 300 && folder_.keys().generations().List().size() > 1; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return OfKind(All(**ledger), "disclosure")[0].opened;
  };
  EXPECT_NE(pass(120).find(R"("literals":["4242"])"), std::string::npos);  // the 29th of August
  EXPECT_TRUE(std::filesystem::exists(month));
  const std::string gone = pass(1);
  EXPECT_FALSE(std::filesystem::exists(month));
  EXPECT_NE(gone.find(R"("quoted":"its key is destroyed","reference":"case-1")"), std::string::npos) << gone;
  EXPECT_NE(gone.find(R"("returned":[")"), std::string::npos);
  const auto keys = OfKind(All(*folder_.Open()), "key");
  EXPECT_TRUE(std::ranges::any_of(keys, [](const StoredEntry& entry) {
    return entry.json.find("destroys the key of literals of 2024-05") != std::string::npos;
  }));
}

TEST_F(LedgerTest, WhoOrWhyIsNeverCut) {
  auto ledger = folder_.Open();
  EntryDraft draft = SomeDraft(std::string(2'000, 'r'));
  auto refused = ledger->AppendAndWait(draft);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("reference"), std::string::npos);
  EXPECT_TRUE(ledger->healthy());
}

TEST_F(LedgerTest, StatementsAndLiteralsAreCutWithTheirHash) {
  auto ledger = folder_.Open();
  EntryDraft draft = SomeDraft();
  draft.statement.assign(100'000, '\x01');
  draft.literals.assign(5'000, "literal \xFF \"quoted\"");
  draft.reason.assign(5'000, 'x');
  auto receipt = ledger->AppendAndWait(draft);
  ASSERT_TRUE(receipt) << receipt.error().operator_detail;
  auto entry = All(*ledger).back();
  EXPECT_LE(entry.json.size(), limits::kEntry);
  EXPECT_EQ(json::parse(entry.json).at("statement").at("sha256").as_string().size(), 64u);
  json::value opened = json::parse(entry.opened);
  EXPECT_EQ(opened.at("literals_count").as_int64(), 5'000);
  EXPECT_EQ(opened.at("literals_sha256").as_string().size(), 64u);
  EXPECT_GT(opened.at("literals").as_array().size(), 100u);
}

TEST_F(LedgerTest, ReadShowsPeopleByNameBesideARunningGate) {
  auto ledger = folder_.Open();
  auto token = folder_.TokenOf(*ledger, "4242").value();
  EntryDraft draft = SomeDraft();
  draft.subjects = {{"taj.person", {token}, {}, {}}};
  ASSERT_TRUE(ledger->AppendAndWait(draft));
  auto keys = KeyRing::Open(folder_.root(), folder_.data()).value();
  std::vector<StoredEntry> read;
  auto done = Ledger::Read(folder_.options(), keys.get(), 0, false, [&](const StoredEntry& entry) {
    read.push_back(entry);
    return true;
  });
  ASSERT_TRUE(done) << done.error().operator_detail;
  EXPECT_EQ(read.size(), ledger->size());
  EXPECT_EQ(json::parse(read.back().opened).at("subjects").at(0).at("returned").at(0).as_string(), "person:4242");
  EXPECT_EQ(OfKind(read, "person").back().opened, R"({"person":"person:4242"})");
  std::string closed;
  ASSERT_TRUE(Ledger::Read(folder_.options(), nullptr, 0, false, [&](const StoredEntry& entry) {
    closed += entry.opened;
    return true;
  }));
  EXPECT_TRUE(closed.empty());
}

TEST_F(LedgerTest, EntriesSinceAMomentAreFoundWithoutReadingThoseBefore) {
  auto ledger = folder_.Open();
  EntryDraft draft = SomeDraft();
  draft.literals.assign(200, std::string(100, 'x'));
  for (int i = 0; i < 60; ++i) {
    if (i % 2 == 0) folder_.clock().Advance(1'000'000);  // some have the same time
    ASSERT_TRUE(ledger->AppendAndWait(draft));
  }
  std::vector<StoredEntry> all = All(*ledger);
  ASSERT_GT(std::filesystem::file_size(folder_.data() + "/ledger/wal-00000004"), 0u) << "it takes several segments";
  for (int64_t time : {int64_t{0}, all[0].time, all[20].time, all[21].time + 1, all.back().time, all.back().time + 1}) {
    uint64_t due =
        std::ranges::find_if(all, [&](const StoredEntry& entry) { return entry.time >= time; }) - all.begin();
    EXPECT_EQ(ledger->FirstSince(time).value(), due);
    std::vector<uint64_t> read;
    ASSERT_TRUE(Ledger::Read(folder_.options(), nullptr, time, false, [&](const StoredEntry& entry) {
      read.push_back(entry.seq);
      return true;
    }));
    EXPECT_EQ(read.size(), all.size() - due);
    if (!read.empty()) EXPECT_EQ(read.front(), due);
  }
  std::fstream first(folder_.data() + "/ledger/wal-00000001", std::ios::in | std::ios::out | std::ios::binary);
  first.seekp(kSegmentHeader + 100'000);
  first << std::string(1'000, '?');
  first.close();
  auto nothing = [](const StoredEntry&) { return true; };
  EXPECT_FALSE(Ledger::Read(folder_.options(), nullptr, 0, false, nothing));
  EXPECT_TRUE(Ledger::Read(folder_.options(), nullptr, all[50].time, false, nothing));
}

TEST_F(LedgerTest, ReadWhereThereIsNoneSaysSo) {
  auto done = Ledger::Read(folder_.options(), nullptr, 0, false, [](const StoredEntry&) { return true; });
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("no ledger"), std::string::npos);
}

}  // namespace
}  // namespace ecluse
