// The gate that runs over a data folder, if one does.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace ecluse {

// The process that holds the ledger's lock in `data_dir`, as /proc/locks tells, and that catches SIGHUP, so that it can
// be told to reload. Nullopt where there is none, where it runs out of this process's sight (another container), or on
// a file system that does not tell.
std::optional<pid_t> RunningGate(const std::string& data_dir);

}  // namespace ecluse
