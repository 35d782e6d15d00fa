// Who asks, why, and under which policy: what of a session decides how its statements are read and charged.
#include <fmt/format.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/log.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

}  // namespace

// Moves to the policy in force, between transactions only.
Status Session::AdoptSnapshot() {
  if (snapshot_ && snapshot_->generation == services_.generation()) return {};
  std::shared_ptr<const Snapshot> next = services_.snapshot();
  if (!role_.empty() && !next->logins.contains(role_)) {
    return Fail(sqlstate::kUnknownUser, fmt::format("the policy has no role {} any more", role_),
                "Connect again, or ask whoever runs the gate.", "session.role");
  }
  snapshot_ = std::move(next);
  // What is prepared on this connection was read under the old policy, and what is bound admitted under it.
  cursors_.clear();
  DropPortals();
  if (upstream_ && upstream_->at_rest() && !flushing_ && !sent_) upstream_.Release(Residue::settings);
  context_version_ = UINT64_MAX;
  if (!role_.empty()) RefreshContext();
  return {};
}

// With the first message of a batch, whichever that is: a driver that has prepared what it needs never sends Parse
// again.
Status Session::AdoptAtRest() { return status_ == 'I' && queue_.empty() && !sent_ ? AdoptSnapshot() : Status(); }

Status Session::SwitchRole(const std::string& role) {
  if (!principal_.roles.contains(role)) {
    return Fail(sqlstate::kNotAllowed, fmt::format("this account may not act as {}", role),
                fmt::format("It may act as: {}.", fmt::join(principal_.roles, ", ")), "session.role");
  }
  if (!snapshot_->logins.contains(role)) {
    return Fail(sqlstate::kNotAllowed, fmt::format("the policy has no role {}", role),
                "Ask whoever runs the gate which roles there are.", "session.role");
  }
  ECLUSE_OK(services_.accounts.StillValid(principal_, role));
  role_ = role;
  statements_.clear();
  DropPortals();
  cursors_.clear();
  ReleaseUpstream(residue_ ? Residue::settings : Residue::none);
  context_version_ = UINT64_MAX;
  RefreshContext();
  return {};
}

// Makes caller_ and context_ follow the settings. What is under way keeps the Caller it was admitted with.
void Session::RefreshContext() {
  if (context_version_ == settings_.version()) return;
  context_version_ = settings_.version();
  auto caller = std::make_shared<Caller>();
  caller->policy = snapshot_->policy;
  caller->role = &snapshot_->policy->roles.at(role_);
  caller->payer = {principal_.name, principal_.organisation, address_, role_};
  caller->session = id_;
  caller->purpose = settings_.Text("ecluse.purpose");
  caller->reference = settings_.Text("ecluse.reference");
  caller->session_start = start_;
  caller_ = std::move(caller);
  context_.schema = snapshot_->schemas.at(role_);
  const Settings::Value* path = settings_.Find("search_path");
  context_.search_path = path ? SearchPathNames(path->text) : std::vector<std::string>{"public"};
}

// What a client asked for at startup goes through the same gate as SET.
Result<Settings::Value> Session::CheckedSetting(const std::string& name, const std::string& value) {
  // The name becomes part of a statement.
  if (!std::ranges::all_of(name, IsNameCharacter)) {
    return Fail(sqlstate::kInvalidParameter, fmt::format("{} is not the name of a setting", Printable(name)),
                "Leave it out of the connection string.", "session.startup-setting");
  }
  std::string quoted = "'";
  for (char c : value) quoted.append(c == '\'' || c == '\\' ? 2 : 1, c);
  quoted += "'";
  if (value.find('\\') != std::string::npos) quoted.insert(0, "E");
  // A list is one value to a startup packet and several to SET.
  std::string text = fmt::format("SET {} TO {}", name,
                                 name == "search_path" && value.empty() ? "''"
                                 : name == "search_path"                ? value
                                                                        : quoted);
  ECLUSE_TRY(std::vector<PlannedStatement> plans, services_.planner.PlanSimple(context_, text));
  if (plans.size() != 1 || plans[0].plan->kind != Plan::Kind::set || !plans[0].plan->setting.value) {
    return Fail(sqlstate::kInvalidParameter, fmt::format("{} cannot be set at connection", name),
                "Leave it out of the connection string.", "session.startup-setting");
  }
  const Plan& plan = *plans[0].plan;
  if (plan.gate_answers) ECLUSE_OK(RunSet(plan));
  return Settings::Value{*plan.setting.value, plan.gate_answers ? "" : plan.sql};
}

awaitable<Status> Session::ApplyStartup() {
  for (auto& [name, value] : startup_) {
    if (name == "client_encoding") continue;  // the greeting has accepted it, and PostgreSQL's side is always UTF8
    if (name == "application_name") {
      // Kept by the gate: sent on, it would tie a connection to every session that has a name.
      settings_.Set(name, Settings::Value{value.substr(0, limits::kIdentifier), ""}, false);
      continue;
    }
    Result<Settings::Value> setting = CheckedSetting(name, value);
    if (!setting) co_return std::unexpected(std::move(setting).error());
    if (!setting->sql.empty()) settings_.Set(AsciiLower(name), std::move(*setting), false);
  }
  startup_.clear();
  settings_.Commit();
  RefreshContext();
  co_return Status();
}

}  // namespace ecluse
