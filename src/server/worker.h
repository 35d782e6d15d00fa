// One io thread: its connections to PostgreSQL, and the sessions that live on it.
#pragma once

#include <boost/asio.hpp>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "execute/pool.h"
#include "pgwire/startup.h"
#include "server/newcomers.h"
#include "server/services.h"
#include "server/session.h"

namespace ecluse {

// How many sessions there are, overall and by address. Thread-safe.
class SessionCount {
 public:
  // Counts one in until what this returns is let go, which this must outlive; or refuses with 53300.
  Result<std::shared_ptr<void>> Enter(const std::string& address);
  size_t size() const;

 private:
  void Leave(const std::string& address);
  mutable std::mutex mutex_;
  size_t all_ = 0;
  std::map<std::string, size_t> by_address_;
};

// What workers share beside Services. Outlives them.
struct Doors {
  Newcomers newcomers;
  SessionCount sessions;

  // How newcomers are greeted, without their address; a reload may change it. Thread-safe.
  StartupOptions startup() const {
    std::lock_guard lock(mutex);
    return greeting;
  }
  void SetStartup(StartupOptions next) {
    std::lock_guard lock(mutex);
    greeting = std::move(next);
  }

  mutable std::mutex mutex;
  StartupOptions greeting;
};

class Worker {
 public:
  Worker(Services& services, Doors& doors, std::shared_ptr<const UpstreamTarget> target,
         std::shared_ptr<UpstreamQuota> quota);
  ~Worker();

  void Start();
  boost::asio::io_context& context() { return context_; }

  // Takes over an accepted connection, made on this worker's context. On its thread.
  void Welcome(Stream::Socket socket, std::string address);

  // From any thread: ends every session with `reason` as soon as it is at rest; closes idle connections to PostgreSQL.
  void EndSessions(Error reason);
  void DrainPool();
  // Ends the thread: what is still open is closed. From another thread.
  void Stop();

 private:
  boost::asio::awaitable<void> Serve(std::unique_ptr<Stream> stream, std::string address);
  boost::asio::awaitable<void> Tick();

  Services& services_;
  Doors& doors_;
  std::list<std::weak_ptr<Session>> sessions_;  // outlives the context: coroutines that go with it take theirs out
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{context_.get_executor()};
  std::unique_ptr<UpstreamPool> pool_;
  boost::asio::steady_timer timer_{context_};
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ecluse
