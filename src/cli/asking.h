// What the commands that ask the ledger are told alike: which ledger, and of when.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "ledger/query.h"
#include "policy/policy.h"
#include "vault/keys.h"

namespace ecluse {

// A ledger with the keys that open it, which it points to.
struct OpenedLedger {
  std::unique_ptr<KeyRing> keys;
  std::unique_ptr<LedgerQuery> query;
};

struct Asking {
  std::string config = "ecluse.yaml";
  std::string former;  // the folder of a ledger that was put away, or empty
  std::string from, to;

  // --config, --former, --from and --to. This object must live as long as `app`.
  void AddOptions(CLI::App* app);
  // An empty one leaves its limit as it is. False where one is no time, which has been said for `command`.
  bool ReadPeriod(const char* command, int64_t* first, int64_t* end) const;
  // Says where there is no such ledger: opening its keys would make some.
  Result<OpenedLedger> Open(const Policy& policy) const;
};

}  // namespace ecluse
