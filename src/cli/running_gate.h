// The gate that runs over a data folder, if one does.
#pragma once

#include <sys/types.h>

#include <boost/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "policy/policy.h"
#include "vault/keys.h"

namespace ecluse {

// The process that holds the ledger's lock in `data_dir`, as /proc/locks tells, and that catches SIGHUP, so that it can
// be told to reload. Nullopt where there is none, where it runs out of this process's sight (another container), or on
// a file system that does not tell.
std::optional<pid_t> RunningGate(const std::string& data_dir);

// Has the gate that runs over the policy's data folder do something (control_socket.h), and says what it answered.
// Nullopt where none runs; refuses where one does that cannot be asked.
Result<std::optional<std::string>> AskIfRunning(const Policy& policy, const boost::json::object& request);

// Refuses where the data folder belongs to somebody else than who runs this.
Status CheckGateUser(const Policy& policy);

// Has a running gate take the keys that a command has changed.
Status GiveKeys(const Policy& policy);

// Writes an entry of kind `key` that says what a command has done: by the running gate, or in its absence. Nothing
// where there is no ledger yet.
Status WriteKeyEntry(const Policy& policy, KeyRing& keys, const std::string& reason);

// The same of kind `collection`: what `ecluse load` does, and how many rows it has loaded. `reason` begins with
// kLoadEntry.
Status WriteCollectionEntry(const Policy& policy, KeyRing& keys, const std::string& reason, uint64_t rows);

}  // namespace ecluse
