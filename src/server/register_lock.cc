#include "server/register_lock.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"

namespace ecluse {

namespace asio = boost::asio;
using asio::awaitable;

namespace {

awaitable<void> Pause(std::chrono::milliseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace

// Asks for the lock on a fresh connection; the answer is one boolean.
awaitable<Status> RegisterLock::TryOnce() {
  held_.store(false, std::memory_order_release);
  connection_.reset();
  Result<std::unique_ptr<Upstream>> connection = co_await Upstream::Connect(target_, login_);
  if (!connection) co_return std::unexpected(std::move(connection).error());
  (*connection)->WriteQuery(fmt::format("SELECT pg_catalog.pg_try_advisory_lock({})", key_));
  (*connection)->stream().SetDeadline(std::chrono::steady_clock::now() + limits::kLockWait);
  if (Io io = co_await (*connection)->Flush(); io != Io::ok)
    co_return std::unexpected(IoError(io, (*connection)->stream(), "PostgreSQL"));
  bool taken = false;
  while (true) {
    Result<pg::Frame> frame = co_await (*connection)->Next();
    if (!frame) co_return std::unexpected(std::move(frame).error());
    pg::Values values;
    if (frame->type == 'D' && pg::ReadDataRow(frame->payload, &values) && values.size() == 1)
      taken = *values.begin() == std::optional<std::string_view>("t");
    if (frame->type == 'E') co_return std::unexpected(UpstreamError(frame->payload));
    if (frame->type == 'Z') break;
  }
  if (!taken) {
    co_return Fail(sqlstate::kIo, "another gate is guarding this register",
                   "One gate guards one register: stop the other one first.", "server.register-lock");
  }
  connection_ = std::move(*connection);
  held_.store(true, std::memory_order_release);
  co_return Status();
}

awaitable<Status> RegisterLock::Acquire() {
  auto deadline = std::chrono::steady_clock::now() + limits::kLockWait;
  while (true) {
    Status taken = co_await TryOnce();
    if (taken || std::chrono::steady_clock::now() > deadline) co_return taken;
    co_await Pause(std::chrono::milliseconds(200));
  }
}

// A question that only a living connection answers.
awaitable<bool> RegisterLock::Answer() {
  connection_->stream().SetDeadline(std::chrono::steady_clock::now() + limits::kLockCheck);
  Status answered = co_await connection_->Run("SELECT 1");
  if (answered) connection_->stream().SetDeadline(Stream::kNoDeadline);
  co_return answered.has_value();
}

awaitable<void> RegisterLock::Watch() {
  std::string reason;  // why it could not be taken last, as the log has said
  while (!stopped_) {
    if (connection_) {
      connection_->stream().SetDeadline(std::chrono::steady_clock::now() + limits::kLockCheck);
      Io io = co_await connection_->stream().WaitReadable();
      if (stopped_) break;
      // Silence is as it should be; anything said to an idle connection is most likely its end.
      if ((io == Io::timed_out || io == Io::ok) && co_await Answer()) continue;
      if (stopped_) break;
      held_.store(false, std::memory_order_release);
      Log().error("the lock on the register is lost: nothing is released until it is held again");
    }
    Status taken = co_await TryOnce();
    if (taken) {
      Log().info("the lock on the register is held again");
      reason.clear();
    } else if (!stopped_) {
      const Error& error = taken.error();
      std::string now = fmt::format("{} {} {}", error.message, error.hint, Printable(error.operator_detail));
      if (now != reason) Log().error("the lock on the register cannot be taken: {}", now);
      reason = std::move(now);
      co_await Pause(std::chrono::milliseconds(500));
    }
  }
  held_.store(false, std::memory_order_release);
  connection_.reset();
}

void RegisterLock::Stop() {
  stopped_ = true;
  if (connection_) connection_->stream().Cancel();
}

}  // namespace ecluse
