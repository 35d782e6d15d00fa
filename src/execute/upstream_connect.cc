// From nothing to a connection that is logged in; and the connection of a cancel request.
#include <sys/un.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include "base/limits.h"
#include "base/log.h"
#include "execute/upstream.h"

namespace ecluse {
namespace asio = boost::asio;
using asio::generic::stream_protocol;
using namespace asio::experimental::awaitable_operators;

namespace {

constexpr std::string_view kUnreachable = "PostgreSQL cannot be reached";
constexpr std::string_view kUnreachableHint = "Try again in a moment; if it lasts, tell the operator of the gate.";

std::unexpected<Error> Unreachable(std::string detail) {
  return Fail("08006", std::string(kUnreachable), std::string(kUnreachableHint), "upstream.connect", std::move(detail));
}

// The addresses of a target: one for a folder that holds a Unix socket, else what its name resolves to.
asio::awaitable<Result<std::vector<stream_protocol::endpoint>>> Resolve(const DatabaseTarget* database,
                                                                        Stream::Deadline deadline) {
  std::vector<stream_protocol::endpoint> endpoints;
  std::string port = std::to_string(database->port);
  if (database->host.starts_with('/')) {
    std::string path = database->host + "/.s.PGSQL." + port;
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      co_return Unreachable("the socket's path " + path + " is longer than the system allows");
    }
    endpoints.emplace_back(asio::local::stream_protocol::endpoint(path));
    co_return endpoints;
  }
  auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver(executor);
  asio::steady_timer timer(executor, deadline);
  auto outcome = co_await (resolver.async_resolve(database->host, port, asio::as_tuple(asio::use_awaitable)) ||
                           timer.async_wait(asio::as_tuple(asio::use_awaitable)));
  if (outcome.index() != 0) co_return Unreachable("resolving " + database->host + " took too long");
  auto& [error, found] = std::get<0>(outcome);
  if (error) co_return Unreachable("resolving " + database->host + ": " + error.message());
  for (const auto& entry : found) endpoints.emplace_back(entry.endpoint());
  co_return endpoints;
}

// Connects to one address, giving up at `deadline`.
asio::awaitable<boost::system::error_code> ConnectSocket(stream_protocol::socket* socket,
                                                         stream_protocol::endpoint endpoint,
                                                         Stream::Deadline deadline) {
  asio::steady_timer timer(socket->get_executor(), deadline);
  auto outcome = co_await (socket->async_connect(endpoint, asio::as_tuple(asio::use_awaitable)) ||
                           timer.async_wait(asio::as_tuple(asio::use_awaitable)));
  if (outcome.index() != 0) co_return make_error_code(asio::error::timed_out);
  co_return std::get<0>(std::get<0>(outcome));
}

asio::awaitable<Status> UpgradeToTls(Stream* stream, const UpstreamTarget* target) {
  pg::WriteSslRequest(stream->out());
  if (Io io = co_await stream->Flush(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "PostgreSQL"));
  if (Io io = co_await stream->Fill(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "PostgreSQL"));
  if (stream->buffered()[0] != 'S') {
    co_return Unreachable("PostgreSQL does not offer TLS, which the policy's database.tls asks for");
  }
  stream->Consume(1);
  bool name = target->database.tls == DatabaseTarget::Tls::verify_full;
  Status upgraded = co_await stream->ConnectTls(target->tls, name ? target->database.host : std::string());
  if (!upgraded) co_return Unreachable("TLS with PostgreSQL: " + upgraded.error().message);
  co_return Status{};
}

std::string SearchPath(const std::vector<std::string>& schemas) {
  std::string path = "pg_catalog";
  for (const std::string& schema : schemas) {
    path += ", \"";
    for (char c : schema) path.append(c == '"' ? 2 : 1, c);
    path += '"';
  }
  return path;
}

}  // namespace

Result<std::shared_ptr<const UpstreamTarget>> UpstreamTarget::Make(const DatabaseTarget& database) {
  auto target = std::make_shared<UpstreamTarget>();
  target->database = database;
  bool socket = database.host.starts_with('/');  // PostgreSQL does not speak TLS on Unix sockets
  if (database.tls == DatabaseTarget::Tls::disable || socket) return target;
  ECLUSE_TRY(target->tls, TlsContext::Client(database.tls != DatabaseTarget::Tls::require, database.ca));
  return target;
}

asio::awaitable<Result<std::unique_ptr<Stream>>> ConnectStream(std::shared_ptr<const UpstreamTarget> target,
                                                               Stream::Deadline deadline) {
  ECLUSE_CO_TRY(auto endpoints, co_await Resolve(&target->database, deadline));
  auto executor = co_await asio::this_coro::executor;
  boost::system::error_code error = asio::error::host_not_found;
  for (const stream_protocol::endpoint& endpoint : endpoints) {
    stream_protocol::socket socket(executor);
    error = co_await ConnectSocket(&socket, endpoint, deadline);
    if (error) continue;
    auto stream = std::make_unique<Stream>(std::move(socket));
    stream->SetDeadline(deadline);
    stream->set_frame_cap(limits::kUpstreamMessage);
    if (target->tls) {
      if (Status upgraded = co_await UpgradeToTls(stream.get(), target.get()); !upgraded) {
        co_return std::unexpected(std::move(upgraded).error());
      }
    }
    co_return stream;
  }
  co_return Unreachable("connecting to " + target->database.host + ": " + error.message());
}

// The conversation from StartupMessage to ReadyForQuery.
struct Upstream::Login {
  Upstream* upstream;
  ScramClientKeys* keys;
  std::optional<ScramClient> scram;
  bool proven = false;

  Stream& stream() { return *upstream->stream_; }

  void Start() {
    std::string path = SearchPath(upstream->login_->schemas);
    const std::pair<std::string_view, std::string_view> parameters[] = {
        {"user", upstream->login_->user},      {"database", upstream->target_->database.name},
        {"application_name", "ecluse"},        {"client_encoding", "UTF8"},
        {"standard_conforming_strings", "on"}, {"search_path", path},
    };
    pg::WriteStartup(stream().out(), parameters);
  }

  Status Authentication(const pg::AuthenticationMessage& message) {
    switch (message.code) {
      case 0:
        // Trust and peer authentication are the server's business; a SCRAM exchange once begun must be finished.
        if (scram && !proven) return Unreachable("PostgreSQL ended SCRAM without proving itself");
        return {};
      case 10: {
        if (scram) return Unreachable("PostgreSQL began SCRAM twice");
        bool plus = pg::HasSaslMechanism(message.data, kScramSha256Plus);
        if (!plus && !pg::HasSaslMechanism(message.data, kScramSha256)) {
          return Unreachable("PostgreSQL offers no SASL mechanism that the gate knows");
        }
        scram.emplace(upstream->login_->password.text(), stream().channel_binding(), plus, ScramNonce());
        pg::WriteSaslInitial(stream().out(), scram->mechanism(), scram->First());
        return {};
      }
      case 11: {
        if (!scram) return Unreachable("PostgreSQL continued SCRAM before it began");
        ECLUSE_TRY(std::string final, scram->Final(message.data, keys));
        pg::WriteSaslResponse(stream().out(), final);
        return {};
      }
      case 12: {
        if (!scram) return Unreachable("PostgreSQL ended SCRAM before it began");
        proven = true;
        return scram->Verify(message.data);
      }
      default:
        return Unreachable("PostgreSQL asks for authentication " + std::to_string(message.code) +
                           "; the gate logs in with scram-sha-256, peer or trust");
    }
  }

  // True once PostgreSQL is ready for queries.
  Result<bool> Take(const pg::Frame& frame) {
    pg::AuthenticationMessage authentication;
    pg::BackendKey key;
    std::string_view name, value;
    switch (frame.type) {
      case 'R':
        if (!pg::ReadAuthentication(frame.payload, &authentication)) break;
        if (Status taken = Authentication(authentication); !taken) return std::unexpected(std::move(taken).error());
        return false;
      case 'S':
        if (!pg::ReadParameterStatus(frame.payload, &name, &value)) break;
        upstream->parameters_[std::string(name)] = std::string(value);
        return false;
      case 'K':
        if (!pg::ReadBackendKey(frame.payload, &key)) break;
        upstream->process_ = key.process;
        upstream->cancel_key_ = key.key;
        return false;
      case 'N':
        return false;
      case 'E': {
        Error error = UpstreamError(frame.payload);
        return Unreachable("logging in as " + upstream->login_->user + ": " + error.operator_detail);
      }
      case 'Z':
        if (!pg::ReadReady(frame.payload, &upstream->status_) || upstream->status_ != 'I') break;
        upstream->reading_ = upstream->ReadingOf();
        return true;
    }
    return Unreachable("PostgreSQL sent a message at login that the gate does not understand");
  }
};

asio::awaitable<Result<std::unique_ptr<Upstream>>> Upstream::Connect(std::shared_ptr<const UpstreamTarget> target,
                                                                     std::shared_ptr<const UpstreamLogin> login,
                                                                     ScramClientKeys* keys) {
  auto deadline = std::chrono::steady_clock::now() + limits::kUpstreamConnect;
  ECLUSE_CO_TRY(std::unique_ptr<Stream> stream, co_await ConnectStream(target, deadline));
  std::unique_ptr<Upstream> upstream(new Upstream(std::move(target), std::move(login), std::move(stream)));
  Login steps{upstream.get(), keys, std::nullopt};
  steps.Start();
  Stream& wire = *upstream->stream_;
  while (true) {
    if (Io io = co_await wire.Flush(); io != Io::ok) co_return std::unexpected(IoError(io, wire, "PostgreSQL"));
    pg::Frame frame;
    pg::FrameState state = wire.TryNext(&frame);
    if (state == pg::FrameState::violation) co_return Unreachable("what answered does not speak PostgreSQL's protocol");
    if (state == pg::FrameState::need_more) {
      if (Io io = co_await wire.Fill(); io != Io::ok) co_return std::unexpected(IoError(io, wire, "PostgreSQL"));
      continue;
    }
    ECLUSE_CO_TRY(bool ready, steps.Take(frame));
    if (!ready) continue;
    wire.SetDeadline(Stream::kNoDeadline);
    co_return upstream;
  }
}

asio::awaitable<Status> SendCancel(CancelTarget target) {
  auto deadline = std::chrono::steady_clock::now() + limits::kUpstreamConnect;
  ECLUSE_CO_TRY(std::unique_ptr<Stream> stream, co_await ConnectStream(target.target, deadline));
  pg::WriteCancelRequest(stream->out(), target.process, target.key);
  if (Io io = co_await stream->Flush(); io != Io::ok) co_return std::unexpected(IoError(io, *stream, "PostgreSQL"));
  Io io = co_await stream->Fill();
  if (io == Io::closed) co_return Status{};
  co_return Unreachable("PostgreSQL did not close the connection of a cancel request");
}

}  // namespace ecluse
