// Accounts: who may log in with a password. One YAML file of SCRAM-SHA-256 verifiers, managed by `ecluse account`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "identity/principal.h"
#include "pgwire/scram.h"
#include "pgwire/startup.h"

namespace ecluse {

struct Account {
  std::string name;
  std::string organisation;
  std::vector<std::string> roles;  // in the file's order; the first is the one a session starts in
  ScramVerifier verifier;
  bool locked = false;
  std::string lock_reason;

  Principal AsPrincipal() const;
};

// The file's content: immutable once loaded.
using AccountMap = std::map<std::string, Account>;

// Reads the file strictly: an unknown or missing member, a duplicate name, a verifier that cannot be read, or a file
// that others may read or write is an Error that names the line. A file that does not exist holds no accounts.
Result<AccountMap> LoadAccounts(const std::string& path);

// Replaces the file by one that holds `accounts`: written beside it with mode 0600, synced, renamed, the folder synced.
// A reader sees the old file or the new one.
Status SaveAccounts(const std::string& path, const AccountMap& accounts);

// Changes the file under an exclusive lock (a file `<path>.lock`), so that two commands at once lose nothing: loads,
// calls `change`, saves where it succeeded.
Status ChangeAccounts(const std::string& path, const std::function<Status(AccountMap&)>& change);

// Two people who answer for what they ask for: two accounts, neither of them locked, each with its password. 28P01 says
// that somebody is wrong, and who.
struct Approver {
  std::string account;
  Secret password;
};
Status CheckTwoPeople(const AccountMap& accounts, std::span<const Approver> people);

// A name that can be an account: 1 to 63 characters of letters, digits and `._@-`.
bool ValidAccountName(const std::string& name);

// The accounts of a running gate, and its memory of failed logins. Thread-safe.
class Accounts : public Authenticator {
 public:
  // Loads `path`. Wrong passwords and unknown names cannot be told apart: unknown names get a verifier derived from
  // `mock_secret`, which should be the same after a restart.
  static Result<std::unique_ptr<Accounts>> Open(std::string path, std::string mock_secret, const Clock& clock);

  // Takes the file's content of now. On failure what was loaded stays in force, and the log says why.
  Status Reload();
  // The same where the file has changed since; the log says why not once. Cheap enough to call for every login: one
  // thread reads, and a file that is wrong is not read again before it is another.
  void ReloadIfChanged();

  std::shared_ptr<const AccountMap> snapshot() const;

  Result<ScramVerifier> Begin(const std::string& user, const std::string& address) override;
  Result<Principal> Finish(const std::string& user, const std::string& address, const ScramVerifier& verifier,
                           bool proof) override;

  // Changes whenever the accounts do. For sessions that are already open: where it is not what they saw last, they ask
  // StillValid() again.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // Whether `principal` may still act, and as `role`: the account exists, is not locked, has the role, and its password
  // and organisation are those it came with. 28000 says what changed.
  Status StillValid(const Principal& principal, const std::string& role) const;

 private:
  struct Failures {
    int count = 0;
    int64_t first_micros = 0;
  };
  using FailureMap = std::unordered_map<std::string, Failures>;
  Accounts(std::string path, std::string mock_secret, const Clock& clock)
      : path_(std::move(path)), mock_secret_(std::move(mock_secret)), clock_(clock) {}
  Status Load(int64_t stamp);
  void Complain(const Error& error, bool again);
  bool LockedOut(const FailureMap& map, const std::string& key, int limit) const;
  void Count(FailureMap& map, const std::string& key);

  std::string path_;
  std::string mock_secret_;
  const Clock& clock_;
  std::mutex loading_;  // one thread reads the file; before `mutex_`
  std::atomic<int64_t> file_stamp_ = 0;
  std::string complaint_;  // what the log has said of the file; under `loading_`
  mutable std::mutex mutex_;
  std::shared_ptr<const AccountMap> accounts_;
  std::atomic<uint64_t> generation_ = 0;
  FailureMap by_account_, by_address_;
};

}  // namespace ecluse
