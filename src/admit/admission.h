// May they: purposes, hours, budgets. Everything that admission remembers is behind this class, and nothing else counts.
//
// Windows slide over the boot clock. A person counts in a window until one window after their last disclosure. State is a
// function of the ledger: Rebuild() replays it at start.
#pragma once

#include <cstdint>
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
  std::string scope;    // "account", "address", "organisation", "register"
  Window window;        // for statistics rows: counts is lookups and name says so
  std::string name;     // "60 subjects per 1h"
  int64_t used = 0;
  int64_t left = 0;
  int64_t resets_seconds = 0;  // until one more becomes free; 0 where something is left
};

// People and lookups set aside for a batch of rows before its entry is written. Destroying it without Commit() gives them
// back: only where the entry was definitely not written.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&&) noexcept;
  Reservation& operator=(Reservation&&) noexcept;
  ~Reservation();
  void Commit();  // written, or in doubt: stays charged

 private:
  friend class Admission;
  struct Undo;
  std::unique_ptr<Undo> undo_;
};

// Thread-safe: one lock over all windows, held for microseconds.
class Admission {
 public:
  Admission(const Clock& clock);
  ~Admission();

  // Takes limits from a policy; what was counted stays. Called at start and on reload.
  void Configure(std::shared_ptr<const Policy> policy);

  // Replays the ledger's longest window into memory.
  Status Rebuild(Ledger& ledger);

  // Charges `lookups` before a statement runs. Refuses with 53400, naming the budget, used, limit and when it frees;
  // the refusal itself costs one lookup. Also refused while the failures budget is exhausted.
  Status Lookups(const Payer& payer, int64_t lookups);
  // A run-time error over guarded rows.
  void Failure(const Payer& payer);

  // Tries to set aside rows in order, each with the people it tells about, against every limit that applies (account,
  // address, organisation, register). `rows[i]` is the range of `subjects` that row i carries. Returns how many leading
  // rows fit; `refusal` says which budget ended it where not all did.
  struct Fit {
    size_t rows = 0;
    Reservation reservation;
    Error refusal;  // meaningful where rows < offered
  };
  Fit Reserve(const Payer& payer, std::span<const SubjectKey> subjects, std::span<const std::pair<uint32_t, uint32_t>> rows);
  // Nameless people: arms that came back empty. Refuses where they do not fit.
  Result<Reservation> ReserveNameless(const Payer& payer, int64_t people);
  // Rows that are statistics.
  Result<Reservation> ReserveStatistics(const Payer& payer, int64_t rows);

  std::vector<BudgetLine> Budget(const Payer& payer) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ecluse
