// One gate guards one register: whoever holds the advisory lock on its database. Losing it stops release at once.
#pragma once

#include <atomic>
#include <boost/asio.hpp>
#include <memory>

#include "base/result.h"
#include "execute/upstream.h"

namespace ecluse {

class RegisterLock {
 public:
  // `held` is true exactly while the lock is known to be held; shared with delivery.
  RegisterLock(std::shared_ptr<const UpstreamTarget> target, std::shared_ptr<const UpstreamLogin> login, int64_t key,
               std::atomic<bool>& held)
      : target_(std::move(target)), login_(std::move(login)), key_(key), held_(held) {}

  // Connects and takes the lock, waiting up to limits::kLockWait for a gate that is just going. Refuses with 58030
  // where another one stays.
  boost::asio::awaitable<Status> Acquire();
  // Watches over the lock until Stop(): a connection that breaks, or does not answer within limits::kLockCheck, clears
  // `held`; then it is taken again as soon as that is possible.
  boost::asio::awaitable<void> Watch();
  // As whom it is taken from now on: a reload may bring another password, or take the role away. What is held stays.
  // On the executor that Watch() runs on.
  void SetLogin(std::shared_ptr<const UpstreamLogin> login) { login_ = std::move(login); }
  // Ends Watch() and gives the lock back. On the executor that Watch() runs on.
  void Stop();

 private:
  boost::asio::awaitable<Status> TryOnce();
  boost::asio::awaitable<bool> Answer();

  std::shared_ptr<const UpstreamTarget> target_;
  std::shared_ptr<const UpstreamLogin> login_;
  int64_t key_;
  std::atomic<bool>& held_;
  std::unique_ptr<Upstream> connection_;
  bool stopped_ = false;
};

}  // namespace ecluse
