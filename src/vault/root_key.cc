#include "vault/root_key.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/terminal.h"
#include "base/utf8.h"
#include "vault/pkcs11.h"

namespace ecluse {
namespace {

constexpr std::string_view kHeader = "ecluse root key v1\n";
constexpr std::string_view kSealedHeader = "ecluse root key v1 under a passphrase\n";
constexpr size_t kFileLimit = 4'096;
constexpr size_t kSalt = 16;
constexpr const char* kNamePassphrase =
    "name a file that holds it in vault.root.passphrase_file, or start on a terminal";

KeyId RootId(std::span<const uint8_t> key) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  Secret text(kHeader.size() + key.size());
  auto at = std::copy(kHeader.begin(), kHeader.end(), text.mutable_bytes().begin());
  std::copy(key.begin(), key.end(), at);
  unsigned size = 0;
  CHECK(EVP_Digest(text.bytes().data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1);
  KeyId id;
  std::copy_n(digest.begin(), id.size(), id.begin());
  return id;
}

std::string FolderOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

class FileRoot final : public RootKey {
 public:
  explicit FileRoot(Secret key) : id_(RootId(key.bytes())), key_(std::move(key)) {}
  const KeyId& id() const override { return id_; }
  Result<std::string> Wrap(std::string_view plain, std::string_view associated) override {
    return SealEnvelope(key_, id_, plain, associated);
  }
  Result<Secret> Unwrap(std::string_view wrapped, std::string_view associated) override {
    auto plain = OpenEnvelope(key_, wrapped, associated);
    if (!plain || plain->size() != kXaesKey)
      return Fail(sqlstate::kIo, "a key does not open under the root key",
                  "it was altered, or another root wrapped it: restore <data_dir>/keys from a copy made with the gate "
                  "stopped",
                  "vault.root");
    Secret key{std::string_view(*plain)};
    OPENSSL_cleanse(plain->data(), plain->size());
    return key;
  }

 private:
  const KeyId id_;
  const Xaes key_;
};

// How costly a passphrase is to try: N is a power of two.
struct ScryptCost {
  unsigned log_n = limits::kScryptLogN;
  unsigned r = 8, p = 1;
};

// scrypt (RFC 7914).
Result<Xaes> KeyOfPassphrase(const Secret& passphrase, std::span<const uint8_t> salt, const ScryptCost& cost) {
  Secret key(kXaesKey);
  const uint64_t memory = (uint64_t{128} * cost.r << cost.log_n) + (uint64_t{1} << 20);
  if (EVP_PBE_scrypt(reinterpret_cast<const char*>(passphrase.bytes().data()), passphrase.size(), salt.data(),
                     salt.size(), uint64_t{1} << cost.log_n, cost.r, cost.p, memory, key.mutable_bytes().data(),
                     key.size()) != 1)
    return Fail(sqlstate::kIo, "the passphrase of the root key could not be worked on",
                fmt::format("it takes {} MiB of memory; raise LimitMEMLOCK or give the machine more", memory >> 20),
                "vault.root");
  return Xaes(std::move(key));
}

// What a file under a passphrase says before its key: also what the key is bound to.
std::string SealedHead(const ScryptCost& cost, std::span<const uint8_t> salt) {
  return fmt::format("{}scrypt {} {} {} {}\n", kSealedHeader, cost.log_n, cost.r, cost.p, Base64Encode(salt));
}

Result<Secret> Passphrase(FileSystem& files, const RootSource& source) {
  if (source.passphrase_file.empty()) return AskUnseen("Passphrase of the root key: ", kNamePassphrase);
  return ReadSecretLine(files, source.passphrase_file);
}

Result<Secret> NewPassphrase(FileSystem& files, const RootSource& source) {
  if (source.passphrase_file.empty()) std::fputs("A new root key needs a passphrase.\n", stderr);
  ECLUSE_TRY(Secret first, Passphrase(files, source));
  size_t characters = 0;
  for (std::string_view left = first.text(); !left.empty(); left.remove_prefix(NextUtf8(left).size)) ++characters;
  if (characters < limits::kPassphraseCharacters)
    return Fail(sqlstate::kIo,
                fmt::format("the passphrase is shorter than {} characters", limits::kPassphraseCharacters),
                "take several words that belong to no sentence", "vault.root");
  if (!source.passphrase_file.empty()) return first;
  ECLUSE_TRY(Secret again, AskUnseen("The same again: ", kNamePassphrase));
  if (first.size() != again.size() || !ConstantTimeEqual(first.bytes(), again.bytes()))
    return Fail(sqlstate::kIo, "the two passphrases differ", "type it again", "vault.root");
  return first;
}

std::unexpected<Error> NoRootFile(const std::string& path) {
  return Fail(sqlstate::kIo, fmt::format("{} is not a root key file", path),
              "docs/vault_format.md says what one holds. Restore it from your copy", "vault.root");
}

// The key in a file under a passphrase.
Result<Secret> OpenSealed(FileSystem& files, const RootSource& source, std::string_view content) {
  const size_t end = content.find('\n', kSealedHeader.size());
  if (end == std::string_view::npos) return NoRootFile(source.file);
  const std::string_view head = content.substr(0, end + 1);
  ScryptCost cost;
  std::string_view words = head.substr(kSealedHeader.size());
  if (!words.starts_with("scrypt ")) return NoRootFile(source.file);
  words.remove_prefix(7);
  for (unsigned* number : {&cost.log_n, &cost.r, &cost.p}) {
    const auto [stop, error] = std::from_chars(words.data(), words.data() + words.size(), *number);
    if (error != std::errc() || stop == words.data() + words.size() || *stop != ' ') return NoRootFile(source.file);
    words.remove_prefix(static_cast<size_t>(stop - words.data()) + 1);
  }
  words.remove_suffix(1);
  const auto salt = Base64Decode(words);
  // Who may write the file must not choose a cost that makes the passphrase cheap to try, or takes all memory.
  const bool fair =
      cost.log_n >= limits::kScryptLogN && cost.log_n <= limits::kScryptLogNMost && cost.r == 8 && cost.p == 1;
  if (!salt || salt->size() != kSalt || !fair || SealedHead(cost, *salt) != head) return NoRootFile(source.file);
  std::string_view coded = content.substr(end + 1);
  if (!coded.ends_with('\n')) return NoRootFile(source.file);
  coded.remove_suffix(1);
  const auto envelope = Base64Decode(coded);
  if (!envelope) return NoRootFile(source.file);
  ECLUSE_TRY(const Secret passphrase, Passphrase(files, source));
  ECLUSE_TRY(const Xaes under, KeyOfPassphrase(passphrase, *salt, cost));
  auto plain = OpenEnvelope(under, {reinterpret_cast<const char*>(envelope->data()), envelope->size()}, head);
  if (!plain || plain->size() != kXaesKey)
    return Fail("28000", "the root key does not open with this passphrase",
                source.passphrase_file.empty()
                    ? "type it again; where it is right, restore the file from your copy"
                    : "correct the passphrase file; where it is right, restore the root key from your copy",
                "vault.root", source.file);
  Secret key{std::string_view(*plain)};
  OPENSSL_cleanse(plain->data(), plain->size());
  return key;
}

}  // namespace

Status CheckPrivateFile(FileSystem& files, const std::string& path, const char* what, const char* missing) {
  ECLUSE_TRY(auto info, files.Find(path));
  if (!info) return Fail(sqlstate::kIo, fmt::format("there is no {} at {}", what, path), missing, "vault.root");
  if (!info->regular) return Fail(sqlstate::kIo, fmt::format("{} is not a file", path), {}, "vault.root");
  if ((info->mode & 077) != 0)
    return Fail(sqlstate::kIo, fmt::format("the {} {} can be read by others (mode {:o})", what, path, info->mode),
                fmt::format("run: chmod 600 {}", path), "vault.root");
  return {};
}

Result<Secret> ReadSecretLine(FileSystem& files, const std::string& path) {
  ECLUSE_OK(CheckPrivateFile(files, path, "passphrase or PIN", "make the file, or correct its name in the policy"));
  ECLUSE_TRY(std::string content, ReadWholeFile(files, path, kFileLimit));
  std::string_view line = content;
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  Secret secret(line);
  const bool one = !line.empty() && line.find('\n') == std::string_view::npos;
  OPENSSL_cleanse(content.data(), content.size());
  if (!one)
    return Fail(sqlstate::kIo, fmt::format("{} does not hold one line", path),
                "write the passphrase or PIN alone into it", "vault.root");
  return secret;
}

Status MakeRoot(FileSystem& files, const RootSource& source, bool passphrase) {
  if (source.in_token()) return MakeTokenRoot(files, source);
  const std::string& path = source.file;
  ECLUSE_TRY(auto present, files.Find(path));
  if (present)
    return Fail(sqlstate::kIo, fmt::format("{} exists already, and a root key is never replaced", path),
                "keep it: what it wraps cannot be opened without it. To begin anew, move it and the data folder away",
                "vault.root");
  Secret key(kXaesKey);
  RandomBytes(key.mutable_bytes());
  Secret text;
  if (passphrase) {
    ECLUSE_TRY(const Secret typed, NewPassphrase(files, source));
    std::array<uint8_t, kSalt> salt;
    RandomBytes(salt);
    ECLUSE_TRY(const Xaes under, KeyOfPassphrase(typed, salt, {}));
    const std::string head = SealedHead({}, salt);
    const std::string envelope = SealEnvelope(under, RootId(key.bytes()), key.text(), head);
    text = Secret(fmt::format("{}{}\n", head, Base64Encode(AsBytes(envelope))));
  } else {
    std::string coded = Base64Encode(key.bytes());
    text = Secret(kHeader.size() + coded.size() + 1);
    auto at = std::ranges::copy(kHeader, text.mutable_bytes().begin()).out;
    *std::ranges::copy(coded, at).out = '\n';
    OPENSSL_cleanse(coded.data(), coded.size());
  }
  // `create` fails where somebody else made the file in between.
  ECLUSE_TRY(auto file, files.Open(path, OpenMode::create));
  auto written = file->WriteAt(0, text.bytes());
  Status done = written ? (*written == text.size() ? file->SyncAll() : std::unexpected(IoError("write", path, ENOSPC)))
                        : Status(std::unexpected(written.error()));
  if (done) done = files.SyncDirectory(FolderOf(path));
  if (!done) (void)files.Remove(path);  // half a key must not look like one; the failure is what is reported
  return done;
}

Result<std::unique_ptr<RootKey>> OpenRoot(FileSystem& files, const RootSource& source,
                                          const std::optional<KeyId>& under) {
  if (source.in_token()) return OpenTokenRoot(files, source, under);
  ECLUSE_OK(CheckPrivateFile(files, source.file, "root key",
                             "run `ecluse keys init` to make it, or correct vault.root.file in the policy"));
  ECLUSE_TRY(std::string content, ReadWholeFile(files, source.file, kFileLimit));
  if (content.starts_with(kSealedHeader)) {
    ECLUSE_TRY(Secret key, OpenSealed(files, source, content));
    return std::make_unique<FileRoot>(std::move(key));
  }
  std::optional<std::vector<uint8_t>> key;
  std::string_view line = content;
  if (line.starts_with(kHeader)) {
    line.remove_prefix(kHeader.size());
    if (line.ends_with('\n')) line.remove_suffix(1);
    key = Base64Decode(line);
  }
  OPENSSL_cleanse(content.data(), content.size());
  if (!key || key->size() != kXaesKey) return NoRootFile(source.file);
  Secret secret{std::span<const uint8_t>(*key)};
  OPENSSL_cleanse(key->data(), key->size());
  if (!source.passphrase_file.empty())
    return Fail(sqlstate::kIo, "the policy names a passphrase, and the root key is under none",
                "remove vault.root.passphrase_file, or make another root key with `ecluse keys init --passphrase`",
                "vault.root", source.file);
  return std::make_unique<FileRoot>(std::move(secret));
}

Result<bool> AsksOnTerminal(FileSystem& files, const RootSource& source) {
  if (source.in_token()) return source.pin_file.empty();
  if (!source.passphrase_file.empty()) return false;
  ECLUSE_TRY(std::string content, ReadWholeFile(files, source.file, kFileLimit));
  const bool sealed = content.starts_with(kSealedHeader);
  OPENSSL_cleanse(content.data(), content.size());
  return sealed;
}

RootSource NextRoot(const RootSource& source) {
  RootSource next = source;
  next.file += ".next";
  return next;
}

}  // namespace ecluse
