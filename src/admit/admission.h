// May they: purposes, hours, budgets. Everything that admission remembers is behind this class, and nothing else
// counts.
//
// Windows slide over the boot clock. A person counts in a window until one window after their last disclosure, and as
// long as a reservation of them is neither committed nor given back. The people an account received are one set, across
// roles and doors, and the limits of the role in use apply to all of it; addresses, organisations and the register have
// sets of their own. Counts of people are exact. Lookups, failures and statistic rows are counted in slices of a window
// (limits::kWindowSlices), each of which leaves the window with its last event: never too few. State is a function of
// the ledger: Rebuild() replays it at start.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/principal.h"
#include "ledger/entry.h"
#include "ledger/ledger.h"
#include "policy/policy.h"

namespace ecluse {

// Whom a charge falls on. Held by a session; strings stay alive with it.
struct Payer {
  std::string account;
  std::string organisation;
  std::string address;
  std::string role;
};

// One limit of the payer's, as SHOW ecluse.budget and RateLimit headers show it.
struct BudgetLine {
  std::string scope;  // "account", "address", "organisation", "register"
  Window window;      // for statistics rows: counts is lookups and name says so
  std::string name;   // "60 subjects per 1h"
  int64_t used = 0;
  int64_t left = 0;
  int64_t resets_seconds = 0;  // until one more becomes free; 0 where something is left
};

// People, or statistic rows, set aside for a batch of rows before its entry is written. Destroying it without Commit()
// gives them back: only where the entry was definitely not written. A person whom another session was given meanwhile
// stays charged. Must not outlive its Admission; a single Reservation is used by one thread at a time.
class Reservation {
 public:
  Reservation();
  Reservation(Reservation&&) noexcept;
  Reservation& operator=(Reservation&&) noexcept;
  ~Reservation();
  void Commit();  // written, or in doubt: stays charged

 private:
  friend class Admission;
  struct Undo;
  std::unique_ptr<Undo> undo_;
};

// Thread-safe: one lock over all windows, held for microseconds. What it keeps is bounded by the longest windows: about
// 60 bytes a person and set.
//
// Every refusal is 53400, names the budget, its limit, what is used and when more becomes free, and never what was
// asked for; it costs the account one lookup, charged here. Rules: "admit.subjects", "admit.lookups", "admit.failures",
// "admit.statistics", "admit.role" (42501: the policy has no such role any more).
class Admission {
 public:
  explicit Admission(const Clock& clock);
  ~Admission();

  // Takes limits from a policy, at start, before Rebuild(). Until it is called everything is refused.
  void Configure(std::shared_ptr<const Policy> policy);

  // Replays the ledger's longest window into memory. Fails with 58030 where an entry in it cannot be read or opened:
  // then nothing may be released. People whose keys were erased count under their tokens.
  Status Rebuild(Ledger& ledger);

  // Takes a new policy while running; what was counted stays. Windows that are new are filled from the ledger first,
  // then `record` is called, both while the old limits hold; where either fails the old policy stays in force.
  Status Reload(std::shared_ptr<const Policy> policy, Ledger& ledger, const std::function<Status()>& record);

  // What a refusal cost the account, for its entry: one lookup where it is one of this class's own, else none.
  static int64_t RefusalLookups(const Error& refusal);

  // Charges `lookups` before a statement runs. Also refused while the failures budget is exhausted.
  Status Lookups(const Payer& payer, int64_t lookups);
  // A run-time error over guarded rows: counts as one failure, and charges no lookup of its own.
  void Failure(const Payer& payer);

  // Tries to set aside rows in order, each with the people it tells about, against every limit that applies (account,
  // address, organisation, register). `rows[i]` is the range [first, second) of `subjects` that row i carries; a person
  // may stand in it several times and counts once. A row fits only with all its people. Returns how many leading rows
  // fit and their reservation; `refusal` says which budget ended it where not all did.
  struct Fit {
    size_t rows = 0;
    Reservation reservation;
    Error refusal;  // meaningful where rows < offered
  };
  Fit Reserve(const Payer& payer, std::span<const SubjectKey> subjects,
              std::span<const std::pair<uint32_t, uint32_t>> rows);
  // Nameless people: arms that came back empty. Each counts as a person nobody else is. Refuses where not all fit.
  Result<Reservation> ReserveNameless(const Payer& payer, int64_t people);
  // Rows that are statistics. They count from the moment they are set aside. A role without statistics is refused.
  Result<Reservation> ReserveStatistics(const Payer& payer, int64_t rows);

  // Every limit of the payer's role and of the scopes it falls under: people first, then lookups, failures and
  // statistics, each in the policy's order. Free of charge.
  std::vector<BudgetLine> Budget(const Payer& payer) const;

 private:
  friend class Reservation;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ecluse
