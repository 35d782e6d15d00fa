// The gate that runs over a data folder, if one does.
#pragma once

#include <sys/types.h>

#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ledger/deletion.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "vault/keys.h"

namespace ecluse {

// The process that holds the ledger's lock in `data_dir`, as /proc/locks tells, and that catches SIGHUP, so that it can
// be told to reload. Nullopt where there is none, where it runs out of this process's sight (another container), or on
// a file system that does not tell.
std::optional<pid_t> RunningGate(const std::string& data_dir);

// Has the gate that runs over the policy's data folder do something (control_socket.h), and says what it answered.
// Nullopt where none runs; refuses where one does that cannot be asked, and between two ledgers.
Result<std::optional<std::string>> AskIfRunning(const Policy& policy, const boost::json::object& request);

// Refuses where a gate runs on the register, or a connection of its logins is open still: what has just been closed is
// given a moment. None begins to run until `owner`'s connection ends. `does`: what a running one would do.
Status CheckNoGate(Database& owner, const Policy& policy, std::string_view does);

// Refuses where the data folder belongs to somebody else than who runs this.
Status CheckGateUser(const Policy& policy);

// Who runs this, as the system knows them: for the ledger.
std::string SystemUser();

// Has a running gate take the keys that a command has changed.
Status GiveKeys(const Policy& policy);

// Writes an entry of kind `key` that says what a command has done: by the running gate, or in its absence. Nothing
// where there is no ledger yet.
Status WriteKeyEntry(const Policy& policy, KeyRing& keys, const std::string& reason);

// The same of kind `collection`: what `ecluse load` does, and how many rows it has loaded. `reason` begins with
// kLoadEntry.
Status WriteCollectionEntry(const Policy& policy, KeyRing& keys, const std::string& reason, uint64_t rows);

// Writes down whose rows a command deletes, durably: by the gate that runs; in its absence into the ledger itself,
// which is then kept open, and no gate can start, for as long as this lives. Refuses where there is no ledger yet. Not
// thread-safe; `policy` and `keys` must outlive it.
class DeletionWriter {
 public:
  DeletionWriter(const Policy& policy, KeyRing& keys);
  ~DeletionWriter();
  Status Write(const Deletion& deletion);

 private:
  const Policy& policy_;
  KeyRing& keys_;
  std::unique_ptr<Ledger> ledger_;
};

}  // namespace ecluse
