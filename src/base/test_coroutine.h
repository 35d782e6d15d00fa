// For tests: runs a coroutine to its end on an io_context of its own thread.
#pragma once

#include <boost/asio.hpp>
#include <exception>

namespace ecluse {

inline void RunCoroutine(boost::asio::io_context& io, boost::asio::awaitable<void> body) {
  std::exception_ptr thrown;
  bool done = false;
  boost::asio::co_spawn(io, std::move(body), [&](std::exception_ptr error) {
    thrown = error;
    done = true;
  });
  io.restart();
  while (!done) io.run_one();
  if (thrown) std::rethrow_exception(thrown);
}

// Lets others run for a while.
inline boost::asio::awaitable<void> Pause(std::chrono::milliseconds time) {
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, time);
  co_await timer.async_wait(boost::asio::use_awaitable);
}

}  // namespace ecluse
