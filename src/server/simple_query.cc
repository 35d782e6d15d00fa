// The simple query protocol (PostgreSQL manual, "Simple Query"). A text that holds no people goes to PostgreSQL as one
// Query; everything else is run by the extended protocol, statement by statement inside one implicit transaction, and
// answered as a simple Query is.
#include <fmt/format.h>

#include "base/log.h"
#include "execute/run.h"
#include "server/errors.h"
#include "server/refusals.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

namespace {

// A whole text that PostgreSQL may answer by itself.
bool Relayable(const PlannedStatement& statement) {
  const Plan& plan = *statement.plan;
  if (!statement.lifted.empty() || plan.guarded || plan.visible_columns >= 0) return false;
  switch (plan.kind) {
    case Plan::Kind::rows:
    case Plan::Kind::begin:
    case Plan::Kind::commit:
    case Plan::Kind::rollback:
    case Plan::Kind::savepoint:
    case Plan::Kind::close:
    case Plan::Kind::reset_all:
      return true;
    case Plan::Kind::set:
    case Plan::Kind::show:
      return !Session::GateRuns(plan);
    default:
      return false;
  }
}

bool ReturnsRows(const Plan& plan) {
  return plan.kind == Plan::Kind::rows || plan.kind == Plan::Kind::show ||
         (plan.kind == Plan::Kind::write && !plan.swallow) ||             // RETURNING
         (plan.kind == Plan::Kind::set && plan.command_tag == "SELECT");  // set_config
}

// Changes how the statements behind it have to be read.
bool ChangesContext(const Plan& plan) {
  return plan.kind == Plan::Kind::set && (plan.setting.name == "ecluse.role" || plan.setting.name == "search_path");
}

}  // namespace

awaitable<void> Session::OnQuery(std::string text) {
  co_await Drain(true);
  // PostgreSQL passes over a Query too, up to the Sync behind what failed.
  if (ended_ || skip_to_sync_) co_return;
  simple_ = true;
  if (status_ == 'I') {
    if (Status adopted = AdoptSnapshot(); !adopted) co_return Fatal(adopted.error());
  }
  // A simple Query ends the unnamed statement and portal.
  DropPortal("");
  statements_.erase("");
  Result<std::vector<PlannedStatement>> planned = services_.planner.PlanSimple(context_, text);
  if (!planned) {
    services_.refusals.Note(executor(), *caller_, nullptr, planned.error());
    Refuse(planned.error());
    co_return co_await FinishSimple();
  }
  if (planned->size() == 1 && Relayable(planned->front()) &&
      (status_ != 'E' || EndsTransaction(*planned->front().plan))) {
    std::shared_ptr<const Plan> plan = planned->front().plan;
    Result<Admitted> admitted = Admit(services_.admission, services_.clock, caller_, plan, 0);
    Status ready = admitted ? co_await EnsureUpstream() : std::unexpected(admitted.error());
    if (!ready) {
      services_.refusals.Note(executor(), *caller_, plan.get(), ready.error());
      Refuse(ready.error());
      co_return co_await FinishSimple();
    }
    upstream_->WriteQuery(plan->sql);
    sent_ = true;
    residue_ = residue_ || plan->draws_sequence;  // it writes to nobody, or it would not be relayed
    Reply reply;
    reply.kind = Reply::Kind::queried;
    reply.same_text = plan->sql == text;
    reply.plan = std::move(plan);
    queue_.push_back(std::move(reply));
    co_await Drain(false);
    simple_ = false;
    co_return;
  }
  for (size_t i = 0; i < planned->size() && !failed_ && !ended_; ++i) {
    bool last = i + 1 == planned->size();
    if (!last && ChangesContext(*(*planned)[i].plan)) {
      Error error{std::string(sqlstate::kNotAllowed),
                  "the role and the search_path are set by a statement on its own",
                  "Send it as a text of its own, before the others.",
                  "session.set-in-text",
                  {},
                  0};
      services_.refusals.Note(executor(), *caller_, (*planned)[i].plan.get(), error);
      Refuse(error);
      break;
    }
    co_await RunSimple(std::move((*planned)[i]), last);
  }
  co_await FinishSimple();
}

awaitable<void> Session::RunSimple(PlannedStatement statement, bool last) {
  const Plan& plan = *statement.plan;
  if (plan.kind == Plan::Kind::empty) {
    pg::WriteEmpty(client_->out(), 'I');
    co_return;
  }
  if (status_ == 'E' && !EndsTransaction(plan)) co_return Refuse(AbortedTransaction());
  auto portal = std::make_shared<Portal>();
  portal->plan = statement.plan;
  std::vector<std::optional<std::string_view>> values(statement.lifted.begin(), statement.lifted.end());
  portal->bind = TextParameters(values);
  co_await RunPortal(std::move(portal), true, last);
}

// Binds, describes and executes one statement of a simple Query, or of EXECUTE.
awaitable<void> Session::RunPortal(std::shared_ptr<Portal> portal, bool describe, bool last) {
  const Plan& plan = *portal->plan;
  pg::BindMessage message;
  CHECK(pg::ReadBind(portal->bind, &message));
  Status open = co_await OpenPortal(portal, message, false);
  if (failed_ || ended_) co_return KeepUnfinished(std::move(portal));
  if (!open) co_return co_await RefusePortal(std::move(portal), open.error());
  if (GateRuns(plan)) {
    co_await Drain(true);
    if (!failed_ && !ended_) co_await RunGate(std::move(portal), describe);
    co_return;
  }
  if (ReturnsRows(plan)) PushDescribe(portal, describe);
  bool holds = Holds(plan) || wrote_;
  std::string name = portal->upstream_name;
  ExecutePortal(std::move(portal), 0);
  if (holds) co_await Drain(true);  // it may be run once more, under another name
  if (failed_ || ended_) co_return;
  if (!last || InTransaction()) CloseUpstreamPortal(name);
  if (last && !holds && simple_) {
    PushSync(true);
    co_await Drain(false);
    simple_ = simple_ && !queue_.empty();
  } else {
    co_await Drain(true);
  }
}

// RowDescription for the client, and the columns' forms for delivery.
void Session::PushDescribe(std::shared_ptr<Portal> portal, bool show) {
  if (!show && !portal->copy && !(portal->delivery && portal->delivery->needs_forms())) return;
  pg::WriteDescribe(upstream_->out(), 'P', portal->upstream_name);
  Reply describe;
  describe.kind = Reply::Kind::portal_described;
  describe.show = show;
  describe.rows_only = true;
  describe.portal = std::move(portal);
  queue_.push_back(std::move(describe));
}

// The end of a simple Query: its implicit transaction ends, and the client may go on.
awaitable<void> Session::FinishSimple() {
  if (simple_ && !ended_) {
    PushSync(true);
    co_await Drain(false);
  }
  simple_ = false;
  if (!unfinished_.empty()) co_await CloseDeliveries();
}

}  // namespace ecluse
