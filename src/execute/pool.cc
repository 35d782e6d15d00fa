#include "execute/pool.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"

namespace ecluse {
namespace asio = boost::asio;

namespace {

// DISCARD ALL without DEALLOCATE and DISCARD PLANS (PostgreSQL manual, "DISCARD"): RESET ALL goes back to what the
// startup message set, the pinned search_path included.
constexpr const char* kClean =
    "CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ALL; UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all(); "
    "DISCARD SEQUENCES; DISCARD TEMP";

// Closes a connection that may still be at work: without the cancel PostgreSQL would finish the statement for nobody.
asio::awaitable<void> Discard(std::unique_ptr<Upstream> upstream) {
  if (Status sent = co_await SendCancel(upstream->cancel_target()); !sent) {
    Log().info("a statement of a closed session could not be cancelled: {}", sent.error().operator_detail);
  }
}

}  // namespace

// A connection's place in the quota, given back when the connection goes.
struct UpstreamQuota::Permit {
  std::shared_ptr<UpstreamQuota> quota;
  std::string user;
  ~Permit() { quota->Return(user); }
};

struct UpstreamPool::Impl : std::enable_shared_from_this<UpstreamPool::Impl> {
  struct Idle {
    std::unique_ptr<Upstream> upstream;
    std::chrono::steady_clock::time_point since;
  };
  struct PerUser {
    std::vector<Idle> idle;  // used last at the back
    ScramClientKeys keys;
  };

  Impl(asio::any_io_executor e, std::shared_ptr<const UpstreamTarget> t, std::shared_ptr<UpstreamQuota> q)
      : executor(e), target(std::move(t)), quota(std::move(q)), prune(e) {}

  std::unique_ptr<Upstream> TakeIdle(const std::string& user);
  void GiveBack(std::unique_ptr<Upstream> upstream, Residue residue);
  void Offer(std::unique_ptr<Upstream> upstream);
  void Yield(const std::string& user);
  void ArmPrune();
  void Prune();
  static asio::awaitable<void> Clean(std::shared_ptr<Impl> self, std::unique_ptr<Upstream> upstream);
  asio::awaitable<Result<std::unique_ptr<Upstream>>> Open(std::shared_ptr<const UpstreamLogin> login,
                                                          std::shared_ptr<void> permit);

  asio::any_io_executor executor;
  std::shared_ptr<const UpstreamTarget> target;
  std::shared_ptr<UpstreamQuota> quota;
  std::map<std::string, PerUser> users;
  asio::steady_timer prune;
  bool prune_armed = false;
  bool closed = false;  // the pool is gone: nothing may be begun on its executor
  uint64_t generation = 0;
};

// One session that waits. In the queue under the quota's lock; everything else belongs to its pool's executor.
struct UpstreamQuota::Waiter {
  Waiter(std::shared_ptr<UpstreamPool::Impl> p, std::string u, std::chrono::milliseconds wait)
      : pool(std::move(p)), user(std::move(u)), timer(pool->executor, wait) {}
  std::shared_ptr<UpstreamPool::Impl> pool;
  std::string user;
  asio::steady_timer timer;
  std::shared_ptr<Permit> permit;   // it may open one
  std::unique_ptr<Upstream> given;  // or it was handed one
  bool gone = false;
};

// Leaves the queue however the wait ends, a destroyed coroutine included.
struct UpstreamQuota::Place {
  std::shared_ptr<UpstreamQuota> quota;
  std::shared_ptr<Waiter> waiter;
  ~Place() { quota->Leave(waiter); }
};

// ---- Quota ----

size_t UpstreamQuota::open(const std::string& user) const {
  std::lock_guard lock(mutex_);
  auto found = users_.find(user);
  return found == users_.end() ? 0 : found->second.open;
}

size_t UpstreamQuota::waiting(const std::string& user) const {
  std::lock_guard lock(mutex_);
  auto found = users_.find(user);
  return found == users_.end() ? 0 : found->second.waiters.size();
}

// A place, where one is free and nobody waits for it.
std::shared_ptr<UpstreamQuota::Permit> UpstreamQuota::TryTake(const std::string& user) {
  {
    std::lock_guard lock(mutex_);
    PerUser& entry = users_[user];
    if (!entry.waiters.empty() || entry.open >= per_role_) return nullptr;
    ++entry.open;
  }
  return std::make_shared<Permit>(shared_from_this(), user);
}

void UpstreamQuota::Enqueue(const std::shared_ptr<Waiter>& waiter) {
  std::lock_guard lock(mutex_);
  users_[waiter->user].waiters.push_back(waiter);
  ++waiting_;
}

void UpstreamQuota::Leave(const std::shared_ptr<Waiter>& waiter) {
  waiter->gone = true;
  std::lock_guard lock(mutex_);
  waiting_ -= std::erase(users_[waiter->user].waiters, waiter);
}

// A place is free: to who waits longest, else to nobody.
void UpstreamQuota::Return(const std::string& user) {
  std::shared_ptr<Waiter> next;
  {
    std::lock_guard lock(mutex_);
    PerUser& entry = users_[user];
    if (entry.waiters.empty()) {
      --entry.open;
      return;
    }
    next = std::move(entry.waiters.front());
    entry.waiters.pop_front();
    --waiting_;
  }
  auto permit = std::make_shared<Permit>(shared_from_this(), user);
  asio::any_io_executor executor = next->pool->executor;
  asio::post(executor, [next = std::move(next), permit = std::move(permit)]() mutable {
    if (next->gone) return;  // the permit goes on to the next
    next->permit = std::move(permit);
    next->timer.cancel();
  });
}

// The one who waits longest, where it waits at `pool`; says where somebody waits at another.
std::shared_ptr<UpstreamQuota::Waiter> UpstreamQuota::NextOf(const std::string& user, const void* pool,
                                                             bool* elsewhere) {
  std::lock_guard lock(mutex_);
  auto& waiters = users_[user].waiters;
  if (waiters.empty()) return nullptr;
  if (waiters.front()->pool.get() != pool) {
    *elsewhere = true;
    return nullptr;
  }
  auto next = std::move(waiters.front());
  waiters.pop_front();
  --waiting_;
  return next;
}

// A connection may have become idle between a session's look and its place in the queue, or be idle on another thread.
void UpstreamQuota::AskToYield(const std::string& user) {
  std::vector<std::shared_ptr<UpstreamPool::Impl>> pools;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(pools_, [](const auto& pool) { return pool.expired(); });
    for (const auto& weak : pools_) {
      if (auto pool = weak.lock()) pools.push_back(std::static_pointer_cast<UpstreamPool::Impl>(pool));
    }
  }
  for (auto& pool : pools) {
    asio::any_io_executor executor = pool->executor;
    asio::post(executor, [pool = std::move(pool), user] { pool->Yield(user); });
  }
}

// ---- Pool ----

std::unique_ptr<Upstream> UpstreamPool::Impl::TakeIdle(const std::string& user) {
  auto found = users.find(user);
  if (found == users.end()) return nullptr;
  std::vector<Idle>& idle = found->second.idle;
  auto fresh = std::chrono::steady_clock::now() - limits::kUpstreamFresh;
  while (!idle.empty()) {
    Idle last = std::move(idle.back());
    idle.pop_back();
    if (last.since >= fresh || last.upstream->StillAlive()) return std::move(last.upstream);
  }
  return nullptr;
}

void UpstreamPool::Impl::GiveBack(std::unique_ptr<Upstream> upstream, Residue residue) {
  if (closed || upstream->broken() || upstream->cancelling()) return;
  if (residue == Residue::transaction || upstream->owed() > 0 || upstream->stream().has_output()) {
    asio::co_spawn(executor, Discard(std::move(upstream)), asio::detached);
    return;
  }
  if (residue == Residue::none && upstream->at_rest() && !upstream->was_cancelled()) {
    Offer(std::move(upstream));
    return;
  }
  asio::co_spawn(executor, Clean(shared_from_this(), std::move(upstream)), asio::detached);
}

asio::awaitable<void> UpstreamPool::Impl::Clean(std::shared_ptr<Impl> self, std::unique_ptr<Upstream> upstream) {
  upstream->stream().SetDeadline(std::chrono::steady_clock::now() + limits::kUpstreamClean);
  Status cleaned;
  if (upstream->transaction_status() != 'I') cleaned = co_await upstream->Run("ROLLBACK");
  if (cleaned) cleaned = co_await upstream->Run(kClean);
  if (!cleaned || !upstream->at_rest()) {
    Log().info("a connection of {} is closed because it could not be cleaned: {}", upstream->user(),
               cleaned ? std::string("it is not at rest") : cleaned.error().operator_detail);
    co_return;
  }
  upstream->stream().SetDeadline(Stream::kNoDeadline);
  upstream->was_cancelled_ = false;
  self->Offer(std::move(upstream));
}

// To a session that waits here; or out of the way of one that waits on another thread; or idle.
void UpstreamPool::Impl::Offer(std::unique_ptr<Upstream> upstream) {
  if (upstream->generation_ != generation) return;
  if (quota->waiting_.load() > 0) {
    bool elsewhere = false;
    if (auto next = quota->NextOf(upstream->user(), this, &elsewhere)) {
      next->given = std::move(upstream);
      next->timer.cancel();
      return;
    }
    if (elsewhere) return;  // closed, and its place goes to who waits
  }
  users[upstream->user()].idle.push_back({std::move(upstream), std::chrono::steady_clock::now()});
  ArmPrune();
}

// Somebody waits: what is idle here is of no use as long as it is.
void UpstreamPool::Impl::Yield(const std::string& user) {
  if (quota->waiting(user) == 0) return;
  if (std::unique_ptr<Upstream> upstream = TakeIdle(user)) Offer(std::move(upstream));
}

void UpstreamPool::Impl::ArmPrune() {
  if (prune_armed) return;
  prune_armed = true;
  prune.expires_after(limits::kUpstreamIdle);
  prune.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    auto self = weak.lock();
    if (!error && self != nullptr) self->Prune();
  });
}

void UpstreamPool::Impl::Prune() {
  prune_armed = false;
  auto old = std::chrono::steady_clock::now() - limits::kUpstreamIdle;
  bool left = false;
  for (auto& [user, entry] : users) {
    std::erase_if(entry.idle, [&](const Idle& idle) { return idle.since <= old; });
    left = left || !entry.idle.empty();
  }
  if (left) ArmPrune();
}

asio::awaitable<Result<std::unique_ptr<Upstream>>> UpstreamPool::Impl::Open(std::shared_ptr<const UpstreamLogin> login,
                                                                            std::shared_ptr<void> permit) {
  uint64_t born = generation;
  ECLUSE_CO_TRY(auto upstream, co_await Upstream::Connect(target, login, &users[login->user].keys));
  upstream->generation_ = born;
  upstream->permit_ = std::move(permit);
  co_return upstream;
}

UpstreamPool::UpstreamPool(asio::any_io_executor executor, std::shared_ptr<const UpstreamTarget> target,
                           std::shared_ptr<UpstreamQuota> quota)
    : impl_(std::make_shared<Impl>(executor, std::move(target), quota)) {
  std::lock_guard lock(quota->mutex_);
  quota->pools_.push_back(impl_);
}

UpstreamPool::~UpstreamPool() {
  Drain();
  impl_->closed = true;
  impl_->prune.cancel();
}

UpstreamLease UpstreamPool::TryAcquire(const std::shared_ptr<const UpstreamLogin>& login) {
  std::unique_ptr<Upstream> upstream = impl_->TakeIdle(login->user);
  return upstream ? UpstreamLease(impl_, std::move(upstream)) : UpstreamLease();
}

asio::awaitable<Result<UpstreamLease>> UpstreamPool::Acquire(std::shared_ptr<const UpstreamLogin> login) {
  if (UpstreamLease lease = TryAcquire(login)) co_return lease;
  std::shared_ptr<UpstreamQuota::Permit> permit = impl_->quota->TryTake(login->user);
  if (!permit) {
    auto waiter = std::make_shared<UpstreamQuota::Waiter>(impl_, login->user, impl_->quota->wait_);
    {
      impl_->quota->Enqueue(waiter);
      UpstreamQuota::Place place{impl_->quota, waiter};
      impl_->quota->AskToYield(login->user);
      co_await waiter->timer.async_wait(asio::as_tuple(asio::deferred));
    }
    if (waiter->given) co_return UpstreamLease(impl_, std::move(waiter->given));
    permit = std::move(waiter->permit);
  }
  if (!permit) {
    co_return Fail(sqlstate::kTooManyConnections,
                   "all " + std::to_string(impl_->quota->per_role_) + " database connections of this role are in use",
                   "Try again in a moment; end transactions that are left open.", "upstream.busy",
                   "login " + login->user);
  }
  ECLUSE_CO_TRY(auto upstream, co_await impl_->Open(login, std::move(permit)));
  co_return UpstreamLease(impl_, std::move(upstream));
}

void UpstreamPool::Drain() {
  ++impl_->generation;
  for (auto& [user, entry] : impl_->users) {
    std::vector<Impl::Idle> closing = std::move(entry.idle);
    entry.idle.clear();
  }
}

size_t UpstreamPool::idle() const {
  size_t count = 0;
  for (const auto& [user, entry] : impl_->users) count += entry.idle.size();
  return count;
}

// ---- Lease ----

UpstreamLease::UpstreamLease(std::shared_ptr<void> pool, std::unique_ptr<Upstream> upstream)
    : pool_(std::move(pool)), upstream_(std::move(upstream)) {}

UpstreamLease& UpstreamLease::operator=(UpstreamLease&& other) noexcept {
  if (this != &other) {
    Release(Residue::settings);
    pool_ = std::move(other.pool_);
    upstream_ = std::move(other.upstream_);
  }
  return *this;
}

UpstreamLease::~UpstreamLease() { Release(Residue::settings); }

void UpstreamLease::Release(Residue residue) {
  if (upstream_) static_cast<UpstreamPool::Impl*>(pool_.get())->GiveBack(std::move(upstream_), residue);
}

}  // namespace ecluse
