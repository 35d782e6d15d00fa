#include "vault/root_key.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"

namespace ecluse {
namespace {

constexpr std::string_view kHeader = "ecluse root key v1\n";
constexpr size_t kFileLimit = 4'096;

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

}  // namespace

Status WriteRootKey(FileSystem& files, const std::string& path) {
  ECLUSE_TRY(auto present, files.Find(path));
  if (present)
    return Fail(sqlstate::kIo, fmt::format("{} exists already, and a root key is never replaced", path),
                "keep it: what it wraps cannot be opened without it. To begin anew, move it and the data folder away",
                "vault.root");
  Secret key(kXaesKey);
  RandomBytes(key.mutable_bytes());
  std::string coded = Base64Encode(key.bytes());
  Secret text(fmt::format("{}{}\n", kHeader, coded));
  OPENSSL_cleanse(coded.data(), coded.size());
  // `create` fails where somebody else made the file in between.
  ECLUSE_TRY(auto file, files.Open(path, OpenMode::create));
  auto written = file->WriteAt(0, text.bytes());
  Status done = written ? (*written == text.size() ? file->SyncAll() : std::unexpected(IoError("write", path, 28)))
                        : Status(std::unexpected(written.error()));
  if (done) done = files.SyncDirectory(FolderOf(path));
  if (!done) (void)files.Remove(path);  // half a key must not look like one; the failure is what is reported
  return done;
}

Result<RootKey> ReadRootKey(FileSystem& files, const std::string& path) {
  ECLUSE_TRY(auto info, files.Find(path));
  if (!info)
    return Fail(sqlstate::kIo, fmt::format("there is no root key at {}", path),
                "run `ecluse keys init` to make it, or correct vault.root.file in the policy", "vault.root");
  if (!info->regular) return Fail(sqlstate::kIo, fmt::format("{} is not a file", path), {}, "vault.root");
  if ((info->mode & 077) != 0)
    return Fail(sqlstate::kIo, fmt::format("the root key {} can be read by others (mode {:o})", path, info->mode),
                fmt::format("run: chmod 600 {}", path), "vault.root");
  auto content = ReadWholeFile(files, path, kFileLimit);
  if (!content) return std::unexpected(std::move(content).error());
  std::string_view line = *content;
  std::optional<std::vector<uint8_t>> key;
  if (line.starts_with(kHeader)) {
    line.remove_prefix(kHeader.size());
    if (line.ends_with('\n')) line.remove_suffix(1);
    key = Base64Decode(line);
  }
  OPENSSL_cleanse(content->data(), content->size());
  if (!key || key->size() != kXaesKey)
    return Fail(sqlstate::kIo, fmt::format("{} is not a root key file", path),
                "it has two lines: `ecluse root key v1` and 32 bytes in base64. Restore it from your copy",
                "vault.root");
  Secret secret{std::span<const uint8_t>(*key)};
  OPENSSL_cleanse(key->data(), key->size());
  KeyId id = RootId(secret.bytes());
  return RootKey{id, Xaes(std::move(secret))};
}

}  // namespace ecluse
