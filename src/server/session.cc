#include "server/session.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/random.h"
#include "server/refusals.h"

namespace ecluse {

namespace asio = boost::asio;
using asio::awaitable;

Session::Session(Services& services, UpstreamPool& pool, std::unique_ptr<Stream> client, Authenticated who,
                 std::string address)
    : services_(services),
      pool_(pool),
      client_(std::move(client)),
      address_(std::move(address)),
      principal_(std::move(who.principal)),
      startup_(std::move(who.settings)),
      start_(services.clock.BootMicros()) {
  uint8_t id[9];
  RandomBytes(id);
  id_ = Base64UrlEncode(id);
}

Session::~Session() {
  if (key_.process != 0) services_.cancels.Remove(key_.process);
}

namespace {

awaitable<void> AppendSession(Ledger* ledger, EntryDraft draft) {
  Result<Receipt> receipt = co_await ledger->Append(std::move(draft));
  if (!receipt) Log().error("a session's start or end was not written down: {}", Printable(receipt.error().message));
}

}  // namespace

void Session::LogSession(EntryKind kind, std::string reason) {
  EntryDraft draft;
  draft.kind = kind;
  draft.policy = caller_->policy->digest;
  draft.principal = principal_.name;
  draft.organisation = principal_.organisation;
  draft.role = role_;
  draft.session = id_;
  draft.address = address_;
  draft.reason = std::move(reason);
  asio::co_spawn(executor(), AppendSession(&services_.ledger, std::move(draft)), asio::detached);
}

void Session::Fatal(const Error& error) {
  pg::WriteError(client_->out(), "FATAL", error);
  Log().info("session {} of {}: {} {}", id_, Printable(principal_.name), Printable(error.message),
             Printable(error.operator_detail));
  ended_ = true;
}

awaitable<bool> Session::FlushClient() {
  Io io = client_->TryFlush();
  if (io == Io::would_block) {
    // A reader that takes nothing for as long as a session may be idle is gone for our purposes.
    client_->SetDeadline(Clock::now() + caller_->role->idle);
    io = co_await client_->Flush();
    client_->SetDeadline(Stream::kNoDeadline);
  }
  if (io != Io::ok) ended_ = true;
  co_return io == Io::ok;
}

// What a client hears after AuthenticationOk: parameters, its cancel key, and that the session is ready.
awaitable<Status> Session::Open() {
  ECLUSE_CO_OK(AdoptSnapshot());
  if (!snapshot_->logins.contains(principal_.default_role)) {
    co_return Fail(sqlstate::kUnknownUser, fmt::format("the policy has no role {}", principal_.default_role),
                   "Ask whoever runs the gate which roles this account should have.", "session.role");
  }
  ECLUSE_CO_OK(SwitchRole(principal_.default_role));
  ECLUSE_CO_OK(co_await ApplyStartup());
  ECLUSE_CO_OK(co_await EnsureUpstream());
  std::string& out = client_->out();
  for (const auto& [name, value] : upstream_->parameters()) {
    if (name == "session_authorization")
      pg::WriteParameterStatus(out, name, principal_.name);
    else if (name == "application_name")
      pg::WriteParameterStatus(out, name, settings_.Text(name));
    else
      pg::WriteParameterStatus(out, name, value);
  }
  MaybeRelease(false);
  key_ = services_.cancels.Add(weak_from_this());
  pg::WriteBackendKey(out, key_.process, key_.secret);
  pg::WriteReady(out, 'I');
  co_return Status();
}

awaitable<void> Session::Run() {
  std::shared_ptr<Session> self = shared_from_this();
  Status opened = co_await Open();
  if (!opened) {
    Fatal(opened.error());
    client_->TryFlush();
    client_->Close();
    co_return;
  }
  LogSession(EntryKind::session, "start");
  co_await Loop();
  for (Reply& reply : queue_) {
    if (reply.portal) KeepUnfinished(reply.portal);
  }
  DropPortals();
  co_await CloseDeliveries();
  if (end_ && !ended_) Fatal(*end_);
  client_->TryFlush();
  client_->Close();
  LogSession(EntryKind::session, "end");
  if (upstream_ && flushing_) upstream_->stream().Close();
  co_await AwaitCancel();
  ReleaseUpstream(status_ == 'I' && queue_.empty() && !residue_ ? Residue::none : Residue::settings);
}

awaitable<void> Session::Loop() {
  while (!ended_) {
    pg::Frame frame;
    switch (client_->TryNext(&frame)) {
      case pg::FrameState::frame:
        if (co_await Dispatch(frame) == Next::end) co_return;
        break;
      case pg::FrameState::violation:
        Fatal(pg::Malformed("a message whose length cannot be right"));
        co_return;
      case pg::FrameState::need_more:
        if (co_await WaitForClient() == Next::end) co_return;
        break;
    }
    if (client_->over_high_water() && !co_await FlushClient()) co_return;
    // A pipeline without end is answered in pieces.
    if (queue_.size() > limits::kPipelineReplies || (upstream_ && upstream_->stream().over_high_water()))
      co_await Drain(true);
  }
}

// Nothing more is buffered: what was asked is answered before the session waits.
awaitable<Session::Next> Session::WaitForClient() {
  if (!queue_.empty()) {
    co_await Drain(true);
    if (ended_) co_return Next::end;
    co_return Next::go_on;
  }
  if (!co_await FlushClient()) co_return Next::end;
  MaybeRelease(false);
  if (end_ && (status_ == 'I' || end_at_once_)) co_return Next::end;
  Io io = client_->TryFill();
  if (io == Io::would_block) {
    last_active_ = Clock::now();
    client_->SetDeadline(last_active_ + caller_->role->idle);
    waiting_ = true;
    io = co_await client_->Fill();
    waiting_ = false;
    client_->SetDeadline(Stream::kNoDeadline);
  }
  if (io == Io::ok) co_return Next::go_on;
  if (io == Io::cancelled) co_return end_&& status_ == 'I' ? Next::end : Next::go_on;
  if (io == Io::timed_out) {
    Fatal({std::string(sqlstate::kSessionOver),
           fmt::format("this session was idle for longer than the {} seconds that role {} allows",
                       caller_->role->idle.count(), role_),
           "Connect again.",
           "session.idle",
           {},
           0});
  }
  co_return Next::end;
}

awaitable<Session::Next> Session::Dispatch(pg::Frame frame) {
  CheckAccount();
  if (end_ && end_at_once_) co_return Next::end;
  if (skip_to_sync_ && frame.type != 'S' && frame.type != 'X') {
    if (std::string_view("QPBDECHFdcf").find(frame.type) != std::string_view::npos) co_return Next::go_on;
  }
  switch (frame.type) {
    case 'Q': {
      std::string_view text;
      if (!pg::ReadQuery(frame.payload, &text))
        Malformed("Query");
      else
        co_await OnQuery(std::string(text));
      break;
    }
    case 'P':
      co_await OnParse(frame);
      break;
    case 'B':
      co_await OnBind(frame);
      break;
    case 'D':
      co_await OnDescribe(frame);
      break;
    case 'E':
      co_await OnExecute(frame);
      break;
    case 'C':
      co_await OnClose(frame);
      break;
    case 'S':
      if (!pg::ReadEmpty(frame.payload))
        Malformed("Sync");
      else
        co_await OnSync();
      break;
    case 'H':
      if (!pg::ReadEmpty(frame.payload))
        Malformed("Flush");
      else
        co_await Drain(true), co_await FlushClient();
      break;
    case 'X':
      co_return Next::end;
    case 'F': {
      co_await Drain(true);
      if (ended_ || skip_to_sync_) break;
      Error error{std::string(sqlstate::kNotAllowed),
                  "the function-call message is not accepted",
                  "Call the function in a SELECT.",
                  "protocol.function-call",
                  {},
                  0};
      simple_ = true;
      Refuse(error);
      co_await FinishSimple();
      break;
    }
    case 'd':
    case 'c':
    case 'f':
      break;  // late messages of a COPY that has already failed
    default:
      Malformed(fmt::format("a message of type {:#04x}", static_cast<unsigned char>(frame.type)));
  }
  co_return ended_ ? Next::end : Next::go_on;
}

void Session::Malformed(std::string_view what) { Fatal(pg::Malformed(what)); }

namespace {

bool OnThreadOf(const asio::any_io_executor& executor) {
  const auto* own = executor.target<asio::io_context::executor_type>();
  return own == nullptr || own->running_in_this_thread();
}

awaitable<void> DeliverCancel(CancelTarget target, std::shared_ptr<void> under_way) {
  Status sent = co_await SendCancel(std::move(target));
  if (!sent) Log().warn("a cancel request was not delivered: {}", Printable(sent.error().operator_detail));
}

}  // namespace

void Session::RequestCancel() {
  CHECK(OnThreadOf(executor()));
  if (waiting_) return;
  cancelled_ = true;
  if (copying_) client_->Cancel();
  if (!upstream_ || !(sent_ || upstream_wait_) || upstream_->cancelling()) return;
  asio::co_spawn(executor(), DeliverCancel(upstream_->cancel_target(), upstream_->CancelStarted()), asio::detached);
}

void Session::RequestEnd(Error reason, bool at_once) {
  if (!end_) end_ = std::move(reason);
  end_at_once_ = end_at_once_ || at_once;
  if ((waiting_ || copying_) && (status_ == 'I' || end_at_once_)) client_->Cancel();
}

// An account that was locked, or has lost the role, ends where it stands.
void Session::CheckAccount() {
  uint64_t generation = services_.accounts.generation();
  if (generation == accounts_seen_) return;
  accounts_seen_ = generation;
  if (Status valid = services_.accounts.StillValid(principal_, role_); !valid) RequestEnd(valid.error(), true);
}

// Where PostgreSQL does not end what the session waits for although it was cancelled, the connection ends: nobody else
// may be kept out by a session that nobody uses.
void Session::CutOff() {
  if (!upstream_wait_ || !(ended_ || end_at_once_)) {
    over_since_.reset();
  } else if (!over_since_) {
    over_since_ = Clock::now();
  } else if (Clock::now() - *over_since_ > limits::kUpstreamClean) {
    upstream_->MarkBroken();
    upstream_->stream().Close();
  }
}

void Session::Tick() {
  CheckAccount();
  if (end_at_once_) RequestCancel();  // what still runs is not waited for
  CutOff();
  if (waiting_) {
    MaybeRelease(true);
    const Role& role = *caller_->role;
    if (services_.clock.BootMicros() - start_ > std::chrono::microseconds(role.lifetime).count() && status_ == 'I') {
      RequestEnd({std::string(sqlstate::kSessionOver),
                  fmt::format("this session is older than the {} minutes that role {} allows",
                              role.lifetime.count() / 60, role_),
                  "Connect again.",
                  "admit.lifetime",
                  {},
                  0});
    }
    return;
  }
  if (upstream_wait_ && client_->PeekSocket() == Io::closed) {
    Log().info("session {}: the client is gone in the middle of a statement, which is cancelled", id_);
    ended_ = true;
    RequestCancel();
  }
}

}  // namespace ecluse
