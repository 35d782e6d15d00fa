// Statements that the gate runs itself, between two exchanges with PostgreSQL.
#include <fmt/format.h>

#include "base/limits.h"
#include "execute/run.h"
#include "server/refusals.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

bool Session::GateRuns(const Plan& plan) {
  switch (plan.kind) {
    case Plan::Kind::set:
    case Plan::Kind::show:
      return plan.gate_answers || (plan.setting.name == "application_name" && plan.command_tag != "SELECT");
    case Plan::Kind::prepare:
    case Plan::Kind::execute:
    case Plan::Kind::deallocate:
    case Plan::Kind::fetch:
    case Plan::Kind::discard:
    case Plan::Kind::copy_out:
    case Plan::Kind::copy_in:
    case Plan::Kind::explain:
      return true;
    default:
      return false;
  }
}

const Plan& Session::Shape(const Plan& plan) const {
  if (plan.kind == Plan::Kind::fetch) {
    auto cursor = cursors_.find(plan.name);
    return cursor == cursors_.end() ? plan : *cursor->second.inner;
  }
  if (plan.kind == Plan::Kind::execute) {
    auto statement = statements_.find(plan.name);
    return statement == statements_.end() ? plan : *statement->second.plan;
  }
  return plan;
}

awaitable<void> Session::RunGate(std::shared_ptr<Portal> portal, bool simple) {
  const Plan& plan = *portal->plan;
  Status done;
  switch (plan.kind) {
    case Plan::Kind::set:
      if (plan.setting.name == "ecluse.role") co_await AwaitCancel();
      done = RunSet(plan);
      co_await CloseDeliveries();
      if (done) Complete(plan.setting.value ? "SET" : "RESET");
      break;
    case Plan::Kind::show:
      done = RunShow(plan, simple);
      break;
    case Plan::Kind::prepare:
      done = co_await RunPrepare(plan);
      break;
    case Plan::Kind::execute:
      done = co_await RunExecute(portal, simple);
      break;
    case Plan::Kind::deallocate:
      done = RunDeallocate(plan);
      break;
    case Plan::Kind::fetch:
      done = co_await RunFetch(portal, simple);
      break;
    case Plan::Kind::discard:
      done = co_await RunDiscard(plan);
      break;
    case Plan::Kind::copy_out:
      done = co_await RunCopyOut(portal);
      break;
    case Plan::Kind::copy_in:
      done = co_await RunCopyIn(portal);
      break;
    case Plan::Kind::explain:
      RunExplain(plan, simple);
      break;
    default:
      CHECK(false);
  }
  if (!done && !failed_ && !ended_) co_await RefusePortal(std::move(portal), done.error());
}

// The gate's own settings: why, for which case, and as what.
Status Session::RunSet(const Plan& plan) {
  const Setting& setting = plan.setting;
  std::string value = setting.value.value_or("");
  if (setting.name == "ecluse.role") {
    if (InTransaction()) {
      return Fail("25001", "the role changes only outside a transaction", "Send COMMIT or ROLLBACK first.",
                  "session.role-in-transaction");
    }
    return SwitchRole(setting.value ? value : principal_.default_role);
  }
  if (setting.name == "ecluse.purpose" && setting.value && !caller_->role->purposes.contains(value)) {
    return Fail(sqlstate::kInvalidParameter, fmt::format("the purpose {} is not one of role {}", value, role_),
                fmt::format("This role may use: {}.", fmt::join(caller_->role->purposes, ", ")), "session.purpose");
  }
  if (value.size() > limits::kReference) {
    return Fail(sqlstate::kInvalidParameter, fmt::format("{} takes at most {} bytes", setting.name, limits::kReference),
                "Shorten it.", "session.setting-length");
  }
  if (setting.name == "application_name") pg::WriteParameterStatus(client_->out(), setting.name, value);
  settings_.Set(setting.name, setting.value ? std::optional(Settings::Value{value, ""}) : std::nullopt, setting.local);
  RefreshContext();
  return {};
}

namespace {

// A result of the gate's own: text columns.
class TextRows {
 public:
  TextRows(std::string& out, bool describe, std::initializer_list<std::string_view> columns) : out_(out) {
    if (!describe) return;
    std::vector<pg::FieldDescription> fields;
    for (std::string_view column : columns) {
      pg::FieldDescription& field = fields.emplace_back();
      field.name = column;
      field.type = 25;  // text
      field.type_size = -1;
    }
    pg::WriteRowDescription(out_, fields);
  }
  void Row(std::initializer_list<std::string_view> values) {
    std::vector<pg::Values::Value> row(values.begin(), values.end());
    pg::WriteDataRow(out_, row);
  }

 private:
  std::string& out_;
};

std::string_view ReferenceRule(const Policy& policy, const std::string& purpose) {
  auto found = policy.purposes.find(purpose);
  if (found == policy.purposes.end()) return "optional";
  switch (found->second.reference) {
    case Purpose::Reference::none:
      return "none";
    case Purpose::Reference::optional:
      return "optional";
    case Purpose::Reference::required:
      return "required";
  }
  return "required";
}

}  // namespace

void Session::DescribeShow(const std::string& name) {
  std::string& out = client_->out();
  if (name == "ecluse.budget")
    TextRows(out, true, {"scope", "budget", "used", "left", "resets_seconds"});
  else if (name == "ecluse.purposes")
    TextRows(out, true, {"purpose", "reference"});
  else if (name == "ecluse.session")
    TextRows(out, true, {"session", "account", "organisation", "role", "roles", "purpose", "reference", "policy"});
  else
    TextRows(out, true, {std::string_view(name)});
}

Status Session::RunShow(const Plan& plan, bool simple) {
  const std::string& name = plan.setting.name;
  if (simple) DescribeShow(name);
  TextRows rows(client_->out(), false, {});
  if (name == "ecluse.budget") {
    for (const BudgetLine& line : services_.admission.Budget(caller_->payer)) {
      rows.Row({line.scope, line.name, std::to_string(line.used), std::to_string(line.left),
                std::to_string(line.resets_seconds)});
    }
  } else if (name == "ecluse.purposes") {
    for (const std::string& purpose : caller_->role->purposes)
      rows.Row({purpose, ReferenceRule(*caller_->policy, purpose)});
  } else if (name == "ecluse.session") {
    rows.Row({id_, principal_.name, principal_.organisation, role_,
              fmt::format("{}", fmt::join(principal_.roles, ", ")), caller_->purpose, caller_->reference,
              caller_->policy->digest});
  } else if (name == "ecluse.role") {
    rows.Row({role_});
  } else if (name == "search_path") {
    const Settings::Value* path = settings_.Find(name);
    rows.Row({path ? std::string_view(path->text) : std::string_view(kDefaultSearchPath)});
  } else {
    rows.Row({settings_.Text(name)});
  }
  Complete("SHOW");
  return {};
}

Status Session::RunDeallocate(const Plan& plan) {
  if (plan.name.empty()) {
    std::erase_if(statements_, [](const auto& item) { return !item.first.empty(); });
    Complete("DEALLOCATE ALL");
    return {};
  }
  if (statements_.erase(plan.name) == 0) {
    return Fail("26000", fmt::format("prepared statement \"{}\" does not exist", plan.name),
                "It may have ended with a change of role, or DISCARD.", "protocol.statement");
  }
  Complete("DEALLOCATE");
  return {};
}

// Settings of PostgreSQL's go back to what they were at the start, and the client hears of those it keeps track of.
awaitable<Status> Session::ResetUpstream() {
  co_await AwaitCancel();
  if (!upstream_ && !settings_.touches_upstream()) co_return Status();
  ECLUSE_CO_OK(co_await EnsureUpstream());
  const auto before = upstream_->parameters();
  ECLUSE_CO_OK(co_await upstream_->Run("RESET ALL"));
  for (const auto& [name, value] : upstream_->parameters()) {
    const auto told = before.find(name);
    if (told == before.end() || told->second != value) pg::WriteParameterStatus(client_->out(), name, value);
  }
  co_return Status();
}

awaitable<Status> Session::RunDiscard(const Plan& plan) {
  std::string tag = plan.command_tag.empty() ? "DISCARD ALL" : plan.command_tag;
  if (tag == "DISCARD ALL") {
    if (InTransaction()) {
      co_return Fail("25001", "DISCARD ALL cannot run inside a transaction block", "Send COMMIT or ROLLBACK first.",
                     "session.discard-in-transaction");
    }
    if (sent_) {
      co_return Fail("25001", "DISCARD ALL cannot be executed within a pipeline", "Send Sync first.",
                     "session.discard-in-pipeline");
    }
    ECLUSE_CO_OK(co_await ResetUpstream());
    statements_.clear();
    cursors_.clear();
    settings_.ResetAll();
    RefreshContext();
    ReleaseUpstream(Residue::settings);
  }
  Complete(tag);
  co_return Status();
}

awaitable<Status> Session::RunPrepare(const Plan& plan) {
  ECLUSE_CO_OK(RoomForStatement(plan.name, plan.inner->sql.size()));
  ECLUSE_CO_OK(co_await EnsureUpstream());
  // PostgreSQL checks it now, as it would have.
  upstream_->Prepare(plan.inner->sql, plan.inner->parameter_types);
  sent_ = true;
  Reply reply;
  reply.kind = Reply::Kind::parsed;
  reply.show = false;
  reply.ticket = upstream_->parses_sent();
  reply.plan = plan.inner;
  reply.text = plan.name;
  queue_.push_back(std::move(reply));
  Prepared& prepared = statements_[plan.name];
  prepared.plan = plan.inner;
  prepared.generation = context_.schema->generation;
  co_await Drain(true);
  if (!failed_ && !ended_) Complete("PREPARE");
  co_return Status();
}

awaitable<Status> Session::RunExecute(std::shared_ptr<Portal> portal, bool simple) {
  const Plan& plan = *portal->plan;
  auto found = statements_.find(plan.name);
  if (found == statements_.end()) {
    co_return Fail("26000", fmt::format("prepared statement \"{}\" does not exist", plan.name),
                   "PREPARE it again: statements end with the session, DISCARD, and a change of role.",
                   "protocol.statement");
  }
  ECLUSE_CO_OK(Refresh(&found->second));
  if (found->second.plan->kind == Plan::Kind::execute) {
    co_return Fail(sqlstate::kNotSupported, "EXECUTE of an EXECUTE does not pass the gate", "Execute the query itself.",
                   "session.execute-execute");
  }
  pg::BindMessage outer;
  CHECK(pg::ReadBind(portal->bind, &outer));
  BoundValues bound = ValuesOf(outer);
  std::vector<std::optional<std::string_view>> values;
  for (const ValueSource& argument : plan.arguments) {
    if (argument.kind == ValueSource::Kind::constant) {
      values.push_back(argument.null ? std::nullopt : std::optional<std::string_view>(argument.constant));
      continue;
    }
    size_t index = static_cast<size_t>(argument.parameter - 1);
    if (index >= bound.size() || bound[index].binary) {
      co_return Fail(sqlstate::kNotSupported, "EXECUTE takes constants, and parameters in text format",
                     "Use Bind with the prepared statement itself.", "session.execute-argument");
    }
    values.push_back(bound[index].bytes);
  }
  auto inner = std::make_shared<Portal>();
  inner->plan = found->second.plan;
  inner->bind = TextParameters(values);
  inner->formats = portal->formats;
  co_await RunPortal(std::move(inner), simple, false);
  co_return Status();
}

awaitable<Status> Session::RunFetch(std::shared_ptr<Portal> portal, bool simple) {
  const Plan& plan = *portal->plan;
  auto found = cursors_.find(plan.name);
  if (found == cursors_.end()) {
    co_return Fail("34000", fmt::format("cursor \"{}\" does not exist", plan.name),
                   "Declare it again: cursors end with their transaction.", "protocol.cursor");
  }
  Cursor& cursor = found->second;
  auto fetch = std::make_shared<Portal>();
  fetch->upstream_name = NextPortalName();
  fetch->plan = portal->plan;
  fetch->formats = portal->formats;
  if (cursor.inner->guarded) {
    Result<Admitted> admitted = Admit(services_.admission, services_.clock, caller_, cursor.inner, cursor.lookups);
    if (!admitted) co_return std::unexpected(std::move(admitted).error());
    DeliveryServices services{services_.keys, services_.admission, services_.ledger, services_.may_release,
                              services_.witnessed};
    fetch->delivery = std::make_unique<Delivery>(services, std::move(*admitted), cursor.asked, cursor.literals,
                                                 plan.swallow ? Delivery::kSwallowAll : 0);
    fetch->delivery->Resume(cursor.seen);
    if (Status begun = fetch->delivery->Begin(); !begun) {
      portal->delivery = std::move(fetch->delivery);
      co_return begun;
    }
  }
  std::vector<int16_t> formats;
  Status ready = co_await EnsureUpstream();
  if (ready && fetch->delivery) SetSealedForms(*cursor.inner, fetch->formats, fetch->delivery.get());
  if (ready && fetch->delivery && !cursor.bind.empty()) {
    std::string bind = cursor.bind;
    ready = co_await ResolvePeople(cursor.inner, &bind, fetch->delivery.get());
  }
  if (ready) ready = ResultFormats(*cursor.inner, fetch->formats, &formats);
  if (!ready) {
    portal->delivery = std::move(fetch->delivery);
    co_return ready;
  }
  std::string_view statement = upstream_->Prepare(plan.sql, {});
  pg::BindMessage none;
  AppendBind(upstream_->out(), fetch->upstream_name, statement, none, formats);
  sent_ = true;
  Reply bound;
  bound.kind = Reply::Kind::bound;
  bound.show = false;
  bound.portal = fetch;
  queue_.push_back(std::move(bound));
  PushDescribe(fetch, simple);
  ExecutePortal(fetch, 0);
  CloseUpstreamPortal(fetch->upstream_name);
  co_await Drain(true);
  if (fetch->delivery && !ended_) {
    if (auto still = cursors_.find(plan.name); still != cursors_.end()) {
      still->second.seen = fetch->delivery->seen();
      if (!failed_) {  // written down with this FETCH
        still->second.asked.clear();
        still->second.bind.clear();
        still->second.lookups = std::max(still->second.inner->arms, 1);
      }
    }
  }
  co_return Status();
}

void Session::RunExplain(const Plan& plan, bool simple) {
  TextRows rows(client_->out(), simple, {"QUERY PLAN"});
  for (const std::string& line : plan.lines) rows.Row({line});
  Complete("EXPLAIN");
}

// Describe of what the gate runs.
awaitable<void> Session::DescribeGate(std::shared_ptr<const Plan> plan, std::shared_ptr<Portal> portal) {
  bool statement = portal == nullptr;
  const Plan& shape = Shape(*plan);
  if (&shape != plan.get() || plan->kind == Plan::Kind::fetch) {
    // A cursor's or a prepared statement's columns: PostgreSQL knows them.
    if (Status ready = co_await EnsureUpstream(); !ready) co_return co_await RefuseInPlace(ready.error(), plan);
    const Plan& asked = plan->kind == Plan::Kind::fetch ? *plan : shape;
    pg::WriteDescribe(upstream_->out(), 'S', upstream_->Prepare(asked.sql, asked.parameter_types));
    sent_ = true;
    Reply reply;
    reply.kind = Reply::Kind::statement_described;
    reply.plan = std::move(plan);
    reply.portal = std::move(portal);
    queue_.push_back(std::move(reply));
    co_return;
  }
  co_await Drain(true);
  if (failed_ || ended_) co_return;
  if (statement) pg::WriteParameterDescription(client_->out(), {});
  if (plan->kind == Plan::Kind::show)
    DescribeShow(plan->setting.name);
  else if (plan->kind == Plan::Kind::explain)
    TextRows(client_->out(), true, {"QUERY PLAN"});
  else
    pg::WriteEmpty(client_->out(), 'n');
}

}  // namespace ecluse
