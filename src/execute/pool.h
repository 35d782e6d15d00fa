// Connections to PostgreSQL that sessions borrow: one UpstreamPool for each io thread (no locks on the usual path), one
// UpstreamQuota for the process.
#pragma once

#include <atomic>
#include <boost/asio.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "execute/upstream.h"

namespace ecluse {

class UpstreamPool;

// How many connections each login has, over all threads, and who waits for one, in order. Thread-safe; outlives its
// pools.
class UpstreamQuota : public std::enable_shared_from_this<UpstreamQuota> {
 public:
  explicit UpstreamQuota(size_t per_role = limits::kUpstreamPerRole,
                         std::chrono::milliseconds wait = limits::kUpstreamWait)
      : per_role_(per_role), wait_(wait) {}

  size_t open(const std::string& user) const;     // connections of this login now, those being opened included
  size_t waiting(const std::string& user) const;  // sessions that wait for one

 private:
  friend class UpstreamPool;
  struct Permit;
  struct Waiter;
  struct Place;
  struct PerUser {
    size_t open = 0;
    std::deque<std::shared_ptr<Waiter>> waiters;
  };

  std::shared_ptr<Permit> TryTake(const std::string& user);
  void Enqueue(const std::shared_ptr<Waiter>& waiter);
  void Leave(const std::shared_ptr<Waiter>& waiter);
  void Return(const std::string& user);
  std::shared_ptr<Waiter> NextOf(const std::string& user, const void* pool, bool* elsewhere);
  void AskToYield(const std::string& user);

  const size_t per_role_;
  const std::chrono::milliseconds wait_;
  std::atomic<size_t> waiting_ = 0;  // over all logins
  mutable std::mutex mutex_;
  std::map<std::string, PerUser> users_;
  std::vector<std::weak_ptr<void>> pools_;  // UpstreamPool::Impl
};

// What a session leaves behind on a connection it gives back.
enum class Residue {
  none,      // nothing that outlives a transaction: no setting, no cursor WITH HOLD, no sequence used, no error in the
             // middle
  settings,  // anything else that can be cleaned
  transaction,  // one that no Sync has ended: the connection is closed, which rolls it back
};

// A borrowed connection. Gives itself back when destroyed, as Residue::settings; a session calls Release() to say
// better.
class UpstreamLease {
 public:
  UpstreamLease() = default;
  UpstreamLease(std::shared_ptr<void> pool, std::unique_ptr<Upstream> upstream);
  UpstreamLease(UpstreamLease&&) noexcept = default;
  UpstreamLease& operator=(UpstreamLease&& other) noexcept;
  ~UpstreamLease();

  explicit operator bool() const { return upstream_ != nullptr; }
  Upstream* operator->() const { return upstream_.get(); }
  Upstream& operator*() const { return *upstream_; }
  void Release(Residue residue);

 private:
  std::shared_ptr<void> pool_;  // UpstreamPool::Impl
  std::unique_ptr<Upstream> upstream_;
};

// One thread's connections. Used on its executor only, and destroyed before its io_context. A lease that is left then
// (of a session that did not end in time) closes its connection.
//
// A connection that comes back with residue is cleaned before anybody else gets it, by the parts of DISCARD ALL other
// than DEALLOCATE and DISCARD PLANS: statements that the gate itself prepared are of one role, hold no data, and stay,
// which saves planning them again: docs/decisions/pooled-connections.md.
class UpstreamPool {
 public:
  UpstreamPool(boost::asio::any_io_executor executor, std::shared_ptr<const UpstreamTarget> target,
               std::shared_ptr<UpstreamQuota> quota);
  ~UpstreamPool();
  UpstreamPool(const UpstreamPool&) = delete;
  UpstreamPool& operator=(const UpstreamPool&) = delete;

  // An idle connection of this login, without waiting; empty where there is none here.
  UpstreamLease TryAcquire(const std::shared_ptr<const UpstreamLogin>& login);
  // The same, or a new one, or the next that is given back, in the order of asking. Fails with 53300 after
  // limits::kUpstreamWait, or with what Upstream::Connect says. Connections found dead are replaced silently.
  boost::asio::awaitable<Result<UpstreamLease>> Acquire(std::shared_ptr<const UpstreamLogin> login);

  // Closes what is idle; what is borrowed closes when it comes back. For a changed policy or catalog, and at the end.
  void Drain();

  size_t idle() const;

 private:
  friend class UpstreamLease;
  friend class UpstreamQuota;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ecluse
