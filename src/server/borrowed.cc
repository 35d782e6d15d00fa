// The connection to PostgreSQL that a session borrows: only while something of it lives there.
#include "base/limits.h"
#include "base/log.h"
#include "server/session.h"

namespace ecluse {

using boost::asio::awaitable;

awaitable<Status> Session::EnsureUpstream() {
  if (upstream_) {
    if (upstream_->cancelling()) co_await AwaitCancel();
    co_return Status();
  }
  const std::shared_ptr<const UpstreamLogin>& login = snapshot_->logins.at(role_);
  UpstreamLease lease = pool_.TryAcquire(login);
  if (!lease) {
    Result<UpstreamLease> acquired = co_await pool_.Acquire(login);
    if (!acquired) co_return std::unexpected(std::move(acquired).error());
    lease = std::move(*acquired);
  }
  upstream_ = std::move(lease);
  residue_ = false;
  std::string script = settings_.UpstreamScript();
  if (script.empty()) co_return Status();
  residue_ = true;
  Status applied = co_await upstream_->Run(std::move(script));
  if (!applied) upstream_.Release(Residue::settings);
  co_return applied;
}

// What no Sync has ended must not be ended by what cleans the connection: it would be committed.
void Session::ReleaseUpstream(Residue residue) {
  upstream_.Release(sent_ ? Residue::transaction : residue);
  sent_ = residue_ = false;
}

// Gives the connection back where nothing of the session lives on it. With settings it is kept while the session is
// busy, and given back by Tick() when it is idle: the next borrower would have to clean it.
void Session::MaybeRelease(bool idle) {
  if (!upstream_ || !queue_.empty() || status_ != 'I' || sent_ || flushing_ || upstream_->cancelling()) return;
  if (!cursors_.empty()) return;
  if (!upstream_->at_rest()) return;
  if (!residue_ && !settings_.touches_upstream()) {
    upstream_.Release(Residue::none);
    return;
  }
  if (!idle || Clock::now() - last_active_ < limits::kSessionKeepsUpstream) return;
  upstream_.Release(Residue::settings);
  residue_ = false;
}

// A cancel request that is on its way must reach PostgreSQL before anything else is asked there, and nothing may be
// left that writes to a connection which is given away.
awaitable<void> Session::AwaitCancel() {
  while (upstream_ && (upstream_->cancelling() || flushing_)) {
    boost::asio::steady_timer timer(executor(), limits::kCancelPoll);
    co_await timer.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

// PostgreSQL is gone or talks nonsense. What of the session lived there is lost, so the session ends.
awaitable<void> Session::LoseUpstream(std::string why) {
  Log().warn("session {}: lost PostgreSQL: {}", id_, Printable(why));
  for (Reply& reply : queue_) {
    if (reply.portal && reply.portal->delivery && !reply.portal->delivery->over())
      // A row may be what ended it: an error like any other, and counted as one.
      (void)co_await reply.portal->delivery->Fail("the connection to PostgreSQL was lost");
  }
  queue_.clear();
  if (upstream_) {
    upstream_->MarkBroken();
    upstream_->stream().Close();
    co_await AwaitCancel();
    upstream_.Release(Residue::settings);
  }
  Fatal({std::string(sqlstate::kShutdown),
         "the connection to PostgreSQL was lost",
         "Connect again; what was not committed is not done.",
         "upstream.lost",
         {},
         0});
}

}  // namespace ecluse
