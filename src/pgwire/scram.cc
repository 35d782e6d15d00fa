#include "pgwire/scram.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <unicode/usprep.h>
#include <unicode/ustring.h>

#include <charconv>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/random.h"

namespace ecluse {
namespace {

constexpr std::string_view kClientKey = "Client Key", kServerKey = "Server Key";

ScramKey Hmac(std::span<const uint8_t> key, std::string_view text) {
  ScramKey out;
  unsigned int size = 0;
  CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), AsBytes(text).data(), text.size(), out.data(),
             &size) != nullptr);
  return out;
}

ScramKey Hash(const ScramKey& key) {
  ScramKey out;
  SHA256(key.data(), key.size(), out.data());
  return out;
}

ScramKey Xor(const ScramKey& a, const ScramKey& b) {
  ScramKey out;
  for (size_t i = 0; i < out.size(); ++i) out[i] = a[i] ^ b[i];
  return out;
}

// Hi() of RFC 5802, section 2.2.
Secret SaltedPassword(std::string_view password, std::string_view salt, int iterations) {
  Secret prepared(std::string_view(SaslPrep(password)));
  Secret salted(32);
  CHECK(PKCS5_PBKDF2_HMAC(prepared.text().data(), static_cast<int>(prepared.size()), AsBytes(salt).data(),
                          static_cast<int>(salt.size()), iterations, EVP_sha256(), 32,
                          salted.mutable_bytes().data()) == 1);
  return salted;
}

bool IsNonce(std::string_view text) {
  if (text.empty() || text.size() > limits::kScramNonce) return false;
  for (char c : text) {
    if (c < 0x21 || c > 0x7e || c == ',') return false;
  }
  return true;
}

// Takes `x=value` off the front of a message, up to the next comma.
bool TakeAttribute(std::string_view& message, char letter, std::string_view* value) {
  if (message.size() < 2 || message[0] != letter || message[1] != '=') return false;
  size_t comma = message.find(',');
  *value = message.substr(2, comma == std::string_view::npos ? comma : comma - 2);
  message = comma == std::string_view::npos ? std::string_view() : message.substr(comma + 1);
  return true;
}

template <typename Key>
bool DecodeInto(std::string_view base64, Key& out) {
  auto bytes = Base64Decode(base64);
  if (!bytes || bytes->size() != out.size()) return false;
  std::copy(bytes->begin(), bytes->end(), out.begin());
  return true;
}

std::string Base64(std::string_view bytes) { return Base64Encode(AsBytes(bytes)); }

bool ParseCount(std::string_view text, int* out) {
  auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && at == text.data() + text.size();
}

std::unexpected<Error> BadMessage(std::string_view what) {
  return Fail(sqlstate::kProtocolViolation, "the SCRAM exchange does not follow RFC 5802: " + std::string(what),
              "Check the driver, and whether something between it and the gate alters bytes.", "wire.scram");
}

std::unexpected<Error> BadServer(std::string_view what) {
  return Fail("08006", "PostgreSQL could not be logged in to", "Ask the operator to look at the gate's log.",
              "upstream.scram", "SCRAM with PostgreSQL: " + std::string(what));
}

}  // namespace

std::string SaslPrep(std::string_view password) {
  bool ascii = true;
  for (char c : password) ascii = ascii && c >= 0x20 && c < 0x7f;
  if (ascii) return std::string(password);
  UErrorCode error = U_ZERO_ERROR;
  int32_t size = 0;
  std::vector<UChar> wide(password.size() + 1);
  u_strFromUTF8(wide.data(), static_cast<int32_t>(wide.size()), &size, password.data(),
                static_cast<int32_t>(password.size()), &error);
  UStringPrepProfile* profile = usprep_openByType(USPREP_RFC4013_SASLPREP, &error);
  std::vector<UChar> prepared(4 * password.size() + 16);
  int32_t prepared_size = U_FAILURE(error)
                              ? 0
                              : usprep_prepare(profile, wide.data(), size, prepared.data(),
                                               static_cast<int32_t>(prepared.size()), USPREP_DEFAULT, nullptr, &error);
  if (profile != nullptr) usprep_close(profile);
  std::string out(12 * password.size() + 48, '\0');
  int32_t out_size = 0;
  if (U_SUCCESS(error)) {
    u_strToUTF8(out.data(), static_cast<int32_t>(out.size()), &out_size, prepared.data(), prepared_size, &error);
  }
  if (U_FAILURE(error) || out_size == 0) return std::string(password);
  out.resize(static_cast<size_t>(out_size));
  return out;
}

std::string ScramNonce() {
  std::array<uint8_t, 18> bytes;
  RandomBytes(bytes);
  return Base64Encode(bytes);
}

ScramVerifier ScramVerifier::Make(std::string_view password, std::string_view salt, int iterations) {
  Secret salted = SaltedPassword(password, salt, iterations);
  return {iterations, std::string(salt), Hash(Hmac(salted.bytes(), kClientKey)), Hmac(salted.bytes(), kServerKey)};
}

ScramVerifier ScramVerifier::Mock(std::string_view user, std::string_view secret) {
  auto derive = [&](std::string_view label) { return Hmac(AsBytes(secret), std::string(label) + std::string(user)); };
  ScramKey salt = derive("salt:");
  // The stored key is not the hash of anything known, so no proof fits it.
  return {limits::kScramIterations, std::string(reinterpret_cast<const char*>(salt.data()), 16), derive("stored:"),
          derive("server:")};
}

std::optional<ScramVerifier> ScramVerifier::Parse(std::string_view text) {
  ScramVerifier out;
  std::string prefix = std::string(kScramSha256) + "$";
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  size_t colon = text.find(':'), dollar = text.find('$');
  if (colon == std::string_view::npos || dollar == std::string_view::npos || dollar < colon) return std::nullopt;
  std::string_view keys = text.substr(dollar + 1);
  size_t split = keys.find(':');
  if (split == std::string_view::npos || !ParseCount(text.substr(0, colon), &out.iterations)) return std::nullopt;
  auto salt = Base64Decode(text.substr(colon + 1, dollar - colon - 1));
  if (out.iterations < 1 || out.iterations > limits::kScramIterationsMax || !salt || salt->empty() ||
      !DecodeInto(keys.substr(0, split), out.stored_key) || !DecodeInto(keys.substr(split + 1), out.server_key)) {
    return std::nullopt;
  }
  out.salt.assign(salt->begin(), salt->end());
  return out;
}

std::string ScramVerifier::Text() const {
  return std::string(kScramSha256) + "$" + std::to_string(iterations) + ":" + Base64(salt) + "$" +
         Base64Encode(stored_key) + ":" + Base64Encode(server_key);
}

bool ScramVerifier::Matches(std::string_view password) const {
  return ConstantTimeEqual(Make(password, salt, iterations).stored_key, stored_key);
}

// ---- Server ----

ScramServer::ScramServer(ScramVerifier verifier, std::string mechanism, bool plus_offered, std::string end_point,
                         std::string nonce)
    : verifier_(std::move(verifier)),
      mechanism_(std::move(mechanism)),
      plus_offered_(plus_offered),
      end_point_(std::move(end_point)),
      nonce_(std::move(nonce)) {}

Result<std::string> ScramServer::First(std::string_view client_first) {
  std::string_view rest = client_first;
  size_t comma = rest.find(',');
  if (comma == std::string_view::npos) return BadMessage("no GS2 header");
  std::string_view binding = rest.substr(0, comma);
  bool plus = mechanism_ == kScramSha256Plus;
  if (plus ? binding != "p=tls-server-end-point" : binding != "n" && binding != "y") {
    return BadMessage("the channel binding does not fit the mechanism; the gate binds with tls-server-end-point");
  }
  if (binding == "y" && plus_offered_) {
    return Fail(sqlstate::kUnknownUser, "the client believes that the gate does not offer channel binding, but it does",
                "Something between them may have hidden the offer. Check the connection.", "wire.scram-downgrade");
  }
  rest.remove_prefix(comma + 1);
  if (rest.empty() || rest[0] != ',') return BadMessage("an authorization identity, which the gate does not take");
  rest.remove_prefix(1);
  gs2_header_ = client_first.substr(0, client_first.size() - rest.size());
  client_first_bare_ = rest;
  std::string_view user, nonce;
  if (!TakeAttribute(rest, 'n', &user)) return BadMessage("no user name attribute, or a mandatory extension before it");
  if (!TakeAttribute(rest, 'r', &nonce) || !IsNonce(nonce)) return BadMessage("no usable nonce");
  nonce_ = std::string(nonce) + nonce_;
  server_first_ = "r=" + nonce_ + ",s=" + Base64(verifier_.salt) + ",i=" + std::to_string(verifier_.iterations);
  return server_first_;
}

Result<ScramServer::Outcome> ScramServer::Final(std::string_view client_final) {
  size_t proof_at = client_final.rfind(",p=");
  if (server_first_.empty() || proof_at == std::string_view::npos) return BadMessage("no proof");
  std::string_view without_proof = client_final.substr(0, proof_at), rest = without_proof, binding, nonce;
  if (!TakeAttribute(rest, 'c', &binding)) return BadMessage("no channel binding attribute");
  if (!TakeAttribute(rest, 'r', &nonce)) return BadMessage("no nonce");
  if (nonce != nonce_) return BadMessage("the nonce is not the one agreed on");
  if (binding != Base64(gs2_header_ + (mechanism_ == kScramSha256Plus ? end_point_ : std::string()))) {
    return Fail(sqlstate::kUnknownUser, "the client's channel binding is not for this connection",
                "Its TLS session ends somewhere else than at the gate. Check what stands between them.",
                "wire.scram-binding");
  }
  ScramKey proof;
  if (!DecodeInto(client_final.substr(proof_at + 3), proof)) return BadMessage("a proof that is not 32 bytes");

  std::string auth_message = client_first_bare_ + "," + server_first_ + "," + std::string(without_proof);
  ScramKey client_key = Xor(proof, Hmac(verifier_.stored_key, auth_message));
  Outcome outcome;
  outcome.authenticated = ConstantTimeEqual(Hash(client_key), verifier_.stored_key);
  outcome.server_final = "v=" + Base64Encode(Hmac(verifier_.server_key, auth_message));
  return outcome;
}

// ---- Client ----

ScramClient::ScramClient(std::string_view password, std::string end_point, bool server_offers_plus, std::string nonce)
    : password_(password),
      end_point_(std::move(end_point)),
      plus_(!end_point_.empty() && server_offers_plus),
      nonce_(std::move(nonce)),
      gs2_header_(plus_                ? "p=tls-server-end-point,,"
                  : end_point_.empty() ? "n,,"
                                       : "y,,") {
  client_first_bare_ = "n=,r=" + nonce_;
}

std::string ScramClient::First() { return gs2_header_ + client_first_bare_; }

Result<std::string> ScramClient::Final(std::string_view server_first, ScramClientKeys* keys) {
  std::string_view rest = server_first, nonce, salt_text, count;
  if (!TakeAttribute(rest, 'r', &nonce) || !TakeAttribute(rest, 's', &salt_text) || !TakeAttribute(rest, 'i', &count)) {
    return BadServer("its first message is malformed");
  }
  if (nonce.size() <= nonce_.size() || !nonce.starts_with(nonce_) || nonce.size() > 2 * limits::kScramNonce) {
    return BadServer("its nonce does not continue ours");
  }
  int iterations = 0;
  auto salt = Base64Decode(salt_text);
  if (!salt || salt->empty()) return BadServer("its salt cannot be read");
  if (!ParseCount(count, &iterations) || iterations < 1 || iterations > limits::kScramIterationsMax) {
    return BadServer("its iteration count is outside 1 to " + std::to_string(limits::kScramIterationsMax));
  }
  ScramClientKeys fresh;
  if (keys == nullptr) keys = &fresh;
  std::string salt_bytes(salt->begin(), salt->end());
  if (keys->salt != salt_bytes || keys->iterations != iterations) {
    Secret salted = SaltedPassword(password_.text(), salt_bytes, iterations);
    *keys = {salt_bytes, iterations, Hmac(salted.bytes(), kClientKey), Hmac(salted.bytes(), kServerKey)};
  }
  std::string final = "c=" + Base64(gs2_header_ + (plus_ ? end_point_ : std::string())) + ",r=" + std::string(nonce);
  std::string auth_message = client_first_bare_ + "," + std::string(server_first) + "," + final;
  server_signature_ = Hmac(keys->server_key, auth_message);
  return final + ",p=" + Base64Encode(Xor(keys->client_key, Hmac(Hash(keys->client_key), auth_message)));
}

Status ScramClient::Verify(std::string_view server_final) const {
  ScramKey signature;
  if (!server_final.starts_with("v=") || !DecodeInto(server_final.substr(2), signature) ||
      !ConstantTimeEqual(signature, server_signature_)) {
    return BadServer("it did not prove that it knows the password's verifier; this may not be PostgreSQL");
  }
  return {};
}

}  // namespace ecluse
