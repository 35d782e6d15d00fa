// What every session works with, and what is in force: made by gate.cc (Snapshots by in_force.cc), shared by all io
// threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "admit/admission.h"
#include "base/clock.h"
#include "deliver/delivery.h"
#include "execute/pool.h"
#include "identity/accounts.h"
#include "ledger/ledger.h"
#include "plan/planner.h"
#include "policy/role_schema.h"
#include "vault/keys.h"

namespace ecluse {

class Cancels;
class RefusalLog;

// One policy over one catalog. Immutable; a reload makes another, and sessions move to it between transactions.
struct Snapshot {
  std::shared_ptr<const Policy> policy;
  RoleSchemas schemas;
  std::map<std::string, std::shared_ptr<const UpstreamLogin>> logins;  // by role
  std::shared_ptr<const UpstreamLogin> gate_login;                     // the gate's own
  uint64_t generation = 0;                                             // distinct for each load
};

// Outlives every session. Thread-safe.
struct Services {
  Planner& planner;
  KeyRing& keys;
  Admission& admission;
  Ledger& ledger;
  Accounts& accounts;
  const Clock& clock;
  Cancels& cancels;
  RefusalLog& refusals;
  std::atomic<bool> may_release{false};  // this gate holds the register's lock
  std::atomic<bool> witnessed{true};     // witnesses have cosigned in time, as far as the policy requires it

  std::shared_ptr<const Snapshot> snapshot() const {
    std::lock_guard lock(mutex);
    return current;
  }
  uint64_t generation() const { return generation_now.load(std::memory_order_acquire); }
  void Install(std::shared_ptr<const Snapshot> next) {
    std::lock_guard lock(mutex);
    generation_now.store(next->generation, std::memory_order_release);
    current = std::move(next);
  }

  mutable std::mutex mutex{};
  std::shared_ptr<const Snapshot> current{};
  std::atomic<uint64_t> generation_now{0};
};

}  // namespace ecluse
