// The extended query protocol (PostgreSQL manual, "Extended Query"), message by message.
#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "execute/run.h"
#include "server/errors.h"
#include "server/refusals.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

namespace {

Error NoStatement(std::string_view name) {
  std::string message = name.empty() ? "unnamed prepared statement does not exist"
                                     : fmt::format("prepared statement \"{}\" does not exist", name);
  return {"26000",
          std::move(message),
          "Prepare it again: statements end with the session, DISCARD, and a change of role.",
          "protocol.statement",
          {},
          0};
}

Error NoPortal(std::string_view name) {
  return {"34000",
          fmt::format("portal \"{}\" does not exist", name),
          "Bind it again: portals end with their transaction.",
          "protocol.portal",
          {},
          0};
}

}  // namespace

void Session::PushText(char type) {
  Reply reply;
  pg::WriteEmpty(reply.text, type);
  queue_.push_back(std::move(reply));
}

// An error of the gate's own takes its place behind what is still to be answered.
awaitable<void> Session::RefuseInPlace(Error error, std::shared_ptr<const Plan> plan) {
  co_await Drain(true);
  if (failed_ || ended_) co_return;
  if (!error.rule.starts_with("protocol.")) services_.refusals.Note(executor(), *caller_, plan.get(), error);
  Refuse(error);
}

awaitable<void> Session::OnParse(pg::Frame frame) {
  pg::ParseMessage message;
  if (!pg::ReadParse(frame.payload, &message)) co_return Malformed("Parse");
  Prepared prepared;
  prepared.text = message.text;
  for (size_t i = 0; i < message.types.size(); ++i) prepared.types.push_back(message.types[i]);
  std::string name(message.name);
  if (Status adopted = AdoptAtRest(); !adopted) co_return Fatal(adopted.error());
  if (Status room = RoomForStatement(name, prepared.text.size()); !room)
    co_return co_await RefuseInPlace(room.error(), nullptr);
  if (name.empty()) statements_.erase(name);
  // A plan depends on settings that statements still in the queue may change.
  if (settings_pending_) co_await Drain(true);
  if (failed_ || ended_) co_return;
  Result<std::shared_ptr<const Plan>> plan = services_.planner.PlanExtended(context_, prepared.text, prepared.types);
  if (!plan) co_return co_await RefuseInPlace(plan.error(), nullptr);
  if (status_ == 'E' && !EndsTransaction(**plan)) co_return co_await RefuseInPlace(AbortedTransaction(), *plan);
  prepared.plan = *plan;
  prepared.generation = context_.schema->generation;
  statements_[name] = std::move(prepared);
  if (GateRuns(**plan) || (*plan)->kind == Plan::Kind::empty) co_return PushText('1');
  if (Status ready = co_await EnsureUpstream(); !ready) co_return co_await RefuseInPlace(ready.error(), *plan);
  uint64_t before = upstream_->parses_sent();
  upstream_->Prepare((*plan)->sql, (*plan)->parameter_types);
  Reply reply;
  reply.kind = Reply::Kind::parsed;
  reply.same_text = (*plan)->sql == statements_[name].text;
  reply.text = std::move(name);
  reply.plan = std::move(*plan);
  if (upstream_->parses_sent() != before) {
    reply.ticket = upstream_->parses_sent();
    sent_ = true;
  }
  queue_.push_back(std::move(reply));
}

Status Session::RoomForStatement(const std::string& name, size_t bytes) const {
  if (!name.empty() && statements_.contains(name)) {
    return Fail("42P05", fmt::format("prepared statement \"{}\" already exists", name),
                "Close or DEALLOCATE it first, or give the new one another name.", "protocol.statement");
  }
  if (statements_.size() >= limits::kPreparedPerSession && !statements_.contains(name)) {
    return Fail(sqlstate::kProgramLimit,
                fmt::format("a session has at most {} prepared statements", limits::kPreparedPerSession),
                "Close or DEALLOCATE those that are no longer used.", "protocol.statement-count");
  }
  if (bytes < limits::kLongMessage) return {};
  for (const auto& [known, statement] : statements_)
    bytes += std::max(statement.text.size(), statement.plan->sql.size());
  if (bytes <= limits::kPreparedBytes) return {};
  return Fail(sqlstate::kProgramLimit,
              fmt::format("the texts of a session's prepared statements have at most {} bytes", limits::kPreparedBytes),
              "Close or DEALLOCATE those that are no longer used.", "protocol.statement-bytes");
}

// A statement whose policy has been replaced is planned again under the new one.
Status Session::Refresh(Prepared* prepared) {
  if (prepared->generation == context_.schema->generation) return {};
  if (prepared->text.empty()) {
    return Fail("26000", "the policy has changed since this statement was prepared", "Prepare it again.",
                "session.policy-changed");
  }
  ECLUSE_TRY(prepared->plan, services_.planner.PlanExtended(context_, prepared->text, prepared->types));
  prepared->generation = context_.schema->generation;
  return {};
}

awaitable<void> Session::OnBind(pg::Frame frame) {
  pg::BindMessage message;
  if (!pg::ReadBind(frame.payload, &message)) co_return Malformed("Bind");
  if (Status adopted = AdoptAtRest(); !adopted) co_return Fatal(adopted.error());
  auto found = statements_.find(message.statement);
  if (found == statements_.end()) co_return co_await RefuseInPlace(NoStatement(message.statement), nullptr);
  if (message.portal.starts_with("__ecluse")) {
    co_return co_await RefuseInPlace({std::string(sqlstate::kNotAllowed),
                                      "names that begin with __ecluse are the gate's",
                                      "Choose another name.",
                                      "protocol.reserved-name",
                                      {},
                                      0},
                                     nullptr);
  }
  auto portal = std::make_shared<Portal>();
  portal->name = message.portal;
  // COMMIT ends the portals bound before it, and not this one.
  if (settings_pending_) co_await Drain(true);
  if (failed_ || ended_) co_return;
  if (!portal->name.empty() && (portals_.contains(portal->name) || cursors_.contains(portal->name))) {
    co_return co_await RefuseInPlace({"42P03",
                                      fmt::format("cursor \"{}\" already exists", portal->name),
                                      "Close it first, or give the new one another name.",
                                      "protocol.portal",
                                      {},
                                      0},
                                     nullptr);
  }
  if (portals_.size() >= limits::kPortalsPerSession) {
    co_return co_await RefuseInPlace({std::string(sqlstate::kProgramLimit),
                                      fmt::format("a session has at most {} portals", limits::kPortalsPerSession),
                                      "Close those that are no longer used.",
                                      "protocol.portal-count",
                                      {},
                                      0},
                                     nullptr);
  }
  if (frame.payload.size() >= limits::kLongMessage) {
    size_t bytes = 0;
    for (const auto& [name, bound] : portals_) bytes += bound->bind.size();
    if (bytes > limits::kPortalBytes) {
      co_return co_await RefuseInPlace(
          {std::string(sqlstate::kProgramLimit),
           fmt::format("the values that a session's portals are bound to have at most {} bytes", limits::kPortalBytes),
           "Close those that are no longer used.",
           "protocol.portal-bytes",
           {},
           0},
          nullptr);
    }
  }
  if (Status fresh = Refresh(&found->second); !fresh) co_return co_await RefuseInPlace(fresh.error(), nullptr);
  portal->plan = found->second.plan;
  portal->same_text = portal->plan->sql == found->second.text;
  for (size_t i = 0; i < message.result_formats.size(); ++i) portal->formats.push_back(message.result_formats.Of(i));
  const Plan& plan = *portal->plan;
  if (Guards(plan) || GateRuns(plan) || plan.kind == Plan::Kind::declare) {
    // What was asked before may change the transaction, and decides whether this may run.
    if (wrote_) co_await Drain(true);
    if (failed_ || ended_) co_return;
    portal->bind = CopyBind(message);
    CHECK(pg::ReadBind(portal->bind, &message));
  }
  if (status_ == 'E' && !EndsTransaction(plan)) co_return co_await RefuseInPlace(AbortedTransaction(), portal->plan);
  Status open = co_await OpenPortal(portal, message, true);
  if (failed_ || ended_) co_return KeepUnfinished(std::move(portal));
  if (!open) co_return co_await RefusePortal(std::move(portal), open.error());
  DropPortal(portal->name);
  portals_[portal->name] = std::move(portal);
  if (unfinished_.size() >= limits::kUnfinishedPortals || frame.payload.size() >= limits::kLongMessage) {
    co_await Drain(true);  // those that are still being answered end by themselves
    if (!failed_ && !ended_) co_await CloseDeliveries();
  }
}

// A statement that was not let run. Where admission had charged something, its own entry says so.
awaitable<void> Session::RefusePortal(std::shared_ptr<Portal> portal, Error error) {
  co_await Drain(true);
  if (failed_ || ended_) co_return KeepUnfinished(std::move(portal));
  if (portal->delivery) {
    Status recorded = co_await portal->delivery->Refuse(error);
    if (!recorded) error = recorded.error();
  } else {
    services_.refusals.Note(executor(), *caller_, portal->plan.get(), error);
  }
  Refuse(error);
}

// A name that no client can give, and that has never been given before: what the session believes of a portal and what
// PostgreSQL holds under its name cannot differ, whatever a savepoint, an error or a CLOSE has done to either.
std::string Session::NextPortalName() { return fmt::format("__ecluse_p{}", ++portal_names_); }

// Portals end with their transaction; inside a long one they would pile up.
void Session::CloseUpstreamPortal(std::string_view name) {
  if (!upstream_ || name.empty()) return;
  upstream_->WriteClose('P', name);
  sent_ = true;
  Reply closed;
  closed.kind = Reply::Kind::closed;
  closed.show = false;
  queue_.push_back(std::move(closed));
}

// A portal that will not be executed any more: what it was charged is written down by CloseDeliveries().
void Session::DropPortal(std::string_view name) {
  auto found = portals_.find(name);
  if (found == portals_.end()) return;
  if (sent_ || status_ == 'T') CloseUpstreamPortal(found->second->upstream_name);
  KeepUnfinished(std::move(found->second));
  portals_.erase(found);
}

// PostgreSQL's have ended, or end with the connection.
void Session::DropPortals() {
  for (auto& [name, portal] : portals_) KeepUnfinished(std::move(portal));
  portals_.clear();
}

void Session::KeepUnfinished(std::shared_ptr<Portal> portal) {
  if (portal->delivery && !portal->delivery->over()) unfinished_.push_back(std::move(portal));
}

awaitable<void> Session::CloseDeliveries() {
  std::vector<std::shared_ptr<Portal>> unfinished = std::exchange(unfinished_, {});
  for (const std::shared_ptr<Portal>& portal : unfinished) {
    if (portal->delivery->over()) continue;
    Status written = co_await portal->delivery->Break("closed before its end");
    if (!written)
      Log().error("session {}: a charge was not written down: {}; {} ({})", id_, written.error().message,
                  written.error().hint, Printable(written.error().operator_detail));
  }
}

awaitable<void> Session::OnDescribe(pg::Frame frame) {
  pg::TargetMessage message;
  if (!pg::ReadTarget(frame.payload, &message)) co_return Malformed("Describe");
  if (Status adopted = AdoptAtRest(); !adopted) co_return Fatal(adopted.error());
  Reply reply;
  if (message.kind == 'S') {
    auto found = statements_.find(message.name);
    if (found == statements_.end()) co_return co_await RefuseInPlace(NoStatement(message.name), nullptr);
    if (Status fresh = Refresh(&found->second); !fresh) co_return co_await RefuseInPlace(fresh.error(), nullptr);
    reply.kind = Reply::Kind::statement_described;
    reply.plan = found->second.plan;
  } else {
    if (settings_pending_ && !portals_.contains(message.name)) co_await Drain(true);
    if (failed_ || ended_) co_return;
    reply.kind = Reply::Kind::portal_described;
    if (auto found = portals_.find(message.name); found != portals_.end()) {
      reply.portal = found->second;
      reply.plan = found->second->plan;
    } else if (auto cursor = cursors_.find(message.name); cursor != cursors_.end()) {
      // A cursor of SQL's is a portal to the protocol; psycopg asks for its columns so.
      reply.portal = std::make_shared<Portal>();
      reply.portal->upstream_name = message.name;
      reply.portal->plan = reply.plan = cursor->second.inner;
    } else {
      co_return co_await RefuseInPlace(NoPortal(message.name), nullptr);
    }
  }
  const Plan& plan = *reply.plan;
  if (GateRuns(plan) || plan.kind == Plan::Kind::empty) {
    co_await DescribeGate(reply.plan, reply.portal);
    co_return;
  }
  if (Status ready = co_await EnsureUpstream(); !ready) co_return co_await RefuseInPlace(ready.error(), reply.plan);
  if (message.kind == 'S')
    pg::WriteDescribe(upstream_->out(), 'S', upstream_->Prepare(plan.sql, plan.parameter_types));
  else
    pg::WriteDescribe(upstream_->out(), 'P', reply.portal->upstream_name);
  sent_ = true;
  queue_.push_back(std::move(reply));
}

awaitable<void> Session::OnExecute(pg::Frame frame) {
  pg::ExecuteMessage message;
  if (!pg::ReadExecute(frame.payload, &message)) co_return Malformed("Execute");
  if (Status adopted = AdoptAtRest(); !adopted) co_return Fatal(adopted.error());
  auto found = portals_.find(message.portal);
  if (found == portals_.end()) co_return co_await RefuseInPlace(NoPortal(message.portal), nullptr);
  std::shared_ptr<Portal> portal = found->second;
  const Plan& plan = *portal->plan;
  if (plan.kind == Plan::Kind::empty) co_return PushText('I');
  // How it went decides whether it can go on.
  if (portal->executing && !queue_.empty()) co_await Drain(true);
  if (failed_ || ended_) co_return;
  if (portal->delivery && portal->delivery->over() && !portal->finished) {
    co_return co_await RefuseInPlace({"55000",
                                      fmt::format("portal \"{}\" cannot be run any more", portal->name),
                                      "Bind it again.",
                                      "protocol.portal-over",
                                      {},
                                      0},
                                     nullptr);
  }
  // What is not a mere reading must not happen where an earlier result is refused after all.
  bool reads = plan.kind == Plan::Kind::rows && !IsWrite(plan);
  if (guarded_pending_ && !reads) co_await Drain(true);
  if (GateRuns(plan)) co_await Drain(true);
  if (failed_ || ended_) co_return;
  if (GateRuns(plan)) co_return co_await RunGate(std::move(portal), false);
  if (portal->finished && plan.guarded) {
    Reply reply;
    pg::WriteCommandComplete(reply.text, "SELECT 0");
    queue_.push_back(std::move(reply));
    co_return;
  }
  bool holds = Holds(plan);
  settings_pending_ = settings_pending_ || MovesSettings(plan) || plan.kind == Plan::Kind::declare;
  ExecutePortal(std::move(portal), message.max_rows);
  if (holds) co_await Drain(true);
}

awaitable<void> Session::OnClose(pg::Frame frame) {
  pg::TargetMessage message;
  if (!pg::ReadTarget(frame.payload, &message)) co_return Malformed("Close");
  if (message.kind == 'S') {
    if (auto found = statements_.find(message.name); found != statements_.end()) statements_.erase(found);
    co_return PushText('3');
  }
  std::string name(message.name);
  if (settings_pending_) co_await Drain(true);
  if (failed_ || ended_) co_return;
  if (auto cursor = cursors_.find(name); cursor != cursors_.end()) {
    // A cursor of SQL's is a portal to the protocol.
    cursors_.erase(cursor);
    CloseUpstreamPortal(name);
  }
  DropPortal(name);
  PushText('3');
}

awaitable<void> Session::OnSync() {
  // What was refused, or could be, must not be followed by PostgreSQL's commit.
  if (!skip_to_sync_ && wrote_ && guarded_pending_) co_await Drain(true);
  skip_to_sync_ = false;
  PushSync(true);
  co_await Drain(false);
  if (!unfinished_.empty()) co_await CloseDeliveries();
}

// Ends a batch: at PostgreSQL where it has heard of it, else by the gate alone.
void Session::PushSync(bool show) {
  Reply reply;
  reply.show = show;
  if (upstream_ && (sent_ || (poison_ && status_ == 'T'))) {
    if (poison_) pg::WriteExecute(upstream_->out(), kPoison, 0);
    upstream_->WriteSync();
    reply.kind = Reply::Kind::synced;
  } else {
    reply.kind = Reply::Kind::ready;
  }
  queue_.push_back(std::move(reply));
}

}  // namespace ecluse
