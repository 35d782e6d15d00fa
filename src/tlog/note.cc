#include "tlog/note.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "tlog/tree.h"

namespace ecluse {
namespace {

constexpr std::string_view kDash = "\xE2\x80\x94 ";  // U+2014 and a space

std::unexpected<Error> NotANote(std::string_view what) {
  return Fail(sqlstate::kIo, fmt::format("this is no signed note: {}", what),
              "compare it with what was signed; format: c2sp.org/signed-note", "tlog.note");
}

std::unexpected<Error> NotAKey(std::string_view what) {
  return Fail(sqlstate::kIo, fmt::format("this is no verifier key: {}", what),
              "give one line of the form <name>+<key id>+<base64>, as the file vkey holds it", "tlog.key");
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

Result<NoteSignature> ParseLine(std::string_view line) {
  if (!line.starts_with(kDash)) return NotANote("a line of its signatures does not begin with a dash");
  line.remove_prefix(kDash.size());
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || !IsKeyName(line.substr(0, space))) return NotANote("a signature has no name");
  const auto bytes = Base64Decode(line.substr(space + 1));
  if (!bytes || bytes->size() < 5) return NotANote("a signature is not base64 of a key id and a signature");
  NoteSignature signature;
  signature.name = line.substr(0, space);
  signature.id = LoadU32(reinterpret_cast<const char*>(bytes->data()));
  signature.bytes.assign(bytes->begin() + 4, bytes->end());
  return signature;
}

}  // namespace

bool IsKeyName(std::string_view name) {
  // Unicode's spaces beyond ASCII: U+0085, U+00A0, U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000.
  for (const std::string_view space : {"\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\xA8", "\xE2\x80\xA9",
                                       "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"}) {
    if (name.find(space) != std::string_view::npos) return false;
  }
  for (size_t at = name.find("\xE2\x80"); at != std::string_view::npos; at = name.find("\xE2\x80", at + 1)) {
    if (at + 2 < name.size() && static_cast<uint8_t>(name[at + 2]) >= 0x80 &&
        static_cast<uint8_t>(name[at + 2]) <= 0x8A) {
      return false;
    }
  }
  return !name.empty() &&
         std::ranges::none_of(name, [](char c) { return static_cast<uint8_t>(c) <= 0x20 || c == '+' || c == 0x7F; });
}

uint32_t VerifierKey::id() const {
  std::string text = name + "\n";
  text += static_cast<char>(type);
  text.append(key.begin(), key.end());
  return LoadU32(reinterpret_cast<const char*>(Sha256(text).data()));
}

std::string VerifierKey::Text() const {
  std::string bytes(1, static_cast<char>(type));
  bytes.append(key.begin(), key.end());
  return fmt::format("{}+{:08x}+{}", name, id(), Base64Encode(AsBytes(bytes)));
}

Result<VerifierKey> ParseVerifierKey(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  const size_t first = text.find('+');
  const size_t second = first == std::string_view::npos ? first : text.find('+', first + 1);
  if (second == std::string_view::npos) return NotAKey("it does not have three parts");
  VerifierKey key;
  key.name = text.substr(0, first);
  if (!IsKeyName(key.name)) return NotAKey("its name is empty or has spaces");
  const auto bytes = Base64Decode(text.substr(second + 1));
  if (!bytes || bytes->size() != 1 + key.key.size()) return NotAKey("it does not hold an Ed25519 key");
  if ((*bytes)[0] != static_cast<uint8_t>(SignatureType::ed25519) &&
      (*bytes)[0] != static_cast<uint8_t>(SignatureType::cosignature)) {
    return NotAKey(fmt::format("its algorithm is 0x{:02x}, which is not known here", (*bytes)[0]));
  }
  key.type = static_cast<SignatureType>((*bytes)[0]);
  std::copy(bytes->begin() + 1, bytes->end(), key.key.begin());
  if (text.substr(first + 1, second - first - 1) != fmt::format("{:08x}", key.id())) {
    return NotAKey("its id is not that of its name and key");
  }
  return key;
}

SigningKey::SigningKey(std::string name, SignatureType type, Secret seed) : seed_(std::move(seed)) {
  CHECK(seed_.bytes().size() == kSeed);
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed_.bytes().data(), kSeed), &EVP_PKEY_free);
  size_t size = verifier_.key.size();
  CHECK(key && EVP_PKEY_get_raw_public_key(key.get(), verifier_.key.data(), &size) == 1);
  verifier_.name = std::move(name);
  verifier_.type = type;
}

std::string SigningKey::Sign(std::string_view message) const {
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed_.bytes().data(), kSeed), &EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::string signature(64, '\0');
  size_t size = signature.size();
  CHECK(key && context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
        EVP_DigestSign(context.get(), reinterpret_cast<uint8_t*>(signature.data()), &size, AsBytes(message).data(),
                       message.size()) == 1);
  return signature;
}

bool VerifyEd25519(const std::array<uint8_t, 32>& key, std::string_view message, std::string_view signature) {
  const Key public_key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()), &EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  return public_key && context && signature.size() == 64 &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, public_key.get()) == 1 &&
         EVP_DigestVerify(context.get(), AsBytes(signature).data(), signature.size(), AsBytes(message).data(),
                          message.size()) == 1;
}

std::string NoteSignature::Line() const {
  std::string whole;
  AppendU32(whole, id);
  whole += bytes;
  return fmt::format("{}{} {}\n", kDash, name, Base64Encode(AsBytes(whole)));
}

std::string Note::Text() const {
  std::string whole = text + "\n";
  for (const NoteSignature& signature : signatures) whole += signature.Line();
  return whole;
}

Result<std::vector<NoteSignature>> ParseSignatureLines(std::string_view lines) {
  std::vector<NoteSignature> signatures;
  if (lines.empty() || lines.size() > limits::kNote) return NotANote("it has no signatures");
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    if (end == std::string_view::npos) return NotANote("its last line has no end");
    if (signatures.size() == limits::kNoteSignatures) return NotANote("it has too many signatures");
    ECLUSE_TRY(NoteSignature signature, ParseLine(lines.substr(0, end)));
    signatures.push_back(std::move(signature));
    lines.remove_prefix(end + 1);
  }
  return signatures;
}

Result<Note> ParseNote(std::string_view note) {
  if (note.size() > limits::kNote) return NotANote("it is too long");
  if (std::ranges::any_of(note, [](char c) { return static_cast<uint8_t>(c) < 0x20 && c != '\n'; })) {
    return NotANote("it has control characters");
  }
  if (!IsUtf8(note)) return NotANote("it is not UTF-8");
  const size_t split = note.rfind("\n\n");
  if (split == std::string_view::npos) return NotANote("no empty line stands before its signatures");
  Note parsed;
  parsed.text = note.substr(0, split + 1);
  ECLUSE_TRY(parsed.signatures, ParseSignatureLines(note.substr(split + 2)));
  return parsed;
}

Note SignNote(std::string text, const SigningKey& key) {
  Note note{std::move(text), {}};
  note.signatures.push_back({key.verifier().name, key.verifier().id(), key.Sign(note.text)});
  return note;
}

bool VerifyNote(const Note& note, const VerifierKey& key) {
  bool found = false;
  for (const NoteSignature& signature : note.signatures) {
    if (!signature.By(key)) continue;
    if (!VerifyEd25519(key.key, note.text, signature.bytes)) return false;
    found = true;
  }
  return found;
}

}  // namespace ecluse
