#include "pgwire/tls.h"

#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <openssl/objects.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>

namespace ecluse {
namespace {

// What OpenSSL says went wrong last, and an empty queue afterwards.
std::string OpenSslReason() {
  std::string reason = "no reason given";
  if (unsigned long code = ERR_peek_last_error(); code != 0) {
    std::array<char, 256> text{};
    ERR_error_string_n(code, text.data(), text.size());
    reason = text.data();
  }
  ERR_clear_error();
  return reason;
}

// RFC 5929, section 4.1: the certificate's own signature hash, SHA-256 where that is MD5 or SHA-1.
std::string EndPointOf(X509* certificate) {
  int digest = NID_undef, key = NID_undef;
  if (certificate == nullptr || X509_get_signature_info(certificate, &digest, &key, nullptr, nullptr) != 1) return {};
  if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
  const EVP_MD* hash = digest == NID_undef ? nullptr : EVP_get_digestbynid(digest);
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int size = 0;
  if (hash == nullptr || X509_digest(certificate, hash, bytes.data(), &size) != 1) return {};
  return std::string(reinterpret_cast<const char*>(bytes.data()), size);
}

// RFC 7301: a client that offers protocols must offer ours; one that offers none is an ordinary libpq before 17.
int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                   unsigned int in_size, void*) {
  static constexpr std::array<unsigned char, 11> kOurs = {10, 'p', 'o', 's', 't', 'g', 'r', 'e', 's', 'q', 'l'};
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kOurs.data(), kOurs.size(), in, in_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

SSL_CTX* NewContext(const SSL_METHOD* method) {
  SSL_CTX* context = SSL_CTX_new(method);
  if (context == nullptr) return nullptr;
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // A peer that just hangs up is as good as one that says goodbye: every message carries its own length.
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  // Idle connections keep no record buffers, and a write may be retried from another place in memory.
  SSL_CTX_set_mode(context,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);  // a record in one read of the socket instead of two
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  return context;
}

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<const TlsContext>> TlsContext::Server(const std::string& certificate, const std::string& key) {
  SSL_CTX* context = NewContext(TLS_server_method());
  if (context == nullptr) return Fail(sqlstate::kInternal, "TLS cannot be set up", "Check the OpenSSL installation.");
  std::shared_ptr<TlsContext> result(new TlsContext(context));
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_alpn_select_cb(context, SelectProtocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    return Fail(sqlstate::kInvalidParameter, "the certificate " + certificate + " cannot be read: " + OpenSslReason(),
                "It must be a PEM file with the gate's certificate first, then those that signed it.");
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Fail(sqlstate::kInvalidParameter, "the private key " + key + " cannot be read: " + OpenSslReason(),
                "It must be a PEM file without a passphrase that the gate's user may read.");
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return Fail(sqlstate::kInvalidParameter, "the private key " + key + " does not belong to " + certificate,
                "Point both at the same pair.");
  }
  result->end_point_ = EndPointOf(SSL_CTX_get0_certificate(context));
  return result;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::Client(bool verify, const std::string& ca) {
  SSL_CTX* context = NewContext(TLS_client_method());
  if (context == nullptr) return Fail(sqlstate::kInternal, "TLS cannot be set up", "Check the OpenSSL installation.");
  std::shared_ptr<TlsContext> result(new TlsContext(context));
  if (verify) {
    int loaded = ca.empty() ? SSL_CTX_set_default_verify_paths(context)
                            : SSL_CTX_load_verify_locations(context, ca.c_str(), nullptr);
    if (loaded != 1) {
      return Fail(sqlstate::kInvalidParameter, "the authorities in " + ca + " cannot be read: " + OpenSslReason(),
                  "It must be a PEM file of the certificates that PostgreSQL's own is signed by.");
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  return result;
}

std::string PeerEndPoint(ssl_st* ssl) { return EndPointOf(SSL_get0_peer_certificate(ssl)); }

}  // namespace ecluse
