// What PostgreSQL answers, matched with what was asked, and passed on: as it is where nothing is hidden, through
// delivery where people are in it.
#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"
#include "deliver/copy_rows.h"
#include "server/errors.h"
#include "server/refusals.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

// Flushes towards PostgreSQL beside the reading of its replies: neither side may wait for the other to read first.
awaitable<void> Session::FlushBeside(std::shared_ptr<Session> self) {
  co_await self->upstream_->Flush();  // a failure shows to whoever reads
  self->flushing_ = false;
}

bool Session::SendUpstream() {
  if (flushing_) return true;  // what is appended meanwhile is sent too
  Io io = upstream_->TryFlush();
  if (io != Io::would_block) return io == Io::ok;
  flushing_ = true;
  boost::asio::co_spawn(executor(), FlushBeside(shared_from_this()), boost::asio::detached);
  return true;
}

// Sends what waits and answers the whole queue. With `flush`, PostgreSQL is asked for replies that no Sync has asked
// for.
awaitable<void> Session::Drain(bool flush) {
  if (upstream_) {
    if (flush && sent_ && !queue_.empty()) upstream_->WriteFlush();
    if (!SendUpstream()) co_return co_await LoseUpstream(upstream_->stream().failure());
  }
  while (!queue_.empty() && !ended_) {
    if (AnswerByGate(queue_.front())) continue;
    pg::Frame frame;
    switch (upstream_->TryNext(&frame)) {
      case pg::FrameState::frame:
        if (Step step = Handle(frame); step != Step::done) co_await HandleSlowly(step, frame);
        break;
      case pg::FrameState::violation:
        co_return co_await LoseUpstream("a message that does not fit");
      case pg::FrameState::need_more:
        if (!AnswerByGate(queue_.front()) && !co_await WaitForUpstream()) co_return;
        break;
    }
  }
  if (queue_.empty()) guarded_pending_ = settings_pending_ = false;
}

// Replies that PostgreSQL has nothing more to say to.
bool Session::AnswerByGate(Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::text:
      client_->out() += reply.text;
      break;
    case Reply::Kind::ready:
      EndOfBatch(status_);
      pg::WriteReady(client_->out(), status_);
      break;
    case Reply::Kind::parsed:
      if (upstream_->parses_answered() < reply.ticket) return false;
      if (reply.show) pg::WriteEmpty(client_->out(), '1');
      break;
    default:
      return false;
  }
  Pop();
  return true;
}

// More has to come from PostgreSQL. False: it, or the client, is gone.
awaitable<bool> Session::WaitForUpstream() {
  // A client that does not read holds PostgreSQL back, not our memory.
  if (client_->over_high_water()) {
    if (!co_await FlushClient()) co_return false;
  } else {
    client_->TryFlush();
  }
  Io io = upstream_->TryFill();
  if (io == Io::would_block) {
    Reply& reply = queue_.front();
    Delivery* delivery = reply.portal && reply.kind == Reply::Kind::executed ? reply.portal->delivery.get() : nullptr;
    upstream_wait_ = true;
    if (delivery && delivery->holds_rows() && !delivery->admitted().plan().held()) {
      // Rows that are here do not wait for those that PostgreSQL is long in finding.
      Stream& stream = upstream_->stream();
      stream.SetDeadline(Clock::now() + limits::kReleaseAfter);
      io = co_await stream.WaitReadable();
      stream.SetDeadline(Stream::kNoDeadline);
      upstream_wait_ = false;
      if (io == Io::timed_out) co_await FinishRun(reply.portal, 'D', {});
      if (io == Io::timed_out || io == Io::ok) co_return !ended_;
    } else {
      io = co_await upstream_->Fill();
      upstream_wait_ = false;
    }
  }
  if (io != Io::ok) co_await LoseUpstream(upstream_->stream().failure());
  co_return !ended_;
}

// Whether what PostgreSQL says here may tell of people. A FETCH is known by its delivery; the end of a transaction runs
// what was deferred to it.
bool Session::Guarded(const Reply& reply) const {
  if (reply.kind == Reply::Kind::synced) return touched_;
  if (reply.portal && reply.portal->delivery) return true;
  const Plan* plan = reply.portal ? reply.portal->plan.get() : reply.plan.get();
  return plan != nullptr && (Guards(*plan) || (touched_ && plan->kind == Plan::Kind::commit));
}

// What the gate answers by itself in front of this message. A Parse has been answered unless this is its error.
void Session::AnswerBefore(const pg::Frame& frame) {
  while (!queue_.empty()) {
    Reply& reply = queue_.front();
    if (reply.kind == Reply::Kind::parsed && frame.type == 'E') {
      if (reply.ticket >= upstream_->first_abandoned_parse()) return;
      if (reply.show) pg::WriteEmpty(client_->out(), '1');
      Pop();
    } else if (!AnswerByGate(reply)) {
      return;
    }
  }
}

// One message of PostgreSQL's, as far as nothing has to be waited for.
Session::Step Session::Handle(const pg::Frame& frame) {
  if (frame.type == 'S') {
    std::string_view name, value;
    if (pg::ReadParameterStatus(frame.payload, &name, &value) && name != "session_authorization")
      client_->out().append(frame.whole);
    return Step::done;
  }
  if (frame.type == 'A') return Step::done;  // nobody can LISTEN
  AnswerBefore(frame);
  if (queue_.empty()) return Step::unexpected;
  Reply& reply = queue_.front();
  if (frame.type == 'N') {
    // A notice over people may carry values, as an error does.
    if (Guarded(reply))
      Log().info("session {}: notice withheld: {}", id_, DescribeError(frame.payload));
    else if (reply.kind != Reply::Kind::synced)
      client_->out().append(frame.whole);
    return Step::done;
  }
  switch (reply.kind) {
    case Reply::Kind::queried:
      return HandleQueried(frame, reply);
    case Reply::Kind::synced:
      return HandleSynced(frame, reply);
    default:
      break;
  }
  if (frame.type == 'E') return Step::error;
  switch (reply.kind) {
    case Reply::Kind::bound:
    case Reply::Kind::closed:
      if (frame.type != (reply.kind == Reply::Kind::bound ? '2' : '3')) return Step::unexpected;
      if (reply.show) client_->out().append(frame.whole);
      Pop();
      return Step::done;
    case Reply::Kind::statement_described:
    case Reply::Kind::portal_described:
      return Describe(frame, reply) ? Step::done : Step::unexpected;
    case Reply::Kind::executed:
      return HandleRow(frame, reply);
    default:
      return Step::unexpected;
  }
}

// The rest of Handle(), where the ledger, or the end of the session, has to be waited for.
awaitable<void> Session::HandleSlowly(Step step, pg::Frame frame) {
  switch (step) {
    case Step::error:
      co_return co_await HandleError(std::string(frame.payload));
    case Step::commit_failed:
      co_return co_await CommitFailed(std::string(frame.payload));
    case Step::not_as_planned: {
      std::shared_ptr<Portal> portal = queue_.front().portal;
      Error error = std::exchange(row_error_, Error());
      Log().error("session {}: {}: {}", id_, error.message, Printable(error.operator_detail));
      Status recorded = co_await portal->delivery->Refuse(error);
      co_return Refuse(recorded ? error : recorded.error());
    }
    case Step::release: {
      std::string_view tag;
      if (frame.type == 'C') pg::ReadCommandComplete(frame.payload, &tag);
      co_return co_await FinishRun(queue_.front().portal, frame.type, std::string(tag));
    }
    default:
      co_return co_await LoseUpstream("a reply nobody asked for");
  }
}

// Rows, and the ends of results that hold no people.
Session::Step Session::HandleRow(const pg::Frame& frame, Reply& reply) {
  Portal& portal = *reply.portal;
  if (portal.delivery) {
    if (portal.delivery->over()) return Step::unexpected;
    if (frame.type == 'C' || frame.type == 's') return Step::release;
    if (frame.type != 'D') return Step::unexpected;
    if (Status taken = portal.delivery->Take(frame.payload); !taken) {
      row_error_ = std::move(taken).error();
      return Step::not_as_planned;
    }
    return portal.delivery->full() ? Step::release : Step::done;
  }
  std::string& out = client_->out();
  switch (frame.type) {
    case 'D':
      if (portal.copy)
        WriteCopyRow(out, frame.payload, *portal.copy);
      else
        out.append(frame.whole);
      return Step::done;
    case 'C': {
      std::string_view tag;
      if (!pg::ReadCommandComplete(frame.payload, &tag)) return Step::unexpected;
      if (portal.copy)
        WriteCopyEnd(out, tag);
      else if (reply.show)
        out.append(frame.whole);
      Completed(*portal.plan, tag);
      if (portal.plan->kind == Plan::Kind::declare) Declared(portal);
      break;
    }
    case 's':
    case 'I':
      out.append(frame.whole);
      break;
    default:
      return Step::unexpected;
  }
  Pop();
  return Step::done;
}

// A simple Query that holds no people: everything of it, up to ReadyForQuery.
Session::Step Session::HandleQueried(const pg::Frame& frame, Reply& reply) {
  std::string& out = client_->out();
  switch (frame.type) {
    case 'Z':
      pg::ReadReady(frame.payload, &status_);
      EndOfBatch(status_);
      out.append(frame.whole);
      Pop();
      return Step::done;
    case 'E':
      failed_ = true;
      if (Guarded(reply)) return Step::commit_failed;
      PassError(out, frame.payload, context_.schema->login, reply.same_text);
      return Step::done;
    case 'C': {
      std::string_view tag;
      if (!pg::ReadCommandComplete(frame.payload, &tag)) return Step::unexpected;
      Completed(*reply.plan, tag);
      break;
    }
    case 'T':
    case 'D':
    case 'I':
      break;
    default:
      return Step::unexpected;
  }
  out.append(frame.whole);
  return Step::done;
}

// A transaction that guarded rows were written in could not be committed: what was deferred to its end speaks of them.
awaitable<void> Session::CommitFailed(std::string payload) {
  pg::ErrorFields fields;
  if (!pg::ReadErrorFields(payload, &fields)) co_return co_await LoseUpstream("a malformed ErrorResponse");
  Log().info("session {}: withheld from the client: {}", id_, DescribeError(payload));
  Status recorded = co_await RecordFailure(std::string(fields.code()));
  pg::WriteError(client_->out(), "ERROR",
                 recorded ? GuardedError(fields, false, context_.schema->login) : recorded.error());
}

// Of a transaction's end: its statements have had their entries.
awaitable<Status> Session::RecordFailure(std::string code) {
  services_.admission.Failure(caller_->payer);
  EntryDraft failure = DraftOf(EntryKind::failure, *caller_);
  failure.reason = "COMMIT: SQLSTATE " + code;
  Result<Receipt> receipt = co_await services_.ledger.Append(std::move(failure));
  if (!receipt) co_return std::unexpected(std::move(receipt).error());
  co_return Status();
}

Session::Step Session::HandleSynced(const pg::Frame& frame, Reply& reply) {
  if (frame.type == 'E' && !poison_ && !failed_) {
    // The implicit transaction could not be committed, after all of it had been answered.
    failed_ = true;
    if (touched_) return Step::commit_failed;
    PassError(client_->out(), frame.payload, context_.schema->login, false);
    return Step::done;
  }
  if (frame.type != 'Z') return Step::done;  // what a refusal of ours made obsolete
  char status = 'E';
  pg::ReadReady(frame.payload, &status);
  if (poison_ && status == 'T') {
    // Refused after the Sync was on its way: PostgreSQL's transaction has to fail as the client was told.
    pg::WriteExecute(upstream_->out(), kPoison, 0);
    upstream_->WriteSync();
    upstream_->TryFlush();
    return Step::done;
  }
  status_ = status;
  EndOfBatch(status);
  if (reply.show) pg::WriteReady(client_->out(), status_);
  Pop();
  return Step::done;
}

// An ErrorResponse while something of the extended protocol was to be answered.
awaitable<void> Session::HandleError(std::string payload) {
  Reply& reply = queue_.front();
  std::shared_ptr<Portal> portal = reply.portal;
  pg::ErrorFields fields;
  if (!pg::ReadErrorFields(payload, &fields)) co_return co_await LoseUpstream("a malformed ErrorResponse");
  if (fields.severity() == "FATAL" || fields.severity() == "PANIC")
    co_return co_await LoseUpstream(DescribeError(payload));
  if (Guarded(reply)) {
    Log().info("session {}: withheld from the client: {}", id_, DescribeError(payload));
    bool at_parse = reply.kind == Reply::Kind::parsed || reply.kind == Reply::Kind::statement_described;
    Error error = GuardedError(fields, at_parse, context_.schema->login);
    if (portal && portal->delivery && !portal->delivery->over()) {
      std::string code(fields.code());
      // Behind rows that have left, where it was cancelled tells what an error there would.
      const bool at_once = cancelled_ && code == "57014" && portal->delivery->rows_released() == 0;
      Status recorded =
          at_once ? co_await portal->delivery->Break("cancelled") : co_await portal->delivery->Fail("SQLSTATE " + code);
      if (!recorded) error = recorded.error();
    } else if (portal && portal->plan->kind == Plan::Kind::commit) {
      if (Status recorded = co_await RecordFailure(std::string(fields.code())); !recorded) error = recorded.error();
    }
    pg::WriteError(client_->out(), "ERROR", error);
  } else {
    PassError(client_->out(), payload, context_.schema->login, reply.same_text || (portal && portal->same_text));
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

// A portal that was not bound.
void Session::Forget(const Portal& portal) {
  auto found = portals_.find(portal.name);
  if (found == portals_.end() || found->second.get() != &portal) return;
  KeepUnfinished(std::move(found->second));
  portals_.erase(found);
}

// What was asked after the statement that failed is not answered (manual, "Extended Query": messages are read and
// discarded until Sync).
void Session::AfterError(bool from_upstream) {
  failed_ = true;
  if (!from_upstream) poison_ = true;
  while (!queue_.empty() && queue_.front().kind != Reply::Kind::synced && queue_.front().kind != Reply::Kind::ready) {
    Reply& reply = queue_.front();
    if (reply.kind == Reply::Kind::parsed) statements_.erase(reply.text);
    if (reply.kind == Reply::Kind::bound) Forget(*reply.portal);
    Pop();
  }
  if (queue_.empty() && !simple_) skip_to_sync_ = true;
}

}  // namespace ecluse
