// The ledger's checkpoint as the register's database keeps it: compared and swapped, so that of two ledgers of one
// origin only one goes on. docs/ledger_format.md, "The register's copy".
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "policy/applied.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "tlog/checkpoint.h"

namespace ecluse {

// Thread-safe.
class RegisterCheckpoint {
 public:
  // `origin` of the ledger.
  RegisterCheckpoint(const Policy& policy, std::string origin, LoginCredentials login)
      : target_(policy.database),
        table_(QuoteTable({NotesSchema(policy), "checkpoint"})),
        origin_(std::move(origin)),
        login_(std::move(login)) {}

  // The note that the database holds, or "". Fails where it cannot be asked.
  Result<std::string> Read();

  // The register's lock is held: from now on checkpoints are told.
  void Begin() { begun_ = true; }
  // Replaces what was read or told last. False: not yet, or the database does not answer, which the log says once.
  // Refuses where the database holds another checkpoint than that. Blocks for limits::kCheckpointWait at most, twice.
  Result<bool> Tell(const std::string& note, const Checkpoint& checkpoint);
  // With which password, from now on.
  void SetLogin(LoginCredentials login);

 private:
  Status Connect();
  Result<bool> Swap(const std::string& note, const Checkpoint& checkpoint);

  const DatabaseTarget target_;
  const std::string table_, origin_;
  std::atomic<bool> begun_ = false;
  std::mutex mutex_;  // of what follows
  LoginCredentials login_;
  std::optional<Database> connection_;
  std::string held_;       // what the database holds
  std::string attempted_;  // what it may hold as well: the answer was lost
  bool silent_ = false;    // it does not answer, and the log has said so
};

}  // namespace ecluse
