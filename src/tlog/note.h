// Signed notes (C2SP signed-note) and the Ed25519 keys that sign them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace ecluse {

// The byte that stands for an algorithm in key ids and verifier keys.
enum class SignatureType : uint8_t {
  ed25519 = 0x01,      // over the note's text
  cosignature = 0x04,  // C2SP tlog-cosignature, Ed25519, with a time
};

// Who may have signed: what `vkey` files and configurations hold, `<name>+<key id in hex>+<base64>`.
struct VerifierKey {
  std::string name;
  SignatureType type = SignatureType::ed25519;
  std::array<uint8_t, 32> key{};

  uint32_t id() const;  // the first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key)
  std::string Text() const;
  friend bool operator==(const VerifierKey&, const VerifierKey&) = default;
};
Result<VerifierKey> ParseVerifierKey(std::string_view text);

// A name that a key may have: not empty, no spaces, no plus, no control characters.
bool IsKeyName(std::string_view name);

// An Ed25519 private key (RFC 8032). Immutable, so safe for any number of threads.
class SigningKey {
 public:
  static constexpr size_t kSeed = 32;
  SigningKey(std::string name, SignatureType type, Secret seed);  // exactly kSeed bytes
  const VerifierKey& verifier() const { return verifier_; }
  std::string Sign(std::string_view message) const;  // 64 bytes

 private:
  Secret seed_;
  VerifierKey verifier_;
};
bool VerifyEd25519(const std::array<uint8_t, 32>& key, std::string_view message, std::string_view signature);

struct NoteSignature {
  std::string name;
  uint32_t id = 0;
  std::string bytes;  // what follows the key id

  std::string Line() const;  // "— <name> <base64>\n"
  bool By(const VerifierKey& key) const { return name == key.name && id == key.id(); }
};

struct Note {
  std::string text;  // with its last newline
  std::vector<NoteSignature> signatures;

  std::string Text() const;  // the whole note
};
// Refuses what is no note, longer than limits::kNote or signed by more than limits::kNoteSignatures.
Result<Note> ParseNote(std::string_view note);
// Lines of signatures alone, as a witness answers.
Result<std::vector<NoteSignature>> ParseSignatureLines(std::string_view lines);

// The note over `text` with one signature of type ed25519.
Note SignNote(std::string text, const SigningKey& key);
// True where the note carries a signature of `key` (type ed25519) and every such signature is right.
bool VerifyNote(const Note& note, const VerifierKey& key);

}  // namespace ecluse
