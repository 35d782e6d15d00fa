#include "server/worker.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "base/log.h"

namespace ecluse {

namespace asio = boost::asio;
using asio::awaitable;

Result<std::shared_ptr<void>> SessionCount::Enter(const std::string& address) {
  auto leave = [this, address](void*) { Leave(address); };
  {
    std::lock_guard lock(mutex_);
    size_t& here = by_address_[address];
    if (all_ >= limits::kSessions || here >= limits::kSessionsPerAddress) {
      if (here == 0) by_address_.erase(address);
      return Fail(sqlstate::kTooManyConnections, "sorry, too many clients already",
                  "Close sessions that are not used, and try again.", "server.sessions");
    }
    ++all_;
    ++here;
  }
  return std::shared_ptr<void>(nullptr, std::move(leave));
}

void SessionCount::Leave(const std::string& address) {
  std::lock_guard lock(mutex_);
  --all_;
  if (auto here = by_address_.find(address); --here->second == 0) by_address_.erase(here);
}

size_t SessionCount::size() const {
  std::lock_guard lock(mutex_);
  return all_;
}

Worker::Worker(Services& services, Doors& doors, std::shared_ptr<const UpstreamTarget> target,
               std::shared_ptr<UpstreamQuota> quota)
    : services_(services),
      doors_(doors),
      pool_(std::make_unique<UpstreamPool>(context_.get_executor(), std::move(target), std::move(quota))) {}

Worker::~Worker() { Stop(); }

void Worker::Start() {
  asio::co_spawn(context_, Tick(), asio::detached);
  thread_ = std::thread([this] { context_.run(); });
}

void Worker::Stop() {
  if (!thread_.joinable()) return;
  asio::post(context_, [this] {
    stopping_ = true;
    timer_.cancel();
    guard_.reset();
    context_.stop();
  });
  thread_.join();
}

void Worker::Welcome(Stream::Socket socket, std::string address) {
  auto stream = std::make_unique<Stream>(std::move(socket));
  asio::co_spawn(context_, Serve(std::move(stream), address), [address](std::exception_ptr failed) {
    try {
      if (failed) std::rethrow_exception(failed);
    } catch (const std::exception& error) {
      Log().error("a connection of {} ended by a failure of the gate: {}", Printable(address), Printable(error.what()));
    }
  });
}

awaitable<void> Worker::Serve(std::unique_ptr<Stream> stream, std::string address) {
  Arrival arrival;
  {
    std::unique_ptr<Newcomers::Place> place = doors_.newcomers.Enter(stream.get(), address);
    StartupOptions options = doors_.startup();
    options.address = address;
    arrival = co_await Greet(stream.get(), std::move(options));
  }
  if (auto* refused = std::get_if<Refused>(&arrival)) {
    Log().info("{}: {} {}", Printable(address), Printable(refused->reason.message),
               Printable(refused->reason.operator_detail));
    stream->Close();
    co_return;
  }
  if (auto* cancel = std::get_if<CancelAsked>(&arrival)) {
    std::shared_ptr<Session> session = services_.cancels.Find(cancel->process, cancel->key);
    if (session) {
      // The client may take the end of this connection for the end of its request, so it waits for it.
      // A coroutine resumes on the executor that is bound to the token, whichever it was dispatched to.
      co_await asio::dispatch(asio::bind_executor(session->executor(), asio::use_awaitable));
      session->RequestCancel();
      session.reset();
      co_await asio::dispatch(asio::bind_executor(context_, asio::use_awaitable));
    }
    stream->Close();
    co_return;
  }
  Result<std::shared_ptr<void>> counted = doors_.sessions.Enter(address);
  if (!counted) {
    pg::WriteError(stream->out(), "FATAL", counted.error());
    stream->TryFlush();
    stream->Close();
    co_return;
  }
  auto session = std::make_shared<Session>(services_, *pool_, std::move(stream),
                                           std::move(std::get<Authenticated>(arrival)), address);
  arrival = Arrival();
  auto place = sessions_.insert(sessions_.end(), session);
  std::shared_ptr<void> listed(nullptr, [this, place](void*) { sessions_.erase(place); });  // also where Run() throws
  if (stopping_) session->RequestEnd({std::string(sqlstate::kShutdown), "the gate is stopping", "", "", {}, 0});
  co_await session->Run();
}

awaitable<void> Worker::Tick() {
  while (!stopping_) {
    timer_.expires_after(std::chrono::seconds(1));
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
    for (const std::weak_ptr<Session>& weak : sessions_)
      if (std::shared_ptr<Session> session = weak.lock()) session->Tick();
  }
}

void Worker::EndSessions(Error reason) {
  asio::post(context_, [this, reason = std::move(reason)] {
    stopping_ = true;
    for (const std::weak_ptr<Session>& weak : sessions_)
      if (std::shared_ptr<Session> session = weak.lock()) session->RequestEnd(reason);
  });
}

void Worker::DrainPool() {
  asio::post(context_, [this] { pool_->Drain(); });
}

}  // namespace ecluse
