// What was kept for long enough goes, whoever is still named stays nameable, and no other removal passes.
#include "ledger/retention.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "ledger/dossier.h"
#include "ledger/index.h"
#include "ledger/query.h"
#include "ledger/store.h"
#include "ledger/testing.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"
#include "ledger/verify.h"
#include "ledger/who_saw.h"

namespace ecluse {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kDay = 86'400'000'000;

class RetentionTest : public testing::Test {
 protected:
  // `entries` a day, each about one of `people` from `first` on.
  void Write(int days, int entries, int first, int people) {
    for (int day = 0; day < days; ++day) {
      auto ledger = Ledger::Open(Options(), folder_.keys());
      ASSERT_TRUE(ledger) << ledger.error().message;
      for (int i = 0; i < entries; ++i) {
        EntryDraft draft = SomeDraft("case-" + std::to_string(written_));
        auto token = folder_.TokenOf(**ledger, std::to_string(first + i % people));
        ASSERT_TRUE(token);
        draft.subjects = {{"taj.person", {*token}, {}, {{"name", "clear"}}}};
        ASSERT_TRUE((*ledger)->AppendAndWait(draft));
        ++written_;
      }
      ledger->reset();
      folder_.clock().Advance(kDay);
    }
  }
  LedgerOptions Options() {
    LedgerOptions options = folder_.options();
    options.segment_bytes = 64 * 1024;
    return options;
  }
  Result<Pruned> Prune(int64_t before, bool dry_run = false) {
    PruneOptions options;
    options.ledger = Options();
    options.before = before;
    options.why = "in this test";
    options.dry_run = dry_run;
    return PruneLedger(options, folder_.keys());
  }
  Verification Verify() {
    VerifyOptions options;
    options.folder.files = &RealFiles();
    options.folder.path = folder_.data() + "/ledger";
    options.patience = std::chrono::milliseconds(0);
    auto done = VerifyLedger(options);
    EXPECT_TRUE(done) << done.error().message;
    return done ? std::move(*done) : Verification{};
  }
  void ExpectWhole(uint64_t removed) {
    const Verification whole = Verify();
    for (const Finding& one : whole.findings) ADD_FAILURE() << one.entry.value_or(UINT64_MAX) << ": " << one.what;
    EXPECT_EQ(whole.removed, removed);
  }
  // References under which a person was seen; nullopt where nobody is known by that name.
  std::optional<std::vector<std::string>> Seen(int person) {
    auto ledger = LedgerQuery::Open(folder_.data(), folder_.keys());
    EXPECT_TRUE(ledger) << ledger.error().message;
    auto answer = AskWhoSaw(**ledger, "person", std::to_string(person), 0, INT64_MAX);
    EXPECT_TRUE(answer) << answer.error().message;
    EXPECT_EQ(answer->closed, 0u);
    if (!answer->known) return std::nullopt;
    std::vector<std::string> references;
    for (const Sighting& one : answer->seen) references.push_back(one.facts.reference);
    return references;
  }
  std::string File(const std::string& name) { return folder_.data() + "/ledger/" + name; }
  int64_t Now() { return folder_.clock().WallMicros(); }

  LedgerFolder folder_{true};
  int written_ = 0;
};

TEST_F(RetentionTest, OldEntriesGoAndWhoIsStillNamedStays) {
  Write(4, 300, 0, 20);                                // people 0 to 19
  Write(4, 300, 10, 20);                               // 10 to 29
  const int64_t before = Now() - 4 * kDay + kDay / 2;  // the first five days
  const auto planned = Prune(before, true);
  ASSERT_TRUE(planned) << planned.error().message;
  ExpectWhole(0);
  EXPECT_EQ(Seen(3)->size(), 60u);
  const auto pruned = Prune(before);
  ASSERT_TRUE(pruned) << pruned.error().message << " " << pruned.error().operator_detail;
  EXPECT_EQ(pruned->entries, planned->entries);
  EXPECT_EQ(pruned->kept, planned->kept);
  EXPECT_GT(pruned->entries, 1'000u);
  EXPECT_LE(pruned->entries, 5 * 300u + 50u);
  EXPECT_EQ(pruned->people, 10u) << "0 to 9 are named by nothing that is left";
  EXPECT_GE(pruned->days, 3u);
  ExpectWhole(pruned->left_from);
  EXPECT_FALSE(fs::exists(File(TilePath({kEntriesLevel, 0, kTileWidth}))));
  EXPECT_TRUE(fs::exists(File(TilePath({0, 0, kTileWidth}))));

  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Seen(3), std::nullopt);
    const auto seen = Seen(15);
    ASSERT_TRUE(seen);
    EXPECT_GE(seen->size(), 45u);
    EXPECT_LT(seen->size(), 70u);
    auto ledger = LedgerQuery::Open(folder_.data(), folder_.keys());
    ASSERT_TRUE(ledger);
    Query query;
    query.principal = "amelie";
    auto dossier = AskDossier(**ledger, query, Policy{});
    ASSERT_TRUE(dossier);
    EXPECT_EQ(dossier->subjects.size(), 20u);
    EXPECT_EQ(dossier->unnamed, 0u) << "introductions of those who are still named were kept";
    EXPECT_GE(dossier->basis.first_time, before - kDay);
    if (round == 0) fs::remove_all(folder_.data() + "/index");  // from the ledger itself
    if (round == 1) Write(1, 1, 15, 1);                         // the index made again
  }
  EXPECT_EQ(Seen(15)->back(), "case-" + std::to_string(written_ - 1));
  // Somebody whose introduction went is somebody new.
  Write(1, 1, 3, 1);
  EXPECT_EQ(Seen(3)->size(), 1u);
  ExpectWhole(pruned->left_from);

  EntryFacts retention;
  auto ledger = LedgerQuery::Open(folder_.data(), folder_.keys());
  ASSERT_TRUE((*ledger)->Find(
      {},
      [&](const EntryFacts& facts) -> Status {
        if (facts.kind == "retention") retention = facts;
        return {};
      },
      &retention.seq));
  EXPECT_TRUE(retention.reason.ends_with("; in this test")) << retention.reason;
}

TEST_F(RetentionTest, OneRemovalAfterAnother) {
  Write(6, 300, 0, 20);
  const int64_t now = Now();
  const auto first = Prune(now - 4 * kDay + kDay / 2);
  ASSERT_TRUE(first) << first.error().message;
  ExpectWhole(first->left_from);
  Write(2, 300, 5, 3);
  const auto second = Prune(now - kDay / 2);
  ASSERT_TRUE(second) << second.error().message << " " << second.error().operator_detail;
  EXPECT_GT(second->left_from, first->left_from);
  ExpectWhole(second->left_from);
  const auto nothing = Prune(now - 4 * kDay);
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->entries, 0u);
  ExpectWhole(second->left_from);
  EXPECT_TRUE(Seen(6));
  Write(1, 10, 5, 3);
  ExpectWhole(second->left_from);
}

TEST_F(RetentionTest, NoOtherRemovalPasses) {
  Write(4, 300, 0, 20);
  const fs::path copy = folder_.data() + "-copy";
  const auto pruned = Prune(Now() - 2 * kDay + kDay / 2);
  ASSERT_TRUE(pruned) << pruned.error().message;
  ASSERT_GT(pruned->entries, 256u);
  fs::copy(folder_.data(), copy, fs::copy_options::recursive);
  const auto back = [&] {
    fs::remove_all(folder_.data());
    fs::copy(copy, folder_.data(), fs::copy_options::recursive);
  };
  const auto write = [&](const std::string& name, const std::string& text) {
    ASSERT_TRUE(ReplaceFile(RealFiles(), File(name), text));
  };
  const uint64_t next = pruned->left_from / kTileWidth;

  fs::remove(File(TilePath({kEntriesLevel, next, kTileWidth})));  // one more
  EXPECT_FALSE(Verify().findings.empty());
  write("removed", "ecluse removed v1\n" + std::to_string((next + 1) * kTileWidth) + " " + std::to_string(pruned->by) +
                       "\n");  // and the file says so
  EXPECT_FALSE(Verify().findings.empty());
  write("removed", "ecluse removed v1\n" + std::to_string(pruned->left_from) + " " + std::to_string(pruned->by - 1) +
                       "\n");  // by an entry that does not
  EXPECT_FALSE(Verify().findings.empty());
  write("removed", "ecluse removed v1\n256 x\n");
  EXPECT_FALSE(Verify().findings.empty());
  EXPECT_FALSE(LedgerQuery::Open(folder_.data(), folder_.keys()));
  back();
  ExpectWhole(pruned->left_from);
  fs::remove(File("removed"));
  EXPECT_FALSE(Verify().findings.empty());
  back();
  fs::remove(File(TilePath({0, 0, kTileWidth})));  // hashes stay
  EXPECT_FALSE(Verify().findings.empty());
  back();
  const std::string kept = (*fs::directory_iterator(File("kept"))).path();
  fs::remove(kept);  // somebody's name with it
  EXPECT_FALSE(Verify().findings.empty());
  back();
  std::string bytes = *ReadWholeFile(RealFiles(), kept, 1 << 20);
  for (size_t at : {size_t{0}, size_t{1}, size_t{2}, size_t{40}, bytes.size() - 1}) {
    std::string altered = bytes;
    altered[at] ^= 1;
    write("kept/" + fs::path(kept).filename().string(), altered);
    EXPECT_FALSE(Verify().findings.empty()) << at;
  }
  write("kept/" + fs::path(kept).filename().string(), bytes.substr(0, bytes.size() - 1));
  EXPECT_FALSE(Verify().findings.empty());
  fs::remove_all(copy);
}

// The machine's files, until a call fails, and every one after it.
class FailingFiles final : public FileSystem {
 public:
  explicit FailingFiles(int calls) : left_(calls) {}
  bool failed() const { return left_ < 0; }

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    if (!Alive()) return Failed();
    return RealFiles().Open(path, mode);
  }
  Status Rename(const std::string& from, const std::string& to) override {
    return Alive() ? RealFiles().Rename(from, to) : Failed();
  }
  Status Remove(const std::string& path) override { return Alive() ? RealFiles().Remove(path) : Failed(); }
  Status MakeDirectory(const std::string& path) override {
    return Alive() ? RealFiles().MakeDirectory(path) : Failed();
  }
  Status RemoveDirectory(const std::string& path) override {
    return Alive() ? RealFiles().RemoveDirectory(path) : Failed();
  }
  Status SyncDirectory(const std::string& path) override {
    return Alive() ? RealFiles().SyncDirectory(path) : Failed();
  }
  Result<std::vector<std::string>> List(const std::string& path) override { return RealFiles().List(path); }
  Result<std::optional<FileInfo>> Find(const std::string& path) override { return RealFiles().Find(path); }
  Result<uint64_t> FreeBytes(const std::string& path) override { return RealFiles().FreeBytes(path); }

 private:
  bool Alive() { return left_-- > 0; }
  static std::unexpected<Error> Failed() { return std::unexpected(IoError("go on", "this test", EIO)); }
  std::atomic<int> left_;
};

// Whatever had been done before it was interrupted: nobody who is needed is lost, no gate starts in the middle, and it
// is run again.
TEST_F(RetentionTest, AnInterruptedRemovalIsFinished) {
  Write(4, 300, 0, 20);
  Write(2, 300, 10, 10);
  const int64_t before = Now() - 2 * kDay + kDay / 2;
  const fs::path whole = folder_.data() + "-whole";
  fs::copy(folder_.data(), whole, fs::copy_options::recursive);
  int refused = 0, begun_again = 0;
  bool failed = true;
  for (int calls = 1; failed; calls += 5) {
    SCOPED_TRACE(calls);
    for (const char* part : {"ledger", "index", "keys"}) {
      fs::remove_all(folder_.data() + "/" + part);
      fs::copy(whole / part, folder_.data() + "/" + part, fs::copy_options::recursive);
    }
    FailingFiles files(calls);
    PruneOptions options;
    options.ledger = Options();
    options.ledger.files = &files;
    options.before = before;
    const auto interrupted = PruneLedger(options, folder_.keys());
    failed = files.failed();
    EXPECT_EQ(failed && !interrupted, failed) << "what failed is said";
    if (fs::exists(File("removing"))) {
      ++refused;
      const auto gate = Ledger::Open(Options(), folder_.keys());
      ASSERT_FALSE(gate);
      EXPECT_NE(gate.error().message.find("a removal of entries was interrupted"), std::string::npos);
    } else if (failed) {
      ++begun_again;
      auto gate = Ledger::Open(Options(), folder_.keys());
      ASSERT_TRUE(gate) << gate.error().message << " " << gate.error().operator_detail;
      auto token = folder_.TokenOf(**gate, "3");  // somebody whose introduction was to go
      ASSERT_TRUE(token);
      gate->reset();
      ExpectWhole(0);
      EXPECT_EQ(Seen(3)->size(), 60u);
    }
    const auto again = Prune(before);
    ASSERT_TRUE(again) << again.error().message << " " << again.error().operator_detail;
    EXPECT_FALSE(fs::exists(File("removing")));
    EXPECT_FALSE(fs::exists(File(TilePath({kEntriesLevel, 0, kTileWidth}))));
    const Verification after = Verify();
    EXPECT_TRUE(after.findings.empty()) << after.findings[0].what;
    EXPECT_GT(after.removed, 1'000u);
    EXPECT_EQ(Seen(3), std::nullopt);
    EXPECT_EQ(Seen(15).value_or(std::vector<std::string>()).empty(), false);
  }
  EXPECT_GT(refused, 1);
  EXPECT_GT(begun_again, 5);
  fs::remove_all(whole);
}

// The keys of people are those that the ledger says, whatever the index does.
TEST_F(RetentionTest, TheIndexDecidesNothing) {
  Write(4, 300, 0, 20);
  Write(2, 300, 10, 10);
  fs::remove_all(folder_.data() + "/index");
  {
    auto made = Ledger::Open(Options(), folder_.keys());
    ASSERT_TRUE(made);
  }
  {
    // Somebody makes everybody look as if they had been introduced long ago, under another token.
    auto index = Store::Open(folder_.data() + "/index", Store::Mode::existing);
    ASSERT_TRUE(index);
    std::vector<std::pair<std::string, std::string>> rows;
    ASSERT_TRUE((*index)->Visit("t", "u", [&](std::string_view key, std::string_view value) {
      auto person = index_format::DecodeToken(value);
      person->seq = 1;
      rows.emplace_back(key, index_format::Encode(*person));
      return true;
    }));
    ASSERT_EQ(rows.size(), 20u);
    ASSERT_TRUE((*index)->Put(rows, true));
  }
  const auto pruned = Prune(Now() - 2 * kDay + kDay / 2);
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_EQ(pruned->people, 10u);
  fs::remove_all(folder_.data() + "/index");
  for (int person = 10; person < 20; ++person) EXPECT_TRUE(Seen(person)) << person;
  for (int person = 0; person < 10; ++person) EXPECT_FALSE(Seen(person)) << person;
  auto persons = Store::Open(folder_.data() + "/keys/persons", Store::Mode::read_only);
  int keys = 0;
  ASSERT_TRUE(
      (*persons)->Visit("", std::string(17, '\xff'), [&](std::string_view, std::string_view) { return ++keys > 0; }));
  EXPECT_EQ(keys, 10) << "of those whom something names";
}

TEST_F(RetentionTest, KeysOfMonthsGoWithTheirEntries) {
  Write(1, 300, 0, 20);
  folder_.clock().Advance(40 * kDay);
  Write(1, 300, 0, 20);
  const std::string keys = folder_.data() + "/keys/literals";
  ASSERT_TRUE(fs::exists(keys + "/2024-05") && fs::exists(keys + "/2024-06"));
  const auto pruned = Prune(Now() - 10 * kDay);
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_TRUE(fs::exists(keys + "/2024-05")) << "some of its entries share a bundle with later ones";
  Write(1, 300, 0, 20);
  folder_.clock().Advance(40 * kDay);
  Write(1, 300, 0, 20);
  ASSERT_TRUE(Prune(Now() - 10 * kDay));
  EXPECT_FALSE(fs::exists(keys + "/2024-05"));
  EXPECT_TRUE(fs::exists(keys + "/2024-06"));
  ExpectWhole(Verify().removed);
}

// Where a clock that is behind was accepted, entries are sealed on earlier days than they say.
TEST_F(RetentionTest, DaysThatAreStillNeededStay) {
  Write(4, 300, 0, 20);
  folder_.clock().StepWall(-3 * kDay);
  ASSERT_TRUE(Ledger::AcceptClock(Options(), folder_.keys(), "by a and b: it was ahead"));
  Write(3, 300, 0, 20);
  PruneOptions options;
  options.ledger = Options();
  options.before = INT64_MAX;
  options.keep = std::chrono::hours(1);
  const auto pruned = PruneLedger(options, folder_.keys());
  ASSERT_TRUE(pruned) << pruned.error().message;
  EXPECT_GT(pruned->entries, 700u);
  EXPECT_EQ(pruned->days, 1u) << "on the second wrote whoever came after the clock was set back";
  ExpectWhole(pruned->left_from);
  EXPECT_GT(Seen(15)->size(), 10u);  // nothing of what is left is closed: Seen() looks
}

TEST_F(RetentionTest, AClockOrAPolicyOfAnothersDoesNotRemove) {
  Write(4, 300, 0, 20);
  PruneOptions options;
  options.ledger = Options();
  options.before = INT64_MAX;  // by a clock that was set ahead
  options.keep = std::chrono::hours(24 * 30);
  auto nothing = PruneLedger(options, folder_.keys());
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->entries, 0u);
  {
    auto ledger = Ledger::Open(Options(), folder_.keys());
    EntryDraft start = SomeDraft();
    start.kind = EntryKind::start;
    start.policy = "of-the-gate";
    ASSERT_TRUE((*ledger)->AppendAndWait(start));
  }
  options.keep = std::chrono::hours(1);
  options.policy = "another";
  auto refused = PruneLedger(options, folder_.keys());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("not the policy"), std::string::npos);
  options.policy = "of-the-gate";
  EXPECT_GT(PruneLedger(options, folder_.keys())->entries, 500u);
}

// What an earlier removal kept is signed again by the next: not where something of it is gone.
TEST_F(RetentionTest, WhatWasKeptIsLookedAtBeforeItIsSignedAgain) {
  Write(4, 300, 0, 20);
  ASSERT_TRUE(Prune(Now() - 3 * kDay + kDay / 2));
  fs::remove((*fs::directory_iterator(File("kept"))).path());
  const auto refused = Prune(Now() - kDay + kDay / 2);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().operator_detail.find("is not what was signed"), std::string::npos);
}

TEST_F(RetentionTest, IsRefusedBesideAGate) {
  Write(2, 300, 0, 20);
  auto gate = Ledger::Open(Options(), folder_.keys());
  ASSERT_TRUE(gate);
  const auto refused = Prune(Now());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("another gate has this ledger open"), std::string::npos);
}

TEST(RetentionStatement, IsReadAsItIsWritten) {
  RetentionStatement statement{512, 7, Sha256("x")};
  const auto read = ParseRetention(statement.Text() + "; why");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->entries, 512u);
  EXPECT_EQ(read->kept, 7u);
  EXPECT_EQ(read->hash, statement.hash);
  for (const char* other : {"", "removed entries before", "removed entries before x, kept 1 with SHA-256 00",
                            "removed entries before 1, kept 1 with SHA-256 00", " removed entries before 1, kept 1"})
    EXPECT_FALSE(ParseRetention(other)) << other;
}

}  // namespace
}  // namespace ecluse
