// People erased by their key while the ledger, the clock or the keys are not as they should be.
#include <chrono>
#include <thread>

#include "base/limits.h"
#include "base/sim_files.h"
#include "ledger/testing.h"
#include "vault/generations.h"

namespace ecluse {
namespace {

using namespace std::chrono_literals;

class ErasureTest : public testing::Test {
 protected:
  static Result<std::string> Erase(Ledger& ledger, const std::string& id) {
    return ledger.Erase("person:" + id, std::chrono::days(7), "ab12", "request 7", false);
  }
  static std::optional<uint64_t> Entry(Ledger& ledger, std::string_view text) {
    std::optional<uint64_t> found;
    for (const StoredEntry& entry : All(ledger))
      if (entry.json.find(text) != std::string::npos) found = entry.seq;
    return found;
  }
  static bool Known(Ledger& ledger, const SubjectToken& token) {
    auto keys = ledger.KeysOf({&token, 1});
    EXPECT_TRUE(keys);
    return keys && !keys->empty();
  }

  LedgerFolder folder_;
};

// Nobody may be named anew in front of the entry that erases them: they would have two tokens, of which one is found.
TEST_F(ErasureTest, WhatTheDiskHasNoRoomForStandsBeforeWhoComesAgain) {
  SimFiles files;
  LedgerOptions options = folder_.options();
  options.files = &files;
  auto opened = Ledger::Open(options, folder_.keys());
  ASSERT_TRUE(opened);
  Ledger& ledger = **opened;
  auto first = folder_.TokenOf(ledger, "1");
  ASSERT_TRUE(first);
  ASSERT_TRUE(ledger.AppendAndWait(SomeDraft()));
  files.SetCapacity(600 * 1024);
  while (ledger.AppendAndWait(SomeDraft())) {
  }
  EntryDraft alert;
  alert.kind = EntryKind::alert;
  while (ledger.AppendAndWait(alert)) {
  }
  const auto began = std::chrono::steady_clock::now();
  const auto refused = Erase(ledger, "1");
  ASSERT_FALSE(refused) << "not even the reserve has room";
  EXPECT_NE(refused.error().hint.find("once the ledger can be written"), std::string::npos) << refused.error().hint;
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  auto second = folder_.TokenOf(ledger, "1");
  ASSERT_TRUE(second);
  EXPECT_NE(*first, *second);

  files.SetCapacity(UINT64_MAX);  // and nobody appends anything
  std::optional<uint64_t> erasure, again;
  for (int i = 0; i < 100 && !(erasure && again); ++i) {
    std::this_thread::sleep_for(100ms);
    erasure = Entry(ledger, "erased by key at");
    again = Entry(ledger, "\"subject\":\"" + Base64UrlEncode(*second));
  }
  ASSERT_TRUE(erasure && again);
  EXPECT_LT(*erasure, *again);
  const auto done = Erase(ledger, "1");
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_FALSE(Known(ledger, *first));
  EXPECT_FALSE(Known(ledger, *second));
  EXPECT_FALSE(Erase(ledger, "1"));
}

// The reserve is for erasures too, and they wait for no checkpoint.
TEST_F(ErasureTest, AFullDiskAndATreeThatIsBehindDoNotHoldThemUp) {
  SimFiles files;
  LedgerOptions options = folder_.options();
  options.files = &files;
  auto opened = Ledger::Open(options, folder_.keys());
  ASSERT_TRUE(opened);
  Ledger& ledger = **opened;
  ASSERT_TRUE(folder_.TokenOf(ledger, "1"));
  ASSERT_TRUE(ledger.AppendAndWait(SomeDraft()));
  files.SetCapacity(600 * 1024);
  while (ledger.AppendAndWait(SomeDraft())) {
  }
  const auto done = Erase(ledger, "1");
  EXPECT_TRUE(done) << done.error().message;
}

// A copy from before the horizon that was put back: whom it names is closed, and all else goes on.
TEST_F(ErasureTest, KeysWhoseGenerationIsGoneHinderNobody) {
  std::optional<SubjectToken> before;
  {
    auto ledger = folder_.Open();
    auto token = folder_.TokenOf(*ledger, "1");
    ASSERT_TRUE(token);
    before = *token;
    ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  }
  Generations& generations = folder_.keys().generations();
  const std::string old = generations.List().back().id;
  ASSERT_TRUE(generations.Make(folder_.clock().WallMicros()));
  ASSERT_TRUE(generations.Destroy(old));
  EXPECT_FALSE(folder_.TryOpen()) << "until the operator says so";
  std::filesystem::remove(folder_.data() + "/keys/generation");
  std::filesystem::remove_all(folder_.data() + "/index");
  // A ring of its own: one that is open has the keys of literals in memory.
  auto ring = KeyRing::Open(folder_.root(), folder_.data());
  ASSERT_TRUE(ring);
  auto opened = Ledger::Open(folder_.options(), **ring);
  ASSERT_TRUE(opened) << opened.error().message;
  Ledger& ledger = **opened;
  EXPECT_FALSE(Known(ledger, *before));
  EXPECT_TRUE(ledger.AppendAndWait(SomeDraft("case-2"))) << "what it quotes is sealed under another key of its month";
  auto again = folder_.TokenOf(ledger, "1");
  ASSERT_TRUE(again);
  EXPECT_NE(*again, *before);
  const auto done = Erase(ledger, "1");
  EXPECT_TRUE(done) << done.error().message;
}

TEST_F(ErasureTest, WhoIsErasedStandsInNoFileOfTheIndex) {
  auto ledger = folder_.Open();
  auto token = folder_.TokenOf(*ledger, "1");
  ASSERT_TRUE(token && folder_.TokenOf(*ledger, "2"));
  ASSERT_TRUE(ledger->AppendAndWait(SomeDraft()));
  ledger.reset();
  ledger = folder_.Open();  // what was in its log is in a file now
  ASSERT_TRUE(Erase(*ledger, "1"));
  const auto holds = [&](const SubjectKey& key) {
    for (const auto& file : std::filesystem::directory_iterator(folder_.data() + "/index")) {
      const auto kind = file.path().extension();
      if (kind != ".sst" && kind != ".log") continue;  // what the others name is where files begin and end
      auto text = ReadWholeFile(RealFiles(), file.path().string(), 64 << 20);
      if (text && text->find(std::string(key.begin(), key.end())) != std::string::npos) return true;
    }
    return false;
  };
  EXPECT_FALSE(holds(folder_.KeyOf("1")));
  EXPECT_TRUE(holds(folder_.KeyOf("2")));
}

TEST_F(ErasureTest, AnIdAsLongAsMayBeNamedCanBeErased) {
  auto ledger = folder_.Open();
  const std::string id(limits::kSubjectId, '7');
  ASSERT_TRUE(folder_.TokenOf(*ledger, id));
  const auto done = Erase(*ledger, id);
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_FALSE(Erase(*ledger, id + "7"));
}

}  // namespace
}  // namespace ecluse
