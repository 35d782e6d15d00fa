#include "admit/admitted.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "admit/hours.h"

namespace ecluse {
namespace {

Status CheckPurpose(const Caller& caller) {
  if (caller.purpose.empty() || !caller.role->purposes.contains(caller.purpose)) {
    std::string problem = caller.purpose.empty()
                              ? "this statement asks for people, and the session has not said why"
                              : fmt::format("the purpose {} is not one of role {}", caller.purpose, caller.role->name);
    return Fail(sqlstate::kNotAllowed, std::move(problem),
                fmt::format("Run SET ecluse.purpose = '…' first; this role may use: {}.",
                            fmt::join(caller.role->purposes, ", ")),
                "admit.purpose");
  }
  auto purpose = caller.policy->purposes.find(caller.purpose);
  if (purpose != caller.policy->purposes.end() && purpose->second.reference == Purpose::Reference::required &&
      caller.reference.empty()) {
    return Fail(sqlstate::kNotAllowed, fmt::format("the purpose {} needs a reference", caller.purpose),
                "Run SET ecluse.reference = '…' with the number of the case that justifies it.", "admit.reference");
  }
  return {};
}

}  // namespace

EntryDraft DraftOf(EntryKind kind, const Caller& caller) {
  EntryDraft draft;
  draft.kind = kind;
  draft.policy = caller.policy->digest;
  draft.principal = caller.payer.account;
  draft.organisation = caller.payer.organisation;
  draft.role = caller.payer.role;
  draft.session = caller.session;
  draft.purpose = caller.purpose;
  draft.reference = caller.reference;
  draft.address = caller.payer.address;
  return draft;
}

Result<Admitted> Admit(Admission& admission, const Clock& clock, std::shared_ptr<const Caller> caller,
                       std::shared_ptr<const Plan> plan, int64_t lookups) {
  const Role& role = *caller->role;
  if (clock.BootMicros() - caller->session_start > std::chrono::microseconds(role.lifetime).count()) {
    return Fail(sqlstate::kSessionOver,
                fmt::format("this session is older than the {} minutes that role {} allows", role.lifetime.count() / 60,
                            role.name),
                "Connect again.", "admit.lifetime");
  }
  if (!WithinHours(role.hours, clock.WallMicros())) {
    return Fail(sqlstate::kNotAllowed, fmt::format("role {} may not work at this hour", role.name),
                "Come back within the hours the policy gives this role, or ask whoever runs the gate.", "admit.hours");
  }
  if (plan->guarded) {
    ECLUSE_OK(CheckPurpose(*caller));
    ECLUSE_OK(admission.Lookups(caller->payer, lookups));
  }
  return Admitted(std::move(plan), std::move(caller), lookups);
}

}  // namespace ecluse
