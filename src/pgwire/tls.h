// TLS contexts (OpenSSL 3), shared by many streams.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace ecluse {

// Immutable after it is made; shared between threads. TLS 1.2 and later.
class TlsContext {
 public:
  // For our own doors: `certificate` is a PEM chain, `key` its PEM private key. Errors name the file and what is wrong.
  // The tls-server-end-point of the certificate (RFC 5929) is computed once.
  static Result<std::shared_ptr<const TlsContext>> Server(const std::string& certificate, const std::string& key);

  // Towards PostgreSQL. `ca` is a PEM file of trusted authorities, or empty for the system's. `verify` false accepts
  // any certificate (tls: require).
  static Result<std::shared_ptr<const TlsContext>> Client(bool verify, const std::string& ca);

  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* native() const { return context_; }
  const std::string& end_point() const { return end_point_; }  // of Server()

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* context_;
  std::string end_point_;
};

// The tls-server-end-point channel binding (RFC 5929, section 4.1) of the certificate the peer of `ssl` has shown;
// empty where its signature algorithm has none.
std::string PeerEndPoint(ssl_st* ssl);

}  // namespace ecluse
