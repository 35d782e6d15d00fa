// What was damaged is refused, never guessed; what is damaged under a running gate stops it.
#include <sys/stat.h>

#include <thread>

#include "base/limits.h"
#include "base/sim_files.h"
#include "ledger/origin.h"
#include "ledger/segment.h"
#include "ledger/testing.h"

namespace ecluse {
namespace {

class DamageTest : public testing::Test {
 protected:
  void SetUp() override { Log().set_level(spdlog::level::off); }
  void TearDown() override { Log().set_level(spdlog::level::info); }

  void Fill(int entries, bool large = false) {
    auto ledger = folder_.Open();
    EntryDraft draft = SomeDraft();
    if (large) draft.literals.assign(200, std::string(100, 'x'));
    for (int i = 0; i < entries; ++i) ASSERT_TRUE(ledger->AppendAndWait(draft));
  }
  void Flip(const std::string& path, size_t at) {
    auto content = ReadWholeFile(RealFiles(), path, 1 << 30).value();
    content.at(at) ^= 1;
    ASSERT_TRUE(ReplaceFile(RealFiles(), path, content));
  }
  // Where the nth record of a segment begins.
  size_t RecordAt(const std::string& path, int n) {
    auto content = ReadWholeFile(RealFiles(), path, 1 << 30).value();
    size_t at = kSegmentHeader;
    for (; n > 0; --n) at += RecordSize(ReadHeader(AsBytes(content).subspan(at)).value().length);
    return at;
  }
  void ExpectRefused(const char* what) {
    auto ledger = folder_.TryOpen();
    ASSERT_FALSE(ledger) << what;
    EXPECT_EQ(ledger.error().sqlstate, "58030");
    EXPECT_FALSE(ledger.error().hint.empty());
  }
  void ExpectStopped(Ledger& ledger) {
    auto refused = ledger.AppendAndWait(SomeDraft());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().sqlstate, "58030");
    EXPECT_FALSE(refused.error().hint.empty());
    EXPECT_FALSE(ledger.healthy());
  }
  LedgerFolder folder_;
};

TEST_F(DamageTest, ADeletedSegmentStopsARunningGate) {
  auto ledger = folder_.Open();
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  std::filesystem::remove(folder_.segment(1));
  ExpectStopped(*ledger);
}

TEST_F(DamageTest, AFolderWithoutSegmentsIsDamaged) {
  Fill(20);
  SegmentFolder folder{&RealFiles(), folder_.data() + "/ledger", {}, 0};
  std::string origin;
  folder.ledger = *ReadOrigin(folder, &origin);
  for (uint64_t number = 1; std::filesystem::exists(folder_.segment(number)); ++number)
    std::filesystem::remove(folder_.segment(number));
  RecordCursor cursor(folder, 5);
  for (int i = 0; i < 2; ++i) {  // also where it is asked again
    const Status read = cursor.Advance(10, [](const Record&) { return Status(); });
    ASSERT_FALSE(read);
    EXPECT_NE(read.error().operator_detail.find("holds no segment"), std::string::npos) << read.error().operator_detail;
  }
}

TEST_F(DamageTest, ATruncatedSegmentStopsARunningGate) {
  auto ledger = folder_.Open();
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  std::filesystem::resize_file(folder_.segment(1), 100);
  ExpectStopped(*ledger);
}

TEST_F(DamageTest, ADeletedOldSegmentStopsARunningGate) {
  Fill(400);
  ASSERT_TRUE(std::filesystem::exists(folder_.segment(3)));
  auto ledger = folder_.Open();
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  std::filesystem::remove(folder_.segment(1));
  for (int i = 0; i < 100 && ledger->healthy(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ExpectStopped(*ledger);
}

TEST_F(DamageTest, DeletedPersonKeysStopARunningGate) {
  auto ledger = folder_.Open();
  ASSERT_TRUE(folder_.TokenOf(*ledger, "1"));
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  std::filesystem::remove_all(folder_.data() + "/keys/persons");
  (void)folder_.TokenOf(*ledger, "2");
  ExpectStopped(*ledger);
}

TEST_F(DamageTest, EveryBitOfAnAcknowledgedRecordCounts) {
  Fill(20);
  std::filesystem::copy(folder_.data(), folder_.data() + ".good", std::filesystem::copy_options::recursive);
  size_t from = RecordAt(folder_.segment(1), 10);
  size_t to = RecordAt(folder_.segment(1), 11);
  for (size_t at = from; at < from + RecordSize(1) || at < to; at += at < from + kRecordHeader ? 3 : 97) {
    // Behind the header, the last bytes may be padding.
    if (at + kRecordAlignment > to) break;
    Flip(folder_.segment(1), at);
    ExpectRefused(("byte " + std::to_string(at - from)).c_str());
    std::filesystem::remove_all(folder_.data());
    std::filesystem::copy(folder_.data() + ".good", folder_.data(), std::filesystem::copy_options::recursive);
    std::filesystem::permissions(folder_.data(), std::filesystem::perms::owner_all);
  }
  EXPECT_TRUE(folder_.TryOpen()) << "undamaged it opens";
}

TEST_F(DamageTest, ALostLastEntryIsKnownToTheIndexAndTheCheckpoint) {
  Fill(5);
  auto content = ReadWholeFile(RealFiles(), folder_.segment(1), 1 << 30).value();
  size_t last = kSegmentHeader;
  for (size_t at = last; ReadHeader(AsBytes(content).subspan(at));
       last = at, at += RecordSize(ReadHeader(AsBytes(content).subspan(at))->length)) {
  }
  Flip(folder_.segment(1), last + 60);
  ExpectRefused("the index knows of one more");
  std::filesystem::remove_all(folder_.data() + "/index");
  ExpectRefused("the checkpoint covers one more");
  // Without both nothing here tells a damaged last entry from one whose write a crash cut short: checkpoints that have
  // left the machine do.
  std::filesystem::remove_all(folder_.data() + "/index");
  std::filesystem::remove(folder_.data() + "/ledger/checkpoint");
  EXPECT_TRUE(folder_.TryOpen());
}

TEST_F(DamageTest, MissingSwappedAndShortSegmentsAreRefused) {
  Fill(60, true);  // too few for a bundle: the segments are all there is
  ASSERT_TRUE(std::filesystem::exists(folder_.segment(3)));
  std::filesystem::rename(folder_.segment(2), folder_.data() + "/away");
  ExpectRefused("missing");
  std::filesystem::rename(folder_.data() + "/away", folder_.segment(2));
  std::filesystem::rename(folder_.segment(1), folder_.data() + "/away");
  std::filesystem::rename(folder_.segment(2), folder_.segment(1));
  std::filesystem::rename(folder_.data() + "/away", folder_.segment(2));
  auto ledger = folder_.TryOpen();
  if (ledger) {
    EXPECT_FALSE((*ledger)->Replay(0, [](const StoredEntry&) { return true; }));
  }
}

TEST_F(DamageTest, AFlippedBitInAnOldSegmentIsFoundWhenItIsRead) {
  Fill(60, true);
  Flip(folder_.segment(1), RecordAt(folder_.segment(1), 5) + 100);
  auto ledger = folder_.Open();
  auto done = ledger->Replay(0, [](const StoredEntry&) { return true; });
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("damaged"), std::string::npos);
}

TEST_F(DamageTest, AMissingLedgerBesideItsKeysIsNotBegunAnew) {
  {
    auto ledger = folder_.Open();
    ASSERT_TRUE(folder_.TokenOf(*ledger, "1"));
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  }
  std::filesystem::remove_all(folder_.data() + "/ledger");
  ExpectRefused("ledger deleted");
  std::filesystem::remove_all(folder_.data() + "/ledger");
  std::filesystem::remove_all(folder_.data() + "/index");
  ExpectRefused("ledger and index deleted");
}

TEST_F(DamageTest, MissingPersonKeysAreRefused) {
  Fill(1);
  std::filesystem::remove_all(folder_.data() + "/keys/persons");
  ExpectRefused("person keys deleted");
}

// Ordinary entries leave the reserve to alerts, locks and keys; when there is space again everything goes on.
TEST_F(DamageTest, AFullDiskRefusesOrdinaryEntriesOnlyAndUntilThereIsSpace) {
  SimFiles files;
  LedgerOptions options = folder_.options();
  options.files = &files;
  auto ledger = Ledger::Open(options, folder_.keys());
  ASSERT_TRUE(ledger);
  files.SetCapacity(600 * 1024);  // two segments and nothing more
  EntryDraft alert = SomeDraft();
  alert.kind = EntryKind::alert;
  size_t written = 0;
  Result<Receipt> last = (*ledger)->AppendAndWait(SomeDraft());
  for (; last && written < 2'000; ++written) last = (*ledger)->AppendAndWait(SomeDraft());
  ASSERT_FALSE(last);
  EXPECT_GT(written, 200u);
  EXPECT_EQ(last.error().sqlstate, "58030");
  EXPECT_NE(last.error().hint.find("free space"), std::string::npos);
  EXPECT_TRUE((*ledger)->healthy());
  EXPECT_FALSE((*ledger)->AppendAndWait(SomeDraft()));
  EXPECT_TRUE((*ledger)->AppendAndWait(alert)) << "the reserve is for these";
  auto token = folder_.TokenOf(**ledger, "introduced while the disk is full");
  EXPECT_FALSE((*ledger)->AppendAndWait(SomeDraft()));
  EntryDraft erasure = SomeDraft();
  erasure.kind = EntryKind::erasure;
  EXPECT_FALSE((*ledger)->AppendAndWait(erasure)) << "it may name people whose introduction waits for room";
  EXPECT_EQ(files.writes_without_room(), 0u) << "a try that cannot succeed only takes what room others have";
  EXPECT_EQ(last.error().hint.find("restart"), std::string::npos) << "it goes on by itself";

  files.SetCapacity(UINT64_MAX);
  Result<Receipt> again = (*ledger)->AppendAndWait(SomeDraft());
  for (int i = 0; i < 50 && !again; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    again = (*ledger)->AppendAndWait(SomeDraft());
  }
  ASSERT_TRUE(again) << again.error().operator_detail;
  auto all = All(**ledger);
  ASSERT_EQ(OfKind(all, "person").size(), 1u) << "an introduction is never dropped";
  EXPECT_NE(OfKind(all, "person")[0].json.find(Base64UrlEncode(*token)), std::string::npos);
}

}  // namespace
}  // namespace ecluse
