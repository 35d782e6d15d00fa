// XAES-256-GCM (C2SP XAES-256-GCM): AES-256-GCM under a key derived for each message, so that 192-bit nonces can be
// random and nobody has to count messages.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/secret.h"

namespace ecluse {

inline constexpr size_t kXaesKey = 32;
inline constexpr size_t kXaesNonce = 24;
inline constexpr size_t kXaesTag = 16;

// One 256-bit key. Immutable, so safe for any number of threads. Contexts that hold expanded keys live only inside a
// call.
class Xaes {
 public:
  explicit Xaes(Secret key);  // exactly kXaesKey bytes

  // Ciphertext and tag. Aborts where OpenSSL fails: there is no sealed value to go on with.
  std::string Seal(std::span<const uint8_t, kXaesNonce> nonce, std::string_view plain,
                   std::string_view associated) const;
  // The plain text, or nullopt where key, nonce, associated data or a byte of `sealed` is not what it was.
  std::optional<std::string> Open(std::span<const uint8_t, kXaesNonce> nonce, std::string_view sealed,
                                  std::string_view associated) const;

  std::span<const uint8_t> key() const { return key_.bytes(); }

 private:
  void Derive(std::span<const uint8_t, kXaesNonce> nonce, std::span<uint8_t, kXaesKey> out) const;
  Secret key_;
  Secret subkey_;  // K1 of CMAC (NIST SP 800-38B, 6.1)
};

// The envelope in which everything sealed is stored (docs/vault_format.md):
// version ‖ key id (8) ‖ nonce (24) ‖ ciphertext ‖ tag (16). Version and key id are bound as well: they stand before
// the caller's associated data.
using KeyId = std::array<uint8_t, 8>;
inline constexpr size_t kEnvelopeOverhead = 1 + 8 + kXaesNonce + kXaesTag;
// 0x02 is what a token wraps (docs/vault_format.md).
enum class EnvelopeVersion : char {
  key = 0x01,         // under the key that its id names
  key_of_two = 0x03,  // under one made of that key and of the own key of the person whom the value is about
};

// Seals under a fresh random nonce.
std::string SealEnvelope(const Xaes& key, const KeyId& id, std::string_view plain, std::string_view associated,
                         EnvelopeVersion version = EnvelopeVersion::key);
// The key id an envelope names; nullopt where it is none of that version.
std::optional<KeyId> EnvelopeKeyId(std::string_view envelope, EnvelopeVersion version = EnvelopeVersion::key);
// nullopt as Xaes::Open, or where it is no envelope of that version. The caller chose the key by EnvelopeKeyId.
std::optional<std::string> OpenEnvelope(const Xaes& key, std::string_view envelope, std::string_view associated,
                                        EnvelopeVersion version = EnvelopeVersion::key);

}  // namespace ecluse
