// The decision that a statement may run, as a value: execute takes an Admitted, and only Admit() makes one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "admit/admission.h"
#include "base/check.h"
#include "base/clock.h"
#include "ledger/entry.h"
#include "plan/plan.h"

namespace ecluse {

// On whose behalf a statement runs, as the session stands now. Immutable; the session makes a new one when a setting
// changes, and what is under way keeps the old.
struct Caller {
  std::shared_ptr<const Policy> policy;
  const Role* role = nullptr;  // inside *policy
  Payer payer;
  std::string session;  // the session's id, as the ledger shows it
  std::string purpose, reference;
  int64_t session_start = 0;  // Clock::BootMicros()
};

// An entry that names the caller, and what for.
EntryDraft DraftOf(EntryKind kind, const Caller& caller);

// Move-only evidence: what was charged for which plan, and on whose behalf.
class Admitted {
 public:
  Admitted(Admitted&&) = default;
  Admitted& operator=(Admitted&&) = default;
  Admitted(const Admitted&) = delete;
  Admitted& operator=(const Admitted&) = delete;

  const Plan& plan() const { return *plan_; }
  const std::shared_ptr<const Plan>& shared_plan() const { return plan_; }
  const Caller& caller() const { return *caller_; }
  const std::shared_ptr<const Caller>& shared_caller() const { return caller_; }
  int64_t lookups() const { return lookups_; }
  // The same decision for the plan that a statistic falls back to; for no other plan.
  Admitted ForFallback() && {
    CHECK(plan_->fallback != nullptr);
    std::shared_ptr<const Plan> fallback = plan_->fallback;
    return Admitted(std::move(fallback), std::move(caller_), lookups_);
  }

 private:
  friend Result<Admitted> Admit(Admission& admission, const Clock& clock, std::shared_ptr<const Caller> caller,
                                std::shared_ptr<const Plan> plan, int64_t lookups);
  Admitted(std::shared_ptr<const Plan> plan, std::shared_ptr<const Caller> caller, int64_t lookups)
      : plan_(std::move(plan)), caller_(std::move(caller)), lookups_(lookups) {}
  std::shared_ptr<const Plan> plan_;
  std::shared_ptr<const Caller> caller_;
  int64_t lookups_;
};

// May this plan run for this caller now? The session's age and the role's hours bind every statement; a guarded one
// also needs a purpose of the role's, a reference where the purpose asks for one, and `lookups` within the budgets,
// which are charged. Refuses with 57P05 (admit.lifetime), 42501 (admit.hours, admit.purpose, admit.reference) or what
// Admission::Lookups says. Thread-safe.
Result<Admitted> Admit(Admission& admission, const Clock& clock, std::shared_ptr<const Caller> caller,
                       std::shared_ptr<const Plan> plan, int64_t lookups);

}  // namespace ecluse
