// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677, RFC 5929), both sides, as pure state machines: message in,
// message out. Randomness is the caller's (a nonce is given), so that every exchange can be repeated in a test.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace ecluse {

inline constexpr std::string_view kScramSha256 = "SCRAM-SHA-256";
inline constexpr std::string_view kScramSha256Plus = "SCRAM-SHA-256-PLUS";

using ScramKey = std::array<uint8_t, 32>;

// What a server keeps instead of a password. Its text is that of PostgreSQL's pg_authid.rolpassword:
// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, base64.
struct ScramVerifier {
  int iterations = 0;
  std::string salt;  // bytes
  ScramKey stored_key{};
  ScramKey server_key{};

  // Derives a verifier. `salt` is 16 random bytes of the caller's. The password is prepared with SASLprep (RFC 4013);
  // one that cannot be prepared is used byte for byte, as PostgreSQL does.
  static ScramVerifier Make(std::string_view password, std::string_view salt, int iterations);
  // For accounts that do not exist: looks like any other, is the same for the same name as long as `secret` is, and no
  // password fits it.
  static ScramVerifier Mock(std::string_view user, std::string_view secret);
  static std::optional<ScramVerifier> Parse(std::string_view text);
  std::string Text() const;
  // Whether `password` is the one behind it; as slow as one login.
  bool Matches(std::string_view password) const;
};

// Random text fit for a nonce: 18 bytes in base64, as PostgreSQL uses.
std::string ScramNonce();

// SASLprep (RFC 4013) of a password; the bytes themselves where they are not valid UTF-8 or hold what it prohibits.
std::string SaslPrep(std::string_view password);

// The server's side. Call First() with the client's first message, then Final() with its second. Any failure is final.
class ScramServer {
 public:
  // `end_point` is the tls-server-end-point of the connection, empty in clear. `mechanism` is what the client chose;
  // `plus_offered` whether the PLUS mechanism was offered to it, so that a client that was kept from seeing it is
  // refused.
  ScramServer(ScramVerifier verifier, std::string mechanism, bool plus_offered, std::string end_point,
              std::string nonce);

  // The server-first-message, or 08P01 for a malformed one and 28000 for a channel binding that does not fit.
  Result<std::string> First(std::string_view client_first);

  struct Outcome {
    bool authenticated = false;
    std::string server_final;  // to be sent only where authenticated
  };
  // Whether the client knows the password. An Error only for malformed messages.
  Result<Outcome> Final(std::string_view client_final);

 private:
  ScramVerifier verifier_;
  std::string mechanism_;
  bool plus_offered_;
  std::string end_point_;
  std::string nonce_;
  std::string gs2_header_;
  std::string client_first_bare_;
  std::string server_first_;
};

// The keys a password gives with one salt and iteration count: what is slow, and may be kept between logins.
struct ScramClientKeys {
  std::string salt;
  int iterations = 0;
  ScramKey client_key{};
  ScramKey server_key{};
};

// The client's side.
class ScramClient {
 public:
  // With an `end_point` channel binding is used (PLUS). `server_offers_plus` false with an end point says "y": we could
  // have.
  ScramClient(std::string_view password, std::string end_point, bool server_offers_plus, std::string nonce);

  std::string_view mechanism() const { return plus_ ? kScramSha256Plus : kScramSha256; }
  std::string First();
  // The client-final-message, or why the server's message is not acceptable (nonce, iteration count over
  // limits::kScramIterationsMax). `keys` are looked at and updated where given.
  Result<std::string> Final(std::string_view server_first, ScramClientKeys* keys = nullptr);
  // Whether the server proved that it knows the verifier.
  Status Verify(std::string_view server_final) const;

 private:
  Secret password_;
  std::string end_point_;
  bool plus_;
  std::string nonce_;
  std::string gs2_header_;
  std::string client_first_bare_;
  ScramKey server_signature_{};
};

}  // namespace ecluse
