#include "identity/accounts.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace {

constexpr int64_t kWindowMicros = std::chrono::microseconds(limits::kLockoutWindow).count();

// Changes with every replacement of the file: its inode, size and time of change.
int64_t StampOf(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return 0;
  int64_t nanos = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
  return nanos ^ static_cast<int64_t>(info.st_ino << 20) ^ info.st_size;
}

// One text for a name that does not exist, a wrong password and nothing else.
std::unexpected<Error> WrongPassword(const std::string& user) {
  return Fail(sqlstate::kWrongPassword, "the name or the password is wrong",
              "Check both. After too many failures logins are refused for a while.", "identity.password",
              "failed login as " + Printable(user));
}

}  // namespace

Principal Account::AsPrincipal() const {
  return {name,
          organisation,
          {roles.begin(), roles.end()},
          roles.empty() ? std::string() : roles.front(),
          std::string(verifier.stored_key.begin(), verifier.stored_key.end())};
}

Result<std::unique_ptr<Accounts>> Accounts::Open(std::string path, std::string mock_secret, const Clock& clock) {
  std::unique_ptr<Accounts> accounts(new Accounts(std::move(path), std::move(mock_secret), clock));
  ECLUSE_OK(accounts->Load(StampOf(accounts->path_)));
  return accounts;
}

// Needs `loading_`. What is newer than `stamp` is seen at the next look.
Status Accounts::Load(int64_t stamp) {
  Result<AccountMap> loaded = LoadAccounts(path_);
  if (!loaded) {
    // What is wrong stays wrong until it is written again; what could not be read may be readable in a moment.
    if (loaded.error().sqlstate != sqlstate::kIo) file_stamp_ = stamp;
    return std::unexpected(std::move(loaded).error());
  }
  {
    std::lock_guard lock(mutex_);
    accounts_ = std::make_shared<const AccountMap>(std::move(*loaded));
    generation_.fetch_add(1, std::memory_order_release);
  }
  file_stamp_ = stamp;
  complaint_.clear();
  return {};
}

void Accounts::Complain(const Error& error, bool again) {
  std::string text = Printable(fmt::format("{} {} {}", error.message, error.hint, error.operator_detail));
  if (again || text != complaint_) Log().error("the accounts stay as they were: {}", text);
  complaint_ = std::move(text);
}

Status Accounts::Reload() {
  std::lock_guard one(loading_);
  Status loaded = Load(StampOf(path_));
  if (!loaded) Complain(loaded.error(), true);
  return loaded;
}

void Accounts::ReloadIfChanged() {
  if (StampOf(path_) == file_stamp_) return;
  std::lock_guard one(loading_);
  int64_t stamp = StampOf(path_);
  if (stamp == file_stamp_) return;  // another thread has read it meanwhile
  if (Status loaded = Load(stamp); !loaded) Complain(loaded.error(), false);
}

std::shared_ptr<const AccountMap> Accounts::snapshot() const {
  std::lock_guard lock(mutex_);
  return accounts_;
}

bool Accounts::LockedOut(const FailureMap& map, const std::string& key, int limit) const {
  auto found = map.find(key);
  return found != map.end() && found->second.count >= limit &&
         clock_.BootMicros() - found->second.first_micros < kWindowMicros;
}

void Accounts::Count(FailureMap& map, const std::string& key) {
  int64_t now = clock_.BootMicros();
  if (map.size() >= limits::kFailedLoginsKept) {
    std::erase_if(map, [&](const auto& entry) { return now - entry.second.first_micros >= kWindowMicros; });
    // Still full: somebody invents names. Forgetting any is better than growing; addresses are limited all the same.
    if (map.size() >= limits::kFailedLoginsKept) map.erase(map.begin());
  }
  Failures& failures = map[key];
  if (failures.count == 0 || now - failures.first_micros >= kWindowMicros) failures = {0, now};
  ++failures.count;
}

Result<ScramVerifier> Accounts::Begin(const std::string& user, const std::string& address) {
  ReloadIfChanged();
  ScramVerifier mock = ScramVerifier::Mock(user, mock_secret_);
  std::lock_guard lock(mutex_);
  if (LockedOut(by_account_, user, limits::kFailedLoginsPerAccount) ||
      LockedOut(by_address_, address, limits::kFailedLoginsPerAddress)) {
    return Fail(sqlstate::kUnknownUser, "too many failed logins",
                "Wait " + std::to_string(limits::kLockoutWindow.count()) + " minutes and try again.",
                "identity.lockout", "login as " + Printable(user) + " refused: locked out");
  }
  auto found = accounts_->find(user);
  return found == accounts_->end() ? mock : found->second.verifier;
}

Result<Principal> Accounts::Finish(const std::string& user, const std::string& address, const ScramVerifier& verifier,
                                   bool proof) {
  std::lock_guard lock(mutex_);
  auto found = accounts_->find(user);
  bool exists = found != accounts_->end() && found->second.verifier.stored_key == verifier.stored_key;
  // Exchanges that were under way when the lock-out began end with it, or parallel ones would each have a guess of
  // their own.
  bool late = LockedOut(by_account_, user, limits::kFailedLoginsPerAccount) ||
              LockedOut(by_address_, address, limits::kFailedLoginsPerAddress);
  if (!proof || !exists || late) {
    Count(by_account_, user);
    Count(by_address_, address);
    return WrongPassword(user);
  }
  const Account& account = found->second;
  if (account.locked) {
    return Fail(sqlstate::kUnknownUser, "this account is locked: " + account.lock_reason,
                "Whoever manages the gate's accounts can unlock it.", "identity.locked");
  }
  by_account_.erase(user);
  return account.AsPrincipal();
}

Status Accounts::StillValid(const Principal& principal, const std::string& role) const {
  std::lock_guard lock(mutex_);
  auto found = accounts_->find(principal.name);
  if (found == accounts_->end()) {
    return Fail(sqlstate::kUnknownUser, "this account no longer exists",
                "Whoever manages the gate's accounts can say why.", "identity.removed");
  }
  if (found->second.locked) {
    return Fail(sqlstate::kUnknownUser, "this account is locked: " + found->second.lock_reason,
                "Whoever manages the gate's accounts can unlock it.", "identity.locked");
  }
  const Principal now = found->second.AsPrincipal();
  if (now.credential != principal.credential || now.organisation != principal.organisation) {
    return Fail(sqlstate::kUnknownUser, "this account's password or organisation has changed",
                "Connect again, with the new password.", "identity.changed");
  }
  const std::vector<std::string>& roles = found->second.roles;
  if (!role.empty() && std::find(roles.begin(), roles.end(), role) == roles.end()) {
    return Fail(sqlstate::kUnknownUser, "this account may no longer act as " + role,
                "Connect again to go on with the roles that it has.", "identity.role");
  }
  return {};
}

}  // namespace ecluse
