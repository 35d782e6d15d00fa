#include "vault/key_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "vault/pkcs11.h"
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

struct KeyChanges::Opened {
  std::unique_ptr<File> lock;
  std::string content;
  std::unique_ptr<RootKey> root;
};

Result<KeyChanges::Opened> KeyChanges::Open() {
  Opened opened;
  ECLUSE_TRY(opened.lock, LockRing(files_, folder_));
  ECLUSE_TRY(opened.content, ReadWholeFile(files_, path_, limits::kRingBytes));
  ECLUSE_TRY(opened.root, OpenRoot(files_, root_, RootOf(opened.content)));
  return opened;
}

Result<std::vector<KeyInfo>> KeyChanges::AddDataKeys(std::span<const std::string> compartments) {
  ECLUSE_TRY(auto opened, Open());
  auto& [lock, content, root] = opened;
  std::vector<KeyInfo> made;
  for (const std::string& compartment : compartments) {
    KeyId id;
    ECLUSE_TRY(const std::string line, MakeKeyLine(*root, content, path_, "data", compartment, &id));
    content += line;
    made.push_back({"data", compartment, HexEncode(id)});
  }
  ECLUSE_OK(Replace(*root, content));
  return made;
}

Status KeyChanges::Replace(RootKey& root, const std::string& content) {
  if (content.size() > limits::kRingBytes)
    return Refuse("the gate's key ring has no room for more keys", "destroy those that no value is under any more");
  if (auto whole = ParseRing(root, content, path_); !whole) return std::unexpected(std::move(whole).error());
  return ReplaceFile(files_, path_, content);
}

Result<std::vector<KeyInfo>> KeyChanges::BeginSearchKeys(std::span<const std::string> compartments,
                                                         std::span<const std::string> unlinked) {
  ECLUSE_TRY(auto opened, Open());
  auto& [lock, content, root] = opened;
  ECLUSE_TRY(const Ring ring, ParseRing(*root, content, path_));
  std::vector<KeyInfo> made;
  const auto add = [&](const std::string& kind, const std::string& compartment) -> Status {
    KeyId id;
    ECLUSE_TRY(const std::string line, MakeKeyLine(*root, content, path_, kind, compartment, &id));
    if (kind == "link") {
      const std::string_view former =
          KeyLine(content, kind, [&](std::string_view name, std::string_view) { return name == compartment; });
      content.erase(static_cast<size_t>(former.data() - content.data()), former.size());
    }
    content += line;
    made.push_back({kind, compartment, HexEncode(id)});
    return {};
  };
  for (const std::string& compartment : compartments) {
    if (const auto keys = ring.compartments.find(compartment); keys != ring.compartments.end() && keys->second->renewing)
      continue;
    ECLUSE_OK(add("search", compartment));
    if (std::ranges::find(unlinked, compartment) != unlinked.end()) ECLUSE_OK(add("link", compartment));
  }
  if (!made.empty()) ECLUSE_OK(Replace(*root, content));
  return made;
}

Status KeyChanges::EndSearchKeys() {
  ECLUSE_TRY(auto opened, Open());
  auto& [lock, content, root] = opened;
  ECLUSE_TRY(const Ring ring, ParseRing(*root, content, path_));
  for (const auto& [compartment, keys] : ring.compartments) {
    if (!keys->renewing) continue;
    // The first of its two.
    const std::string_view former =
        KeyLine(content, "search", [&](std::string_view name, std::string_view) { return name == compartment; });
    content.erase(static_cast<size_t>(former.data() - content.data()), former.size());
  }
  return content == ring.content ? Status() : Replace(*root, content);
}

// The ring says which of the token's keys it is under: interrupted anywhere, it opens as before or as behind.
Result<std::string> KeyChanges::RenewTokenRoot() {
  ECLUSE_TRY(auto opened, Open());
  auto& [lock, content, root] = opened;
  if (auto whole = ParseRing(*root, content, path_); !whole) return std::unexpected(std::move(whole).error());
  ECLUSE_TRY(const auto renewed, AddTokenRoot(files_, root_));
  ECLUSE_TRY(const std::string text, RewrapRing(*root, *renewed, content, path_));
  if (auto whole = ParseRing(*renewed, text, path_); !whole) return std::unexpected(std::move(whole).error());
  ECLUSE_OK(ReplaceFile(files_, path_, text));
  return HexEncode(renewed->id());
}

Result<KeyChanges::Roots> KeyChanges::TokenRoots() {
  ECLUSE_TRY(const std::string content, ReadWholeFile(files_, path_, limits::kRingBytes));
  const auto own = RootOf(content);
  ECLUSE_TRY(const auto held, HeldByToken(files_, root_));
  Roots roots;
  for (const KeyId& id : held) {
    if (id == own) {
      roots.own = HexEncode(id);
    } else {
      roots.others.push_back(HexEncode(id));
    }
  }
  return roots;
}

Status KeyChanges::DestroyRoot(const std::string& id, const std::function<Status()>& first) {
  ECLUSE_TRY(const auto opened, Open());
  // Only what opens the ring is known to be the gate's own: another's ring may be in its place.
  if (auto whole = ParseRing(*opened.root, opened.content, path_); !whole)
    return std::unexpected(std::move(whole).error());
  const auto key = ParseKeyId(id);
  if (!key) return Refuse(Printable(id) + " is not the id of a key", "it has 16 hexadecimal digits in lower case");
  if (*key == opened.root->id())
    return Refuse(id + " is the root key that the gate's keys are wrapped under",
                  "`ecluse keys rotate --root` puts another in its place");
  return DestroyTokenRoot(files_, root_, *key, first);
}

Result<std::string> KeyChanges::RenewRoot(bool passphrase) {
  if (root_.in_token()) return RenewTokenRoot();
  std::error_code none;
  if (std::filesystem::is_symlink(root_.file, none))
    return Refuse(root_.file + " is a link, which a new root would take the place of",
                  "name the file itself in vault.root.file");
  ECLUSE_TRY(auto opened, Open());
  auto& [lock, content, root] = opened;
  const RootSource next = NextRoot(root_);
  ECLUSE_TRY(const auto left, files_.Find(next.file));
  if (left && RootOf(content) != root->id()) return FinishRenewal();
  if (left) ECLUSE_OK(files_.Remove(next.file));  // of a run that ended before anything was wrapped under it
  if (auto whole = ParseRing(*root, content, path_); !whole) return std::unexpected(std::move(whole).error());
  ECLUSE_OK(MakeRoot(files_, next, passphrase));
  std::string id;
  auto wrapped = [&]() -> Result<std::string> {
    ECLUSE_TRY(const auto renewed, OpenRoot(files_, next));
    id = HexEncode(renewed->id());
    ECLUSE_TRY(std::string text, RewrapRing(*root, *renewed, content, path_));
    if (auto whole = ParseRing(*renewed, text, path_); !whole) return std::unexpected(std::move(whole).error());
    return text;
  }();
  if (!wrapped) {
    (void)files_.Remove(next.file);  // nothing is under it
    return std::unexpected(std::move(wrapped).error());
  }
  ECLUSE_OK(ReplaceFile(files_, path_, *wrapped));
  ECLUSE_OK(TakePlace());
  return id;
}

Status KeyChanges::TakePlace() {
  ECLUSE_OK(files_.Rename(NextRoot(root_).file, root_.file));
  return files_.SyncDirectory(std::filesystem::path(root_.file).parent_path());
}

// The ring may be under the root that was to take the other's place: then it takes it.
Result<std::string> KeyChanges::FinishRenewal() {
  ECLUSE_TRY(const auto renewed, OpenRoot(files_, NextRoot(root_)));
  if (auto whole = ReadRing(files_, *renewed, path_); !whole) return std::unexpected(std::move(whole).error());
  ECLUSE_OK(TakePlace());
  return HexEncode(renewed->id());
}

Status KeyChanges::DestroyDataKey(const std::string& id) {
  ECLUSE_TRY(auto opened, Open());
  auto& [lock, content, root] = opened;
  ECLUSE_TRY(const Ring ring, ParseRing(*root, content, path_));
  const std::string_view line =
      KeyLine(content, "data", [&](std::string_view, std::string_view of) { return of == id; });
  if (line.empty())
    return Refuse(fmt::format("the ring holds no data key {}", id), "`ecluse keys list` names those there are");
  for (const auto& [name, keys] : ring.compartments) {
    if (HexEncode(keys->current().id) == id)
      return Refuse(fmt::format("{} is the key that seals in the compartment {}", id, name),
                    "`ecluse keys rotate --reencrypt` puts another in its place");
  }
  content.erase(static_cast<size_t>(line.data() - content.data()), line.size());
  return Replace(*root, content);
}

}  // namespace ecluse
