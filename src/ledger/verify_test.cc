// Whatever is done to a ledger is found, and the first entry it concerns is named; in a whole one nothing is found.
#include "ledger/verify.h"

#include <algorithm>
#include <random>
#include <thread>

#include "base/sim_files.h"
#include "ledger/entries.h"
#include "ledger/testing.h"
#include "tlog/tile.h"

namespace ecluse {
namespace {

// Under a sanitizer, which looks for other faults than these, some of them do.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr size_t kEvery = 13;
#else
constexpr size_t kEvery = 1;
#endif

class VerifyTest : public testing::Test {
 protected:
  VerifyTest() : folder_(true) {}

  LedgerOptions Options(uint64_t segment_bytes = 256 * 1024) {
    LedgerOptions options = folder_.options();
    options.files = &files_;
    options.segment_bytes = segment_bytes;
    options.checkpoint_every = std::chrono::milliseconds(50);
    return options;
  }
  std::string Path(const std::string& name) { return folder_.data() + "/ledger/" + name; }

  // So many entries and those that a start writes, by a gate that then stops.
  void Fill(int entries, uint64_t segment_bytes = 256 * 1024) {
    auto opened = Ledger::Open(Options(segment_bytes), folder_.keys());
    ASSERT_TRUE(opened) << opened.error().operator_detail;
    std::vector<std::thread> threads;
    for (int t = 0; t < 16; ++t) {
      threads.emplace_back([&, t] {
        for (int i = t; i < entries; i += 16) EXPECT_TRUE((*opened)->AppendAndWait(SomeDraft(std::to_string(i))));
      });
    }
    for (auto& thread : threads) thread.join();
  }

  VerifyOptions Asked(const std::string& from = {}) {
    VerifyOptions options;
    options.folder.files = &files_;
    options.folder.path = folder_.data() + "/ledger";
    options.threads = 1;
    options.patience = std::chrono::milliseconds(0);
    options.key = key_;
    options.from = from;
    return options;
  }
  Verification Verify(const std::string& from = {}) {
    auto done = VerifyLedger(Asked(from));
    EXPECT_TRUE(done) << done.error().message;
    return done ? std::move(*done) : Verification{};
  }
  void ExpectWhole() {
    const Verification whole = Verify();
    for (const Finding& one : whole.findings) ADD_FAILURE() << one.entry.value_or(UINT64_MAX) << ": " << one.what;
  }
  // The entry that byte `at` of a file belongs to, where it is one of an entry or of its hash.
  std::optional<uint64_t> EntryAt(const std::string& path, size_t at) {
    const std::string name = path.substr((folder_.data() + "/ledger/").size());
    const std::string content = files_.Content(path);
    if (const auto tile = ParseTilePath(name)) {
      if (tile->level == 0) return tile->number * kTileWidth + at / sizeof(Hash);
      if (tile->level != kEntriesLevel) return std::nullopt;
      size_t begin = 0;
      for (uint64_t seq = tile->number * kTileWidth;; ++seq) {
        begin += 2 + (static_cast<size_t>(static_cast<uint8_t>(content[begin])) << 8 |
                      static_cast<uint8_t>(content[begin + 1]));
        if (at < begin) return seq;
      }
    }
    return std::nullopt;
  }

  LedgerFolder folder_;
  SimFiles files_;
  std::optional<VerifierKey> key_;
};

TEST_F(VerifyTest, AWholeLedgerIsWhole) {
  for (int entries : {0, 1, 200, 60, 300, 3'000}) {
    Fill(entries);
    ExpectWhole();
    const Verification whole = Verify();
    EXPECT_EQ(whole.checkpoint.size, whole.entries) << "a gate that stops has signed everything";
    key_ = *ParseVerifierKey(files_.Content(Path("vkey")));
  }
}

TEST_F(VerifyTest, EveryFlippedByteIsFoundAndItsEntryNamed) {
  Fill(12, 16 * 1024);
  ExpectWhole();
  key_ = *ParseVerifierKey(files_.Content(Path("vkey")));
  size_t flips = 0, named = 0;
  for (const std::string& path : files_.Paths()) {
    const std::string content = files_.Content(path);
    for (size_t at = path.size() % kEvery; at < content.size(); at += kEvery) {
      const std::optional<uint64_t> entry = EntryAt(path, at);
      std::string changed = content;
      changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 8)));
      files_.Overwrite(path, changed);
      const Verification found = Verify();
      files_.Overwrite(path, content);
      ASSERT_FALSE(found.findings.empty()) << path << " byte " << at;
      ++flips;
      if (!entry) continue;
      ++named;
      ASSERT_EQ(found.findings.front().entry, entry) << path << " byte " << at << ": " << found.findings.front().what;
    }
  }
  EXPECT_GT(flips, 30'000u / kEvery);
  EXPECT_GT(named, 5'000u / kEvery);
  ExpectWhole();
}

// Of a larger ledger files are cut, removed, exchanged, and altered in several places; what was there before comes back
// afterwards.
TEST_F(VerifyTest, NoManipulationIsMissed) {
  Fill(3'000);
  ExpectWhole();
  key_ = *ParseVerifierKey(files_.Content(Path("vkey")));
  std::mt19937 random(7);
  std::vector<std::string> paths;
  for (const std::string& path : files_.Paths())
    if (!path.ends_with("/lock")) paths.push_back(path);
  const std::vector<Tile> partial = PartialTiles(Verify().checkpoint.size);
  const auto pick = [&](size_t below) { return static_cast<size_t>(random() % below); };
  for (int round = 0; round < 10'000 / static_cast<int>(kEvery); ++round) {
    const std::string path = paths[pick(paths.size())], other = paths[pick(paths.size())];
    const std::string content = files_.Content(path), other_content = files_.Content(other);
    std::string changed = content;
    std::optional<uint64_t> entry;
    const char* what = "";
    switch (pick(6)) {
      case 0: {
        what = "a byte is altered";
        const size_t at = pick(content.size());
        changed[at] = static_cast<char>(changed[at] + 1 + static_cast<int>(pick(255)));
        entry = EntryAt(path, at);
        break;
      }
      case 1:
        what = "the file is cut";
        changed.resize(pick(content.size()));
        break;
      case 2:
        what = "bytes are added";
        changed.append(1 + pick(100), static_cast<char>(1 + pick(255)));
        break;
      case 3:
        what = "bytes are taken out";
        changed.erase(pick(content.size()), 1 + pick(40));
        break;
      case 4:
        what = "it is another file";
        changed = other_content;
        break;
      default:
        what = "it is gone";
        break;
    }
    const bool gone = *what == 'i' && std::string(what) == "it is gone";
    if (!gone && changed == content) continue;
    // That a partial tile of an earlier checkpoint is gone says nothing: it may be.
    const auto tile = ParseTilePath(path.substr(Path("").size()));
    if (gone && path == paths.back()) continue;  // the segment made ahead: it holds nothing yet
    if (gone && tile && tile->width < kTileWidth && std::ranges::find(partial, *tile) == partial.end()) continue;
    gone ? files_.Delete(path) : files_.Overwrite(path, changed);
    const Verification found = Verify();
    files_.Overwrite(path, content);
    ASSERT_FALSE(found.findings.empty()) << path << ": " << what;
    if (entry) ASSERT_EQ(found.findings.front().entry, entry) << path << ": " << what << ": " << found.findings[0].what;
  }
  ExpectWhole();
}

// Somebody who has the key can sign anything, but not make two histories one.
TEST_F(VerifyTest, AForkIsFoundByAnEarlierCheckpoint) {
  Fill(300);
  const std::string early = files_.Content(Path("checkpoint"));
  Fill(300);
  EXPECT_TRUE(Verify(early).findings.empty());
  const std::string late = files_.Content(Path("checkpoint"));
  for (const std::string& path : files_.Paths())
    if (path.starts_with(Path(""))) files_.Delete(path);
  std::filesystem::remove_all(folder_.data() + "/index");
  std::filesystem::remove_all(folder_.data() + "/keys/persons");
  Fill(700);
  EXPECT_TRUE(Verify().findings.empty());
  EXPECT_FALSE(Verify(early).findings.empty());
  EXPECT_FALSE(Verify(late).findings.empty());
  EXPECT_FALSE(Verify("nonsense").findings.empty());
}

// What was examined up to an earlier checkpoint is not read again; what has come since is.
TEST_F(VerifyTest, GoesOnFromAnEarlierCheckpoint) {
  Fill(700);
  const std::string from = files_.Content(Path("checkpoint"));
  const uint64_t before = Verify().checkpoint.size;
  Fill(700);
  VerifyOptions options = Asked(from);
  options.resume = true;
  EXPECT_TRUE(VerifyLedger(options)->findings.empty());
  const auto alter = [&](const std::string& name) {
    std::string bytes = files_.Content(Path(name));
    bytes[bytes.size() / 2] ^= 1;
    files_.Overwrite(Path(name), bytes);
  };
  alter("tile/entries/000");
  EXPECT_TRUE(VerifyLedger(options)->findings.empty()) << "it was not read again";
  alter("tile/0/000");
  EXPECT_EQ(VerifyLedger(options)->findings.size(), 1u) << "hashes are judged all the same";
  alter("tile/0/000");
  alter("tile/entries/004");
  auto found = VerifyLedger(options)->findings;
  ASSERT_FALSE(found.empty());
  for (const Finding& one : found) EXPECT_GE(one.entry, before) << one.what;
  EXPECT_LT(Verify(from).findings[0].entry, before);
}

// The file that the gate keeps of what witnesses cosigned.
TEST_F(VerifyTest, WhatWitnessesCosignedBinds) {
  Fill(300);
  const SigningKey witness("w.example/one", SignatureType::cosignature, Secret(std::string(32, 'w')));
  VerifyOptions options = Asked();
  options.witnesses = {witness.verifier()};
  const std::string bare = files_.Content(Path("checkpoint"));
  const uint64_t size = Verify().checkpoint.size;
  const auto now = static_cast<uint64_t>(folder_.clock().WallMicros() / 1'000'000);
  const auto cosigned = [&](uint64_t seconds) {
    Note note = *ParseNote(bare);
    note.signatures.push_back(Cosign(note.text, witness, seconds));
    return note.Text();
  };
  const auto verified = [&](const std::string& text) {
    files_.Overwrite(Path("cosigned"), text);
    return *VerifyLedger(options);
  };
  const Verification whole = verified(cosigned(now));
  EXPECT_TRUE(whole.findings.empty());
  ASSERT_TRUE(whole.cosigned);
  EXPECT_EQ(whole.cosigned->size, size);
  EXPECT_EQ(whole.cosigned->witnesses, (std::vector<std::pair<std::string, uint64_t>>{{"w.example/one", now}}));
  EXPECT_TRUE(verified(bare).cosigned->witnesses.empty());
  const auto late = verified(cosigned(now - 600)).findings;  // the entries say a later time than the witness did
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].entry, size - 1);
  const std::string good = cosigned(now);
  for (size_t at = 0; at < good.size(); ++at) {
    // Name and key id: it is of somebody else then.
    if (at >= good.rfind("— ") && at < good.rfind(' ') + 7) continue;
    std::string altered = good;
    altered[at] ^= 1;
    EXPECT_FALSE(verified(altered).findings.empty()) << at << ": " << altered.substr(at - 5, 10);
  }
  // What the policy requires.
  options.required = 1;
  options.grace = std::chrono::seconds(3'600);
  options.now = folder_.clock().WallMicros();
  EXPECT_TRUE(verified(good).findings.empty());
  EXPECT_TRUE(verified(bare).findings.empty()) << "they have an hour";
  options.now += 7'200'000'000;
  EXPECT_TRUE(verified(good).findings.empty()) << "everything was cosigned";
  EXPECT_FALSE(verified(bare).findings.empty());
  files_.Delete(Path("cosigned"));
  EXPECT_FALSE(VerifyLedger(options)->findings.empty());
  Fill(100);
  auto uncosigned = verified(good).findings;
  ASSERT_EQ(uncosigned.size(), 1u);
  EXPECT_EQ(uncosigned[0].entry, size);
  options.required = 0;
  EXPECT_TRUE(verified(good).findings.empty()) << "the ledger has gone on";
  const std::string later = files_.Content(Path("checkpoint"));
  files_.Overwrite(Path("checkpoint"), bare);
  const auto behind = verified(later).findings;
  ASSERT_FALSE(behind.empty());
  EXPECT_EQ(behind[0].entry, size);
}

TEST_F(VerifyTest, ALedgerPutBackIsFoundByALaterCheckpoint) {
  Fill(100);
  std::map<std::string, std::string> before;
  for (const std::string& path : files_.Paths()) before[path] = files_.Content(path);
  Fill(100);
  const std::string late = files_.Content(Path("checkpoint"));
  for (const std::string& path : files_.Paths()) files_.Delete(path);
  for (const auto& [path, content] : before) files_.Overwrite(path, content);
  EXPECT_TRUE(Verify().findings.empty());
  const Verification found = Verify(late);
  ASSERT_FALSE(found.findings.empty());
  EXPECT_EQ(found.findings[0].entry, found.checkpoint.size);
}

TEST_F(VerifyTest, AnotherKeysCheckpointIsFound) {
  Fill(100);
  const VerifierKey own = *ParseVerifierKey(files_.Content(Path("vkey")));
  const SigningKey forged(own.name, SignatureType::ed25519, Secret(32));
  const Checkpoint checkpoint = *OpenCheckpoint(files_.Content(Path("checkpoint")), own);
  files_.Overwrite(Path("checkpoint"), SignNote(checkpoint.Text(), forged).Text());
  EXPECT_FALSE(Verify().findings.empty());
  files_.Overwrite(Path("vkey"), forged.verifier().Text() + "\n");
  EXPECT_TRUE(Verify().findings.empty()) << "who replaces both is found only by a key kept elsewhere";
  key_ = own;
  EXPECT_FALSE(Verify().findings.empty());
}

}  // namespace
}  // namespace ecluse
