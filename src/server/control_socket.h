// <data_dir>/control.sock: by it commands have a running gate do what only the one who writes may do.
// docs/ledger_format.md, "Control socket".
#pragma once

#include <boost/asio.hpp>
#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ecluse {

// Answers requests of the gate's own user and of root, on the context's thread.
class ControlSocket {
 public:
  // What was done, in words. The request may hold passwords: it is wiped when this returns, so nothing of it may be
  // kept. What may take long is left to `later`, for which a thread of the socket's own waits; it may outlive whatever
  // was asked of the context.
  using Work = std::function<Result<std::string>()>;
  using Handler = std::function<Result<std::string>(const boost::json::object& request, Work* later)>;

  // The folder's lock must be held: a socket that is there is one that a killed gate left.
  ControlSocket(boost::asio::io_context& context, std::string data_dir, Handler handler);
  ~ControlSocket();
  Status Open();
  // No more requests. On the context's thread, or where it does not run.
  void Close();

 private:
  boost::asio::awaitable<void> Accept();
  boost::asio::awaitable<void> Serve(boost::asio::local::stream_protocol::socket socket);
  Result<std::string> Handle(std::string_view request, Work* later) const;

  boost::asio::io_context& context_;
  const std::string data_dir_;
  const Handler handler_;
  boost::asio::local::stream_protocol::acceptor acceptor_;
  std::shared_ptr<int> open_ = std::make_shared<int>(0);  // requests
  boost::asio::thread_pool pool_{1};
};

// Sends a request to the gate that serves over `data_dir`, and waits for what it says, at most
// limits::kControlAnswer; refuses where none does.
Result<std::string> AskGate(const std::string& data_dir, const boost::json::object& request);

}  // namespace ecluse
