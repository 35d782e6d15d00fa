// From an accepted socket to somebody authenticated, a cancel request, or a polite refusal.
#pragma once

#include <boost/asio.hpp>
#include <map>
#include <memory>
#include <string>
#include <variant>

#include "base/result.h"
#include "identity/principal.h"
#include "pgwire/scram.h"
#include "pgwire/stream.h"

namespace ecluse {

// Who decides. Implemented by identity/accounts.h. Thread-safe.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // The verifier to run SCRAM against, a mock one for a name that does not exist. Refuses only while the account or the
  // address is locked out, in the same words for names that exist and names that do not.
  virtual Result<ScramVerifier> Begin(const std::string& user, const std::string& address) = 0;
  // The outcome of the exchange: the principal, or why not. Counts failures.
  virtual Result<Principal> Finish(const std::string& user, const std::string& address, const ScramVerifier& verifier,
                                   bool proof) = 0;
};

struct StartupOptions {
  std::shared_ptr<const TlsContext> tls;  // null: TLS is not offered
  bool allow_cleartext = false;           // sessions without TLS
  Authenticator* authenticator = nullptr;
  std::string address;  // of the peer, without port; "local" for Unix sockets
  std::chrono::milliseconds time = limits::kAuthenticationTime;
};

// An authenticated client. AuthenticationOk stands unsent in stream.out(): the session appends ParameterStatus,
// BackendKeyData and ReadyForQuery and flushes. The stream's frame cap is limits::kClientMessage and it has no
// deadline.
struct Authenticated {
  Principal principal;
  // What the client asked for at startup, and through `options` as `-c name=value` or `--name=value`: names in lower
  // case, without user, database, options and replication. Nothing has been done with them; they go through the same
  // gate as SET.
  std::map<std::string, std::string> settings;
};

struct CancelAsked {
  uint32_t process = 0;
  std::string key;
};

// Already answered or not worth an answer; the caller closes the stream. `reason` is for the operator's log.
struct Refused {
  Error reason;
};

using Arrival = std::variant<Authenticated, CancelAsked, Refused>;

// Talks to a newcomer, for at most `options.time`. `stream` must live until it ends.
boost::asio::awaitable<Arrival> Greet(Stream* stream, StartupOptions options);

}  // namespace ecluse
