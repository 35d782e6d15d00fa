// What PostgreSQL answers, matched with what was asked, and passed on: as it is where nothing is hidden, through
// delivery where people are in it.
#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "deliver/copy_rows.h"
#include "server/errors.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

// Sends what waits and answers the whole queue. With `flush`, PostgreSQL is asked for replies that no Sync has asked
// for.
awaitable<void> Session::Drain(bool flush) {
  if (queue_.empty() && !(upstream_ && upstream_->stream().has_output())) co_return;
  if (upstream_) {
    if (flush && sent_) upstream_->WriteFlush();
    Io io = upstream_->TryFlush();
    if (io == Io::would_block) io = co_await upstream_->Flush();
    if (io != Io::ok) co_return co_await LoseUpstream(upstream_->stream().failure());
  }
  while (!queue_.empty() && !ended_) {
    Reply& reply = queue_.front();
    if (reply.kind == Reply::Kind::text) {
      client_->out() += reply.text;
      Pop();
      continue;
    }
    if (reply.kind == Reply::Kind::ready) {
      EndOfBatch(status_);
      pg::WriteReady(client_->out(), status_);
      Pop();
      continue;
    }
    if (reply.kind == Reply::Kind::parsed && upstream_->parses_answered() >= reply.ticket) {
      if (reply.show) pg::WriteEmpty(client_->out(), '1');
      Pop();
      continue;
    }
    pg::Frame frame;
    pg::FrameState state = upstream_->TryNext(&frame);
    if (state == pg::FrameState::frame) {
      co_await Handle(frame);
      continue;
    }
    if (state == pg::FrameState::violation) co_return co_await LoseUpstream("a message that does not fit");
    if (reply.kind == Reply::Kind::parsed && upstream_->parses_answered() >= reply.ticket) continue;
    // Waiting: a client that does not read holds PostgreSQL back, not our memory.
    if (client_->over_high_water()) {
      if (!co_await FlushClient()) break;
    } else {
      client_->TryFlush();
    }
    Io io = upstream_->TryFill();
    if (io == Io::would_block) {
      upstream_wait_ = true;
      io = co_await upstream_->Fill();
      upstream_wait_ = false;
    }
    if (io != Io::ok) co_return co_await LoseUpstream(upstream_->stream().failure());
  }
  if (queue_.empty()) guarded_pending_ = settings_pending_ = false;
}

// One message of PostgreSQL's.
awaitable<void> Session::Handle(pg::Frame frame) {
  if (frame.type == 'S') {
    std::string_view name, value;
    if (pg::ReadParameterStatus(frame.payload, &name, &value) && name != "session_authorization")
      client_->out().append(frame.whole);
    co_return;
  }
  if (frame.type == 'A') co_return;  // nobody can LISTEN
  // The Parse messages in front of this reply have been answered, unless this is the error that answers one.
  while (!queue_.empty() && queue_.front().kind == Reply::Kind::parsed &&
         (frame.type == 'E' ? queue_.front().ticket < upstream_->first_abandoned_parse()
                            : upstream_->parses_answered() >= queue_.front().ticket)) {
    if (queue_.front().show) pg::WriteEmpty(client_->out(), '1');
    Pop();
  }
  if (queue_.empty()) co_return;
  Reply& reply = queue_.front();
  if (frame.type == 'N') {
    // A notice over people may carry values, as an error does.
    bool guarded = (reply.portal && Guards(*reply.portal->plan)) || (reply.plan && Guards(*reply.plan));
    if (guarded)
      Log().info("session {}: notice withheld: {}", id_, DescribeError(frame.payload));
    else if (reply.kind != Reply::Kind::synced)
      client_->out().append(frame.whole);
    co_return;
  }
  switch (reply.kind) {
    case Reply::Kind::queried:
      HandleQueried(frame, reply);
      co_return;
    case Reply::Kind::synced:
      HandleSynced(frame, reply);
      co_return;
    default:
      break;
  }
  if (frame.type == 'E') co_return co_await HandleError(std::string(frame.payload));
  switch (reply.kind) {
    case Reply::Kind::bound:
    case Reply::Kind::closed:
      if (reply.show) client_->out().append(frame.whole);
      if (reply.kind == Reply::Kind::bound && reply.portal) reply.portal->upstream = true;
      Pop();
      co_return;
    case Reply::Kind::statement_described:
    case Reply::Kind::portal_described:
      Describe(frame, reply);
      co_return;
    case Reply::Kind::executed:
      break;
    default:
      co_return co_await LoseUpstream("a reply nobody asked for");
  }
  if (HandleRow(frame, reply)) co_return;
  // What is left decides about people: the batch is full, or the result has ended.
  std::shared_ptr<Portal> portal = reply.portal;
  std::string tag;
  if (frame.type == 'C') {
    std::string_view view;
    if (!pg::ReadCommandComplete(frame.payload, &view)) co_return co_await LoseUpstream("a malformed CommandComplete");
    tag = view;
  }
  co_await FinishRun(std::move(portal), frame.type, std::move(tag));
}

// Rows and ends that need no waiting. False: FinishRun() has to go on.
bool Session::HandleRow(const pg::Frame& frame, Reply& reply) {
  Portal& portal = *reply.portal;
  if (!portal.delivery) {
    if (frame.type == 'D') {
      if (portal.copy)
        WriteCopyRow(client_->out(), frame.payload, *portal.copy);
      else
        client_->out().append(frame.whole);
      return true;
    }
    if (portal.copy && frame.type == 'C')
      WriteCopyEnd(client_->out(), frame.payload);
    else if (reply.show)
      client_->out().append(frame.whole);
    if (frame.type == 'C') {
      std::string_view tag;
      if (pg::ReadCommandComplete(frame.payload, &tag)) Completed(*portal.plan, tag);
      if (portal.plan->kind == Plan::Kind::declare) Declared(portal);
    }
    Pop();
    return true;
  }
  if (frame.type != 'D') return false;
  Status taken = portal.delivery->Take(frame.payload);
  if (!taken) {
    Log().error("session {}: {}: {}", id_, taken.error().message, Printable(taken.error().operator_detail));
    Refuse(taken.error());
    return true;
  }
  return !portal.delivery->full();
}

// A simple Query that holds no people: everything of it, up to ReadyForQuery.
void Session::HandleQueried(const pg::Frame& frame, Reply& reply) {
  switch (frame.type) {
    case 'Z':
      pg::ReadReady(frame.payload, &status_);
      EndOfBatch(status_);
      Pop();
      break;
    case 'C': {
      std::string_view tag;
      if (pg::ReadCommandComplete(frame.payload, &tag)) Completed(*reply.plan, tag);
      break;
    }
    case 'E':
      failed_ = true;
      PassError(client_->out(), frame.payload, context_.schema->login, reply.ticket != 0);
      return;
    default:
      break;
  }
  client_->out().append(frame.whole);
}

void Session::HandleSynced(const pg::Frame& frame, Reply& reply) {
  if (frame.type != 'Z') return;  // what a refusal of ours made obsolete
  char status = 'E';
  pg::ReadReady(frame.payload, &status);
  if (poison_ && status == 'T') {
    // Refused after the Sync was on its way: PostgreSQL's transaction has to fail as the client was told.
    pg::WriteExecute(upstream_->out(), kPoison, 0);
    upstream_->WriteSync();
    upstream_->TryFlush();
    return;
  }
  status_ = status;
  EndOfBatch(status);
  if (reply.show) pg::WriteReady(client_->out(), status_);
  Pop();
}

// RowDescription and ParameterDescription, cut to what is the client's.
void Session::Describe(const pg::Frame& frame, Reply& reply) {
  const std::shared_ptr<Portal>& portal = reply.portal;
  const Plan& shape = Shape(portal ? *portal->plan : *reply.plan);
  bool statement = reply.kind == Reply::Kind::statement_described;
  if (frame.type == 't') {
    if (!portal) client_->out().append(frame.whole);
    return;
  }
  if (frame.type == 'n') {
    if (reply.show && !reply.rows_only) client_->out().append(frame.whole);
    Pop();
    return;
  }
  pg::FieldReader fields;
  if (frame.type != 'T' || !pg::ReadRowDescription(frame.payload, &fields)) {
    upstream_->MarkBroken();
    return;
  }
  bool relayed = shape.visible_columns < 0 && !portal;
  if (relayed || (shape.visible_columns < 0 && !statement && !portal->copy)) {
    if (reply.show) client_->out().append(frame.whole);
    Pop();
    return;
  }
  std::vector<pg::FieldDescription> shown;
  std::vector<ColumnForm> forms;
  pg::FieldDescription field;
  int columns = shape.visible_columns < 0 ? static_cast<int>(fields.size()) : shape.visible_columns;
  for (int i = 0; i < columns && fields.Next(&field); ++i) {
    // A portal described through its statement has the formats of its Bind.
    if (statement && portal && !portal->formats.empty()) {
      size_t n = static_cast<size_t>(i);
      field.format = portal->formats.size() == 1  ? portal->formats[0]
                     : n < portal->formats.size() ? portal->formats[n]
                                                  : 0;
    }
    forms.push_back({field.type, field.format == 1});
    // A view's oid and column numbers are nothing the client could look up.
    field.table = 0;
    field.column = 0;
    shown.push_back(field);
  }
  if (portal && portal->delivery && !statement) portal->delivery->SetForms(std::move(forms));
  if (portal && portal->copy) {
    WriteCopyStart(client_->out(), *portal->copy, shown);
    Pop();
    return;
  }
  // A write without RETURNING has rows towards PostgreSQL and none towards the client.
  if (reply.show) {
    bool no_rows = shown.empty() && shape.kind == Plan::Kind::write;
    if (no_rows && !reply.rows_only)
      pg::WriteEmpty(client_->out(), 'n');
    else if (!no_rows)
      pg::WriteRowDescription(client_->out(), shown);
  }
  Pop();
}

// An ErrorResponse while something of the extended protocol was to be answered.
awaitable<void> Session::HandleError(std::string payload) {
  Reply& reply = queue_.front();
  std::shared_ptr<Portal> portal = reply.portal;
  const Plan* plan = portal ? portal->plan.get() : reply.plan.get();
  pg::ErrorFields fields;
  if (!pg::ReadErrorFields(payload, &fields)) co_return co_await LoseUpstream("a malformed ErrorResponse");
  if (fields.severity() == "FATAL" || fields.severity() == "PANIC")
    co_return co_await LoseUpstream(DescribeError(payload));
  if (plan && Guards(*plan)) {
    Log().info("session {}: withheld from the client: {}", id_, DescribeError(payload));
    bool at_parse = reply.kind == Reply::Kind::parsed || reply.kind == Reply::Kind::statement_described;
    Error error = GuardedError(fields, at_parse, context_.schema->login);
    if (portal && portal->delivery && !portal->delivery->over()) {
      std::string code(fields.code());
      Status recorded = cancelled_ && code == "57014" ? co_await portal->delivery->Break("cancelled")
                                                      : co_await portal->delivery->Fail("SQLSTATE " + code);
      if (!recorded) error = recorded.error();
    }
    pg::WriteError(client_->out(), "ERROR", error);
  } else {
    PassError(client_->out(), payload, context_.schema->login, portal && portal->same_text);
  }
  AfterError(true);
}

// An error of the gate's own, in its place: PostgreSQL is made to abort as well.
void Session::Refuse(const Error& error) {
  pg::WriteError(client_->out(), "ERROR", error);
  if (!error.operator_detail.empty())
    Log().info("session {}: {}: {}", id_, error.rule, Printable(error.operator_detail));
  AfterError(false);
}

// What was asked after the statement that failed is not answered (manual, "Extended Query": messages are read and
// discarded until Sync).
void Session::AfterError(bool from_upstream) {
  failed_ = true;
  if (!from_upstream) poison_ = true;
  while (!queue_.empty() && queue_.front().kind != Reply::Kind::synced && queue_.front().kind != Reply::Kind::ready) {
    Reply& reply = queue_.front();
    if (reply.kind == Reply::Kind::parsed) statements_.erase(reply.text);
    Pop();
  }
  if (queue_.empty() && !simple_) skip_to_sync_ = true;
}

// What a statement that PostgreSQL has completed means for the session.
void Session::Completed(const Plan& plan, std::string_view tag) {
  switch (plan.kind) {
    case Plan::Kind::commit:
    case Plan::Kind::rollback:
      // COMMIT of a failed transaction says ROLLBACK.
      if (tag == "COMMIT")
        settings_.Commit();
      else
        settings_.Rollback();
      EndCursors(tag == "COMMIT");
      RefreshContext();
      break;
    case Plan::Kind::savepoint:
      if (tag == "SAVEPOINT")
        settings_.Savepoint(plan.name);
      else if (tag == "RELEASE")
        settings_.Release(plan.name);
      else if (tag == "ROLLBACK")
        settings_.RollbackTo(plan.name);
      RefreshContext();
      break;
    case Plan::Kind::set:
      residue_ = true;
      settings_.Set(plan.setting.name,
                    plan.setting.value ? std::optional(Settings::Value{*plan.setting.value, plan.sql}) : std::nullopt,
                    plan.setting.local);
      RefreshContext();
      break;
    case Plan::Kind::reset_all:
      settings_.ResetAll();
      RefreshContext();
      break;
    case Plan::Kind::close:
      if (plan.name.empty())
        cursors_.clear();
      else
        cursors_.erase(plan.name);
      break;
    default:
      break;
  }
  if (tag.starts_with("INSERT")) residue_ = true;  // a sequence may have been used
}

// A cursor exists: its inner statement decides what its rows tell.
void Session::Declared(Portal& portal) {
  const Plan& plan = *portal.plan;
  Cursor& cursor = cursors_[plan.name];
  cursor.inner = plan.inner;
  cursor.asked = std::move(portal.asked);
  cursor.literals = std::move(portal.literals);
  std::string_view head(plan.sql.data(), plan.sql.size() - plan.inner->sql.size());
  cursor.hold = head.ends_with("WITH HOLD FOR ");
  residue_ = residue_ || cursor.hold;
}

// Cursors end with their transaction; those WITH HOLD stay once it is committed.
void Session::EndCursors(bool committed) {
  for (auto it = cursors_.begin(); it != cursors_.end();) {
    Cursor& cursor = it->second;
    cursor.committed = cursor.committed || (committed && cursor.hold);
    it = cursor.committed ? std::next(it) : cursors_.erase(it);
  }
}

// ReadyForQuery: the batch is over, and outside a block its transaction with it.
void Session::EndOfBatch(char status) {
  if (status == 'I') {
    if (failed_)
      settings_.Rollback();
    else
      settings_.Commit();
    EndCursors(!failed_);
    for (auto& [name, portal] : portals_) KeepUnfinished(std::move(portal));
    portals_.clear();
    RefreshContext();
  }
  failed_ = poison_ = sent_ = wrote_ = guarded_pending_ = settings_pending_ = cancelled_ = false;
}

}  // namespace ecluse
