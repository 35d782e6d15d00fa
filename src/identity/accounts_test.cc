#include "identity/accounts.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace {

class SetClock : public Clock {
 public:
  int64_t WallMicros() const override { return now; }
  int64_t BootMicros() const override { return now; }
  int64_t now = 1'000'000'000'000;
};

class AccountsTest : public testing::Test {
 protected:
  AccountsTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ecluse-accounts-XXXXXX").string();
    folder = mkdtemp(pattern.data());
    path = folder + "/accounts.yaml";
  }
  ~AccountsTest() override { std::filesystem::remove_all(folder); }

  static Account Make(const std::string& name, const std::string& password = "pencil") {
    return {name, "north", {"officer", "analyst"}, ScramVerifier::Make(password, "0123456789abcdef", 4096), false, ""};
  }
  void Save(std::vector<Account> list) {
    AccountMap accounts;
    for (Account& account : list) accounts[account.name] = account;
    ASSERT_TRUE(SaveAccounts(path, accounts));
  }
  void Write(const std::string& text) {
    std::ofstream(path) << text;
    chmod(path.c_str(), 0600);
  }
  std::unique_ptr<Accounts> Open() {
    auto opened = Accounts::Open(path, "install-secret", clock);
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  // One whole login, as startup does it.
  static Result<Principal> Login(Accounts& accounts, const std::string& user, const std::string& password,
                                 const std::string& address = "10.0.0.1") {
    auto verifier = accounts.Begin(user, address);
    if (!verifier) return std::unexpected(verifier.error());
    return accounts.Finish(user, address, *verifier, verifier->Matches(password));
  }

  std::string folder, path;
  SetClock clock;
};

TEST_F(AccountsTest, WhatIsSavedIsLoadedAndPrivate) {
  Account locked = Make("bob");
  locked.locked = true;
  locked.lock_reason = "left: \"for good\"\n# not a comment";
  locked.organisation = "süd: 'x'";
  Save({Make("alice"), locked, Make("123"), Make("null")});
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  auto loaded = LoadAccounts(path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  ASSERT_EQ(loaded->size(), 4u);
  EXPECT_EQ(loaded->at("alice").roles, (std::vector<std::string>{"officer", "analyst"}));
  EXPECT_EQ(loaded->at("alice").verifier.Text(), Make("alice").verifier.Text());
  EXPECT_TRUE(loaded->at("bob").locked);
  EXPECT_EQ(loaded->at("bob").lock_reason, locked.lock_reason);
  EXPECT_EQ(loaded->at("bob").organisation, locked.organisation);
  Principal principal = loaded->at("alice").AsPrincipal();
  EXPECT_EQ(principal.default_role, "officer");
  EXPECT_TRUE(principal.roles.contains("analyst"));
}

TEST_F(AccountsTest, AFileThatIsNotThereHoldsNobody) {
  auto loaded = LoadAccounts(path);
  ASSERT_TRUE(loaded);
  EXPECT_TRUE(loaded->empty());
}

TEST_F(AccountsTest, EveryMistakeIsRefusedAtItsPlace) {
  std::string verifier = Make("a").verifier.Text();
  std::string good = "  a: {organisation: o, roles: [r], verifier: \"" + verifier + "\"}\n";
  Write("accounts:\n" + good);
  ASSERT_TRUE(LoadAccounts(path));
  const std::pair<std::string, std::string> bad[] = {
      {"accounts:\n" + good + good, "stands twice"},
      {"accounts:\n" + good + "extra: 1\n", ":3:1: unknown member `extra`"},
      {"accounts:\n  a: {organisation: o, roles: [r], verifier: x}\n", "not a SCRAM-SHA-256 verifier"},
      {"accounts:\n  a: {organisation: o, roles: [r]}\n", "no `verifier`"},
      {"accounts:\n  a: {organisation: o, roles: [], verifier: \"" + verifier + "\"}\n", "roles"},
      {"accounts:\n  a: {organisation: o, organisation: o, roles: [r], verifier: \"" + verifier + "\"}\n", "twice"},
      {"accounts:\n  a: {admin: true, organisation: o, roles: [r], verifier: \"" + verifier + "\"}\n", "`admin`"},
      {"accounts:\n  \"a b\": {organisation: o, roles: [r], verifier: \"" + verifier + "\"}\n", "cannot be"},
      {"accounts: [", ""},
      {"[1]", "not a map"},
  };
  for (const auto& [text, expected] : bad) {
    Write(text);
    auto loaded = LoadAccounts(path);
    ASSERT_FALSE(loaded) << text;
    EXPECT_NE(loaded.error().message.find(expected), std::string::npos) << loaded.error().message;
  }
  Write("accounts:\n" + good);
  chmod(path.c_str(), 0640);
  EXPECT_FALSE(LoadAccounts(path)) << "others may read it";
}

TEST_F(AccountsTest, TheFileStaysWithItsOwner) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can write a file of somebody else's";
  Save({Make("alice")});
  ASSERT_EQ(chown(path.c_str(), 12345, 12345), 0);
  Save({Make("alice"), Make("bob")});
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 12345u);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(AccountsTest, ParallelChangesLoseNothing) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this, i] {
      for (int j = 0; j < 5; ++j) {
        EXPECT_TRUE(ChangeAccounts(path, [&](AccountMap& accounts) -> Status {
          std::string name = "u" + std::to_string(10 * i + j);
          accounts[name] = Make(name);
          return {};
        }));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(LoadAccounts(path)->size(), 40u);
}

TEST_F(AccountsTest, LogsIn) {
  Save({Make("alice")});
  auto accounts = Open();
  auto principal = Login(*accounts, "alice", "pencil");
  ASSERT_TRUE(principal);
  EXPECT_EQ(principal->name, "alice");
  EXPECT_EQ(principal->organisation, "north");
}

TEST_F(AccountsTest, UnknownNamesAndWrongPasswordsLookTheSame) {
  Save({Make("alice")});
  auto accounts = Open();
  auto wrong = Login(*accounts, "alice", "pen");
  auto unknown = Login(*accounts, "nobody", "pen");
  ASSERT_FALSE(wrong);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(wrong.error().sqlstate, "28P01");
  EXPECT_EQ(wrong.error().sqlstate, unknown.error().sqlstate);
  EXPECT_EQ(wrong.error().message, unknown.error().message);
  EXPECT_EQ(wrong.error().hint, unknown.error().hint);
  auto known_challenge = accounts->Begin("alice", "a"), unknown_challenge = accounts->Begin("nobody", "a");
  EXPECT_EQ(known_challenge->iterations, unknown_challenge->iterations);
  EXPECT_EQ(known_challenge->salt.size(), unknown_challenge->salt.size());
  EXPECT_EQ(accounts->Begin("nobody", "b")->salt, unknown_challenge->salt) << "or two tries would tell";
  // Even with a proof for the mock verifier nobody gets in.
  EXPECT_FALSE(accounts->Finish("nobody", "a", *unknown_challenge, true));
}

TEST_F(AccountsTest, AnAccountIsLockedOutAfterFailuresAndReleasedByTime) {
  Save({Make("alice")});
  auto accounts = Open();
  for (const char* user : {"alice", "nobody"}) {
    for (int i = 0; i < limits::kFailedLoginsPerAccount; ++i) {
      auto failed = Login(*accounts, user, "pen", "10.0.0." + std::to_string(i));
      ASSERT_FALSE(failed);
      EXPECT_EQ(failed.error().sqlstate, "28P01") << i;
    }
    auto refused = Login(*accounts, user, "pencil", "10.0.1.1");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().rule, "identity.lockout");
  }
  clock.now += std::chrono::microseconds(limits::kLockoutWindow).count();
  EXPECT_TRUE(Login(*accounts, "alice", "pencil"));
}

TEST_F(AccountsTest, AnAddressIsLockedOutWhateverNamesItTries) {
  Save({Make("alice")});
  auto accounts = Open();
  for (int i = 0; i < limits::kFailedLoginsPerAddress; ++i) {
    EXPECT_FALSE(Login(*accounts, "guess" + std::to_string(i), "x", "10.9.9.9"));
  }
  auto refused = Login(*accounts, "alice", "pencil", "10.9.9.9");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, "identity.lockout");
  EXPECT_TRUE(Login(*accounts, "alice", "pencil", "10.9.9.8"));
}

TEST_F(AccountsTest, ExchangesBegunBeforeALockOutEndWithIt) {
  Save({Make("alice")});
  auto accounts = Open();
  auto begun = accounts->Begin("alice", "a");
  for (int i = 0; i < limits::kFailedLoginsPerAccount; ++i) EXPECT_FALSE(Login(*accounts, "alice", "x"));
  EXPECT_FALSE(accounts->Finish("alice", "a", *begun, true))
      << "a thousand parallel guesses would be a thousand guesses";
}

TEST_F(AccountsTest, SuccessForgetsTheAccountsFailures) {
  Save({Make("alice")});
  auto accounts = Open();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < limits::kFailedLoginsPerAccount - 1; ++i) {
      EXPECT_FALSE(Login(*accounts, "alice", "x", "b" + std::to_string(round)));
    }
    EXPECT_TRUE(Login(*accounts, "alice", "pencil", "b" + std::to_string(round)));
  }
}

TEST_F(AccountsTest, ALockIsToldOnlyToWhoKnowsThePassword) {
  Account bob = Make("bob");
  bob.locked = true;
  bob.lock_reason = "on leave";
  Save({bob});
  auto accounts = Open();
  EXPECT_EQ(Login(*accounts, "bob", "x").error().sqlstate, "28P01");
  auto refused = Login(*accounts, "bob", "pencil");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "this account is locked: on leave");
}

TEST_F(AccountsTest, AChangedFileIsTakenAtTheNextLoginAndABrokenOneIsNot) {
  Save({Make("alice")});
  auto accounts = Open();
  EXPECT_FALSE(Login(*accounts, "carol", "pencil"));
  Save({Make("alice"), Make("carol")});
  EXPECT_TRUE(Login(*accounts, "carol", "pencil"));
  const Principal carol = accounts->snapshot()->at("carol").AsPrincipal();
  EXPECT_TRUE(accounts->StillValid(carol, "officer"));
  Principal other = carol;
  other.credential[0] ^= 1;
  EXPECT_EQ(accounts->StillValid(other, "officer").error().rule, "identity.changed");
  other = carol;
  other.organisation = "elsewhere";
  EXPECT_EQ(accounts->StillValid(other, "officer").error().rule, "identity.changed");
  EXPECT_EQ(accounts->StillValid(carol, "admiral").error().rule, "identity.role");
  uint64_t generation = accounts->generation();
  Write("nonsense");
  EXPECT_TRUE(Login(*accounts, "carol", "pencil")) << "what was loaded stays in force";
  EXPECT_FALSE(accounts->Reload());
  EXPECT_EQ(accounts->generation(), generation);
  Save({Make("alice")});
  accounts->ReloadIfChanged();
  EXPECT_NE(accounts->generation(), generation);
  EXPECT_FALSE(accounts->StillValid(carol, "officer"));
  EXPECT_EQ(accounts->StillValid(carol, "officer").error().sqlstate, "28000");
}

TEST_F(AccountsTest, AChangedFileIsReadOnceForAllWhoComeAtOnce) {
  std::vector<Account> many;
  for (int i = 0; i < 2'000; ++i) many.push_back(Make("account" + std::to_string(i)));
  Save(many);
  auto accounts = Open();
  Save(many);
  uint64_t generation = accounts->generation();
  std::vector<std::thread> logins;
  for (int i = 0; i < 8; ++i)
    logins.emplace_back([&, i] { EXPECT_TRUE(Login(*accounts, "account" + std::to_string(i), "pencil")); });
  for (std::thread& login : logins) login.join();
  EXPECT_EQ(accounts->generation(), generation + 1) << "read once for all who came at once";
}

TEST_F(AccountsTest, AFileThatCannotBeTakenIsComplainedOfOnceAndTakenAsSoonAsItCan) {
  Save({Make("alice")});
  auto accounts = Open();
  std::string log = folder + "/log";
  auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(log);
  Log().sinks().push_back(sink);
  auto complaints = [&] {
    sink->flush();
    std::vector<std::string> lines;
    std::ifstream in(log);
    for (std::string line; std::getline(in, line);)
      if (line.find("the accounts stay as they were") != std::string::npos) lines.push_back(line);
    return lines;
  };
  Write("nonsense: 1");
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Login(*accounts, "alice", "pencil"));
  ASSERT_EQ(complaints().size(), 1u);
  EXPECT_NE(complaints()[0].find("Allowed is accounts."), std::string::npos) << "what to do: " << complaints()[0];
  EXPECT_FALSE(accounts->Reload());
  EXPECT_EQ(complaints().size(), 2u) << "whoever asks is answered";
  Save({Make("carol")});
  chmod(path.c_str(), 0644);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(Login(*accounts, "carol", "pencil"));
  EXPECT_EQ(complaints().size(), 3u);
  chmod(path.c_str(), 0600);
  EXPECT_TRUE(Login(*accounts, "carol", "pencil")) << "only its mode has changed";
  Log().sinks().pop_back();
}

}  // namespace
}  // namespace ecluse
