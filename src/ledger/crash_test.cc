// Whatever fails, and wherever: nothing acknowledged is lost, nothing is there twice, and nothing is acknowledged that
// is not on disk.
#include <boost/json.hpp>
#include <set>
#include <thread>

#include "base/sim_files.h"
#include "ledger/origin.h"
#include "ledger/testing.h"
#include "ledger/verify.h"
#include "tlog/tile.h"

namespace ecluse {
namespace {

struct Acknowledged {
  std::mutex mutex;
  std::map<uint64_t, std::string> by_seq;
  std::set<std::string> tried;
};

// Two sessions that name people and append; entries large enough that segments fill.
void Work(LedgerFolder& folder, Ledger& ledger, Acknowledged& acknowledged, const std::string& round) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 3; ++i) {
        std::string name = round + "-" + std::to_string(t) + "-" + std::to_string(i);
        EntryDraft draft = SomeDraft(name);
        draft.statement.assign(8'000, 's');
        auto token = folder.TokenOf(ledger, name);
        if (!token) return;
        for (int n = 0; n < 300; ++n) draft.subjects.push_back({"taj.person", {*token}, {}, {}});
        {
          std::lock_guard lock(acknowledged.mutex);
          acknowledged.tried.insert(name);
        }
        auto receipt = ledger.AppendAndWait(draft);
        std::lock_guard lock(acknowledged.mutex);
        if (receipt)
          EXPECT_TRUE(acknowledged.by_seq.emplace(receipt->seq(), name).second) << "one sequence given twice";
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

void Verify(Ledger& ledger, const Acknowledged& acknowledged) {
  std::map<uint64_t, std::string> found;
  std::set<std::string> names, introduced;
  uint64_t next = 0;
  int64_t time = 0;
  uint64_t size = ledger.size();
  auto done = ledger.Replay(0, [&](const StoredEntry& entry) {
    EXPECT_EQ(entry.seq, next++);
    EXPECT_GE(entry.time, time);
    time = entry.time;
    auto object = boost::json::parse(entry.json).as_object();
    if (object["kind"] == "person") introduced.emplace(object["subject"].as_string());
    if (object["kind"] != "disclosure") return true;
    auto opened = boost::json::parse(entry.opened).as_object();
    for (const auto& table : opened.contains("subjects") ? opened["subjects"].as_array() : boost::json::array())
      EXPECT_TRUE(introduced.contains(std::string(table.at("returned").at(0).as_string())));
    std::string name(opened["reference"].as_string());
    bool last = !object.contains("part") || object["part"] == "last";
    if (last) {
      EXPECT_TRUE(names.insert(name).second) << name << " is there twice";
      EXPECT_TRUE(acknowledged.tried.contains(name)) << name;
      found[entry.seq] = name;
    }
    return true;
  });
  EXPECT_TRUE(done) << done.error().operator_detail;
  EXPECT_GE(next, size);
  for (const auto& [seq, name] : acknowledged.by_seq) EXPECT_EQ(found[seq], name) << "acknowledged and lost";
}

// A life takes ten times as long under a sanitizer, which looks for other faults than these: there, some of them do.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr uint64_t kEvery = 7;
#else
constexpr uint64_t kEvery = 1;
#endif

class CrashTest : public testing::TestWithParam<std::tuple<SimFault, bool>> {
 protected:
  void SetUp() override { spdlog_level_ = Log().level(), Log().set_level(spdlog::level::off); }
  void TearDown() override { Log().set_level(spdlog_level_); }
  spdlog::level::level_enum spdlog_level_{};
};

// Checkpoints that the world has been told of.
struct Published {
  std::mutex mutex;
  std::vector<std::string> notes;
};

LedgerOptions Simulated(LedgerFolder& folder, SimFiles& files, Published* published = nullptr) {
  LedgerOptions options = folder.options();
  options.checkpoint_every = std::chrono::milliseconds(4);
  if (published != nullptr) {
    options.publish = [published](const std::string& note, const Checkpoint&,
                                  const LedgerOptions::Ours& ours) -> Result<bool> {
      std::lock_guard lock(published->mutex);
      if (!published->notes.empty()) ECLUSE_OK(ours(published->notes.back()));
      published->notes.push_back(note);
      return true;
    };
  }
  options.files = &files;
  options.segment_bytes = 128 * 1024;
  return options;
}

// The tree is whole, covers every entry, and goes on from every checkpoint that the world was ever told of.
void VerifyTree(LedgerFolder& folder, SimFiles& files, const Published& published) {
  VerifyOptions options;
  options.folder.files = &files;
  options.folder.path = folder.data() + "/ledger";
  options.threads = 1;
  options.patience = std::chrono::milliseconds(0);
  EXPECT_GE(published.notes.size(), 2u);  // at least as each life without a fault ends
  for (const std::string& note : published.notes) {
    options.from = note;
    auto verified = VerifyLedger(options);
    ASSERT_TRUE(verified) << verified.error().message;
    for (const Finding& one : verified->findings) ADD_FAILURE() << one.entry.value_or(UINT64_MAX) << ": " << one.what;
    EXPECT_EQ(verified->checkpoint.size, verified->entries);
  }
}

// Small ones, many at once.
void Fill(Ledger& ledger, int entries) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&ledger, entries, t] {
      EntryDraft draft = SomeDraft();
      draft.kind = EntryKind::lookup;
      for (int i = t; i < entries; i += 16) EXPECT_TRUE(ledger.AppendAndWait(draft));
    });
  }
  for (auto& thread : threads) thread.join();
}

// One life with a fault at its Nth call, then another without: false where the fault was never reached. So many entries
// stand there before.
bool OneLife(SimFault fault, bool power, uint32_t seed, int entries = 0) {
  LedgerFolder folder(true);
  SimFiles files;
  Published published;
  LedgerOptions options = Simulated(folder, files, &published);
  Acknowledged acknowledged;
  {
    auto ledger = Ledger::Open(options, folder.keys());
    EXPECT_TRUE(ledger) << ledger.error().operator_detail;
    Fill(**ledger, entries);
    Work(folder, **ledger, acknowledged, "before");
  }
  files.Restart(power, seed);
  files.Arm(fault);
  {
    auto ledger = Ledger::Open(options, folder.keys());
    if (ledger) {
      Work(folder, **ledger, acknowledged, "during");
      if (files.hit() && !(*ledger)->healthy())
        EXPECT_FALSE((*ledger)->AppendAndWait(SomeDraft())) << "what failed stays failed";
    }
  }
  bool hit = files.hit();
  files.Restart(power, seed + 1);
  auto ledger = Ledger::Open(options, folder.keys());
  EXPECT_TRUE(ledger) << "fault at call " << fault.at << ": " << ledger.error().operator_detail;
  if (!ledger) return hit;
  Verify(**ledger, acknowledged);
  Work(folder, **ledger, acknowledged, "after");
  EXPECT_GE(acknowledged.by_seq.size(), 12u) << "a ledger that was recovered works";
  Verify(**ledger, acknowledged);
  ledger->reset();
  VerifyTree(folder, files, published);
  if (entries > 0) {
    SegmentFolder segments{&files, folder.data() + "/ledger", {}, 0};
    std::string origin;
    segments.ledger = *ReadOrigin(segments, &origin);
    EXPECT_TRUE(files.Find(segments.path + "/" + TilePath({0, 0, kTileWidth}))->has_value()) << "no tile was filled";
    // Where that fails it stays, until a later checkpoint fills a bundle.
    if (!hit) EXPECT_GT(FirstInSegments(segments)->value_or(0), 0u) << "no segment was removed";
  }
  return hit;
}

TEST_P(CrashTest, NothingAcknowledgedIsLost) {
  auto [fault, power] = GetParam();
  uint64_t calls = 0;
  for (fault.at = 1;; fault.at += kEvery) {
    SCOPED_TRACE(fault.at);
    if (!OneLife(fault, power, static_cast<uint32_t>(fault.at))) break;
    ++calls;
    if (HasFailure()) break;
  }
  EXPECT_GT(calls, 60u / kEvery) << "the fault has to be met everywhere";
}

// The same where the first tiles fill, their partial ones go, and the first segment does.
TEST_P(CrashTest, NothingIsLostWhereTilesFillAndSegmentsGo) {
  auto [fault, power] = GetParam();
  uint64_t calls = 0;
  for (fault.at = 1;; fault.at += 3 * kEvery) {
    SCOPED_TRACE(fault.at);
    if (!OneLife(fault, power, static_cast<uint32_t>(fault.at), 220)) break;
    ++calls;
    if (HasFailure()) break;
  }
  EXPECT_GT(calls, 60u / kEvery / 3) << "the fault has to be met everywhere";
}

TEST_P(CrashTest, AnInterruptedFirstStartIsBegunAgain) {
  auto [fault, power] = GetParam();
  bool hit = true;
  for (fault.at = 1; hit && !HasFailure(); fault.at += kEvery) {
    SCOPED_TRACE(fault.at);
    LedgerFolder folder(true);
    SimFiles files;
    files.Arm(fault);
    Acknowledged acknowledged;
    if (auto ledger = Ledger::Open(Simulated(folder, files), folder.keys())) {
      if (auto receipt = (*ledger)->AppendAndWait(SomeDraft("first"))) acknowledged.by_seq[receipt->seq()] = "first";
    }
    hit = files.hit();
    files.Restart(power, static_cast<uint32_t>(fault.at));
    acknowledged.tried = {"first"};
    auto ledger = Ledger::Open(Simulated(folder, files), folder.keys());
    ASSERT_TRUE(ledger) << ledger.error().operator_detail;
    Verify(**ledger, acknowledged);
  }
  EXPECT_GT(fault.at, 20u);
}

constexpr SimFault kError{SimFault::Kind::error, 0, EIO, false};
constexpr SimFault kFull{SimFault::Kind::short_write, 0, ENOSPC, true};
constexpr SimFault kReadOnly{SimFault::Kind::error, 0, EROFS, true};
constexpr SimFault kKill{SimFault::Kind::kill, 0, EIO, false};
INSTANTIATE_TEST_SUITE_P(Faults, CrashTest,
                         testing::Values(std::tuple{kError, false}, std::tuple{kError, true}, std::tuple{kFull, false},
                                         std::tuple{kReadOnly, true}, std::tuple{kKill, false},
                                         std::tuple{kKill, true}));

}  // namespace
}  // namespace ecluse
