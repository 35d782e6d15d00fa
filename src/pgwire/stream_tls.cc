// The TLS half of Stream: OpenSSL works on the socket itself, so that no record is copied between memory buffers and an
// idle connection keeps none.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <csignal>

#include "pgwire/stream.h"

namespace ecluse {
namespace asio = boost::asio;

namespace {

bool IsAddress(const std::string& name) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, name.c_str(), bytes) == 1 || inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

// Why OpenSSL gave up, the certificate's fault first.
std::string Reason(SSL* ssl) {
  if (long verdict = SSL_get_verify_result(ssl); verdict != X509_V_OK) return X509_verify_cert_error_string(verdict);
  unsigned long code = ERR_peek_last_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  return text == nullptr ? "the connection ended" : text;
}

}  // namespace

int Stream::TlsRead(char* to, size_t room) {
  ERR_clear_error();
  return SSL_read(ssl_, to, static_cast<int>(std::min<size_t>(room, 1 << 30)));
}

int Stream::TlsWrite(const char* from, size_t size) {
  ERR_clear_error();
  return SSL_write(ssl_, from, static_cast<int>(std::min<size_t>(size, 1 << 30)));
}

Io Stream::TlsFailed(int result, const char* what, Socket::wait_type* wants) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      *wants = Socket::wait_read;
      return Io::would_block;
    case SSL_ERROR_WANT_WRITE:
      *wants = Socket::wait_write;
      return Io::would_block;
    case SSL_ERROR_ZERO_RETURN:
      return Io::closed;
    case SSL_ERROR_SYSCALL:
      failure_ = std::string("TLS ") + what + ": the connection ended";
      return Io::closed;
    default:
      failure_ = std::string("TLS ") + what + ": " + Reason(ssl_);
      return Io::failed;
  }
}

void Stream::TlsEnd() {
  if (ssl_ == nullptr) return;
  ERR_clear_error();
  if (SSL_is_init_finished(ssl_)) SSL_shutdown(ssl_);
  SSL_free(ssl_);
  ssl_ = nullptr;
}

asio::awaitable<Status> Stream::Handshake() {
  // OpenSSL writes to sockets without MSG_NOSIGNAL.
  static const auto kIgnored = std::signal(SIGPIPE, SIG_IGN);
  (void)kIgnored;
  while (true) {
    ERR_clear_error();
    int done = SSL_do_handshake(ssl_);
    if (done == 1) co_return Status{};
    Socket::wait_type wants = Socket::wait_read;
    Io io = TlsFailed(done, "handshake", &wants);
    if (io == Io::would_block && !timed_out_) {
      auto [error] = co_await socket_.async_wait(wants, asio::as_tuple(asio::deferred));
      if (!error && open_) continue;
      io = Interrupted();
    }
    Error error = IoError(io, *this, "the peer");
    error.message = io == Io::timed_out ? "TLS was not agreed on in time" : "TLS could not be agreed on: " + failure_;
    error.hint = "Check the certificates of both sides and the TLS versions they allow (1.2 and later).";
    error.rule = "wire.tls";
    co_return std::unexpected(std::move(error));
  }
}

asio::awaitable<Status> Stream::AcceptTls(std::shared_ptr<const TlsContext> context) {
  if (begin_ != end_) {
    co_return Fail(sqlstate::kProtocolViolation, "bytes arrived before TLS was agreed on",
                   "They would be taken for protected ones. Something between the client and the gate adds them.",
                   "wire.tls-early-bytes");
  }
  ReleaseBuffer();
  drained_ = false;
  tls_ = std::move(context);
  tls_server_ = true;
  ssl_ = SSL_new(tls_->native());
  if (ssl_ == nullptr || SSL_set_fd(ssl_, socket_.native_handle()) != 1) {
    co_return Fail(sqlstate::kInternal, "TLS cannot be set up for this connection", "Try again.");
  }
  SSL_set_accept_state(ssl_);
  co_return co_await Handshake();
}

asio::awaitable<Status> Stream::ConnectTls(std::shared_ptr<const TlsContext> context, std::string name) {
  if (begin_ != end_) {
    co_return Fail(sqlstate::kProtocolViolation, "bytes arrived before TLS was agreed on",
                   "They would be taken for protected ones. Something between the gate and PostgreSQL adds them.",
                   "wire.tls-early-bytes");
  }
  ReleaseBuffer();
  drained_ = false;
  tls_ = std::move(context);
  ssl_ = SSL_new(tls_->native());
  if (ssl_ == nullptr || SSL_set_fd(ssl_, socket_.native_handle()) != 1) {
    co_return Fail(sqlstate::kInternal, "TLS cannot be set up for this connection", "Try again.");
  }
  SSL_set_connect_state(ssl_);
  static constexpr unsigned char kProtocol[] = "\x0apostgresql";
  SSL_set_alpn_protos(ssl_, kProtocol, sizeof kProtocol - 1);
  if (!name.empty()) {
    bool address = IsAddress(name);
    if (!address) SSL_set_tlsext_host_name(ssl_, name.c_str());
    int named =
        address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), name.c_str()) : SSL_set1_host(ssl_, name.c_str());
    if (named != 1)
      co_return Fail(sqlstate::kInternal, "TLS cannot be told whom to expect", "Check the database's host.");
  }
  co_return co_await Handshake();
}

std::string Stream::channel_binding() const {
  if (ssl_ == nullptr) return {};
  return tls_server_ ? tls_->end_point() : PeerEndPoint(ssl_);
}

}  // namespace ecluse
