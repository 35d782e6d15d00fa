#include "vault/key_changes.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "vault/ring_file.h"
#include "vault/root_key.h"

namespace ecluse {
namespace {

std::unexpected<Error> Refuse(std::string what, std::string hint) {
  return Fail(sqlstate::kInvalidParameter, std::move(what), std::move(hint), "vault.keys");
}

}  // namespace

KeyChanges::KeyChanges(RootSource root, const std::string& data_dir, FileSystem* files)
    : root_(std::move(root)),
      folder_(data_dir + "/keys"),
      path_(folder_ + "/ring"),
      files_(files != nullptr ? *files : RealFiles()) {}

Result<KeyInfo> KeyChanges::AddDataKey(std::string_view compartment) {
  ECLUSE_TRY(const auto root, OpenRoot(files_, root_));
  ECLUSE_TRY(const auto lock, LockRing(files_, folder_));
  ECLUSE_TRY(std::string content, ReadWholeFile(files_, path_, limits::kRingBytes));
  KeyId id;
  ECLUSE_TRY(const std::string line, MakeDataKey(*root, content, path_, compartment, &id));
  content += line;
  if (content.size() > limits::kRingBytes)
    return Refuse("the gate's key ring has no room for more keys", "destroy those that no value is under any more");
  if (auto whole = ParseRing(*root, content, path_); !whole) return std::unexpected(std::move(whole).error());
  ECLUSE_OK(ReplaceFile(files_, path_, content));
  return KeyInfo{"data", std::string(compartment), HexEncode(id)};
}

Status KeyChanges::RenewRoot(bool passphrase) {
  if (root_.in_token())
    return Refuse("a root key in a token is not renewed by this version",
                  "its token never gives it away; to change tokens, begin a new data folder");
  std::error_code none;
  if (std::filesystem::is_symlink(root_.file, none))
    return Refuse(root_.file + " is a link, which a new root would take the place of",
                  "name the file itself in vault.root.file");
  ECLUSE_TRY(const auto lock, LockRing(files_, folder_));
  ECLUSE_TRY(const auto root, OpenRoot(files_, root_));
  ECLUSE_TRY(const std::string content, ReadWholeFile(files_, path_, limits::kRingBytes));
  const RootSource next = NextRoot(root_);
  ECLUSE_TRY(const auto left, files_.Find(next.file));
  if (left && !content.contains("\nroot " + HexEncode(root->id()) + "\n")) return FinishRenewal();
  if (left) ECLUSE_OK(files_.Remove(next.file));  // of a run that ended before anything was wrapped under it
  if (auto whole = ParseRing(*root, content, path_); !whole) return std::unexpected(std::move(whole).error());
  ECLUSE_OK(MakeRoot(files_, next, passphrase));
  auto wrapped = [&]() -> Result<std::string> {
    ECLUSE_TRY(const auto renewed, OpenRoot(files_, next));
    ECLUSE_TRY(std::string text, RewrapRing(*root, *renewed, content, path_));
    if (auto whole = ParseRing(*renewed, text, path_); !whole) return std::unexpected(std::move(whole).error());
    return text;
  }();
  if (!wrapped) {
    (void)files_.Remove(next.file);  // nothing is under it
    return std::unexpected(std::move(wrapped).error());
  }
  ECLUSE_OK(ReplaceFile(files_, path_, *wrapped));
  return TakePlace();
}

Status KeyChanges::TakePlace() {
  ECLUSE_OK(files_.Rename(NextRoot(root_).file, root_.file));
  return files_.SyncDirectory(std::filesystem::path(root_.file).parent_path());
}

// The ring may be under the root that was to take the other's place: then it takes it.
Status KeyChanges::FinishRenewal() {
  ECLUSE_TRY(const auto renewed, OpenRoot(files_, NextRoot(root_)));
  if (auto whole = ReadRing(files_, *renewed, path_); !whole) return std::unexpected(std::move(whole).error());
  return TakePlace();
}

Status KeyChanges::DestroyDataKey(const std::string& id) {
  ECLUSE_TRY(const auto root, OpenRoot(files_, root_));
  ECLUSE_TRY(const auto lock, LockRing(files_, folder_));
  ECLUSE_TRY(std::string content, ReadWholeFile(files_, path_, limits::kRingBytes));
  ECLUSE_TRY(const Ring ring, ParseRing(*root, content, path_));
  const std::string_view line = DataKeyLine(content, id);
  if (line.empty())
    return Refuse(fmt::format("the ring holds no data key {}", id), "`ecluse keys list` names those there are");
  for (const auto& [name, keys] : ring.compartments) {
    if (HexEncode(keys->current().id) == id)
      return Refuse(fmt::format("{} is the key that seals in the compartment {}", id, name),
                    "`ecluse keys rotate --reencrypt` puts another in its place");
  }
  content.erase(static_cast<size_t>(line.data() - content.data()), line.size());
  if (auto whole = ParseRing(*root, content, path_); !whole) return std::unexpected(std::move(whole).error());
  return ReplaceFile(files_, path_, content);
}

}  // namespace ecluse
