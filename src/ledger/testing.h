// For tests of the ledger: a folder of its own, a key ring in it, and drafts.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "ledger/ledger.h"

namespace ecluse {

class LedgerFolder {
 public:
  // `in_memory`: where syncs cost nothing, for tests that simulate the disk.
  explicit LedgerFolder(bool in_memory = false) {
    bool shm = in_memory && std::filesystem::is_directory("/dev/shm");
    folder_ = std::string(shm ? "/dev/shm" : "/tmp") + "/ecluse-ledger-XXXXXX";
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    EXPECT_TRUE(KeyRing::Init(root()));
    auto opened = KeyRing::Open(root(), data());
    EXPECT_TRUE(opened) << opened.error().message;
    keys_ = std::move(*opened);
  }
  ~LedgerFolder() {
    keys_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string root() const { return folder_ + "/root.key"; }
  std::string data() const { return folder_ + "/data"; }
  std::string segment(int number) const { return data() + "/ledger/wal-0000000" + std::to_string(number); }
  KeyRing& keys() { return *keys_; }
  FakeClock& clock() { return clock_; }

  LedgerOptions options() {
    LedgerOptions options;
    options.data_dir = data();
    options.register_name = "interior";
    options.node = "one";
    options.clock = &clock_;
    options.segment_bytes = 256 * 1024;
    return options;
  }
  Result<std::unique_ptr<Ledger>> TryOpen() { return Ledger::Open(options(), keys()); }
  std::unique_ptr<Ledger> Open() {
    auto ledger = TryOpen();
    EXPECT_TRUE(ledger) << ledger.error().message << " / " << ledger.error().operator_detail;
    return ledger ? std::move(*ledger) : nullptr;
  }

  SubjectKey KeyOf(const std::string& id) {
    SubjectKey key;
    keys().SubjectKey("person", id, key.data());
    return key;
  }
  Result<SubjectToken> TokenOf(Ledger& ledger, const std::string& id) { return TokenOf(ledger, "person", id); }
  Result<SubjectToken> TokenOf(Ledger& ledger, std::string_view space, const std::string& id) {
    PersonName person{KeyOf(id), space, id};
    ECLUSE_TRY(auto tokens, ledger.TokensOf({&person, 1}));
    return tokens[0];
  }

 private:
  std::string folder_;
  std::unique_ptr<KeyRing> keys_;
  FakeClock clock_;
};

inline EntryDraft SomeDraft(const std::string& reference = "case-1") {
  EntryDraft draft;
  draft.policy = "ab12";
  draft.principal = "amelie";
  draft.organisation = "brigade-7";
  draft.role = "officer";
  draft.session = "s1";
  draft.purpose = "judicial-inquiry";
  draft.fingerprint = 0x1234;
  draft.statement = "SELECT * FROM taj.person WHERE person_id = $1";
  draft.rows = 1;
  draft.lookups = 1;
  draft.budget = {{"60 subjects per 1h", 59}};
  draft.reference = reference;
  draft.address = "127.0.0.1";
  draft.literals = {"4242"};
  return draft;
}

inline std::vector<StoredEntry> All(Ledger& ledger) {
  std::vector<StoredEntry> all;
  auto done = ledger.Replay(0, [&](const StoredEntry& entry) {
    all.push_back(entry);
    return true;
  });
  EXPECT_TRUE(done) << done.error().operator_detail;
  return all;
}

inline std::vector<StoredEntry> OfKind(const std::vector<StoredEntry>& all, const std::string& kind) {
  std::vector<StoredEntry> out;
  for (const auto& entry : all)
    if (entry.json.find("\"kind\":\"" + kind + "\"") != std::string::npos) out.push_back(entry);
  return out;
}

}  // namespace ecluse
