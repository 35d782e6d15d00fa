// The gate as a whole: opened from one policy file, run until it is told to stop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace ecluse {

struct GateOptions {
  std::string config = "ecluse.yaml";
  std::string node;  // the gate's name in the ledger's origin, 1 to 255 of `A-Za-z0-9._-`; empty: the machine's
  int threads = 0;   // io threads; 0: one for each processor
};

// One in a process.
class Gate {
 public:
  // Loads the policy, opens keys and ledger, rebuilds budgets, checks that the policy is the one applied to the
  // database, takes the register's lock, and binds the doors. Refuses, saying what to do, where any of it cannot be
  // done; the message of a policy's problems has a line for each.
  static Result<std::unique_ptr<Gate>> Open(GateOptions options);
  ~Gate();

  // HOST:PORT of the SQL door, with the port that was found where the policy says 0.
  std::string sql_address() const;

  // Serves until SIGTERM or SIGINT, and takes the policy and the accounts anew at SIGHUP. Then takes no more
  // connections, lets transactions end (at most limits::kDrain), writes what is left to write, and returns. The same
  // where something that must go on for as long as the gate does fails, which is the Error.
  Status Run();

 private:
  struct Impl;
  explicit Gate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ecluse
