// The ledger's checkpoint as the register's database keeps it: compared and swapped, so that of two ledgers of one
// origin only one goes on. docs/ledger_format.md, "The register's copy".
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "base/result.h"
#include "ledger/ledger.h"
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
  // Replaces what was read or told last, or, where the database holds something else, what `ours` says is an earlier
  // checkpoint of this ledger (an answer was lost, or a process that was killed had asked for it). False: not yet, or
  // the database does not take it, which the log says once for each reason. Refuses where it holds what is not ours.
  // Blocks for limits::kUpstreamConnect and some times limits::kCheckpointWait at most.
  Result<bool> Tell(const std::string& note, const Checkpoint& checkpoint, const LedgerOptions::Ours& ours);
  // With which password, from now on.
  void SetLogin(LoginCredentials login);

 private:
  Status Connect();
  Result<std::string> Ask();
  Result<bool> Replace(const std::string& note, const Checkpoint& checkpoint, const LedgerOptions::Ours& ours,
                       Status* refused);
  Result<bool> Swap(const std::string& note, const Checkpoint& checkpoint);

  const DatabaseTarget target_;
  const std::string table_, origin_;
  std::atomic<bool> begun_ = false;
  std::mutex login_mutex_;
  LoginCredentials login_;
  std::mutex mutex_;  // of what follows, held while the database is asked
  std::optional<Database> connection_;
  std::string held_;    // what the database holds, or "" for no row
  std::string reason_;  // why it does not take it, as the log has said last
};

}  // namespace ecluse
