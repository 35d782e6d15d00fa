// The file `<data_dir>/keys/ring`, and the lines of wrapped keys it shares with day keys. Format: docs/vault_format.md.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/secret.h"
#include "vault/keys.h"
#include "vault/root_key.h"
#include "vault/xaes.h"

namespace ecluse {

struct WrappedKey {
  KeyId id;
  Xaes key;
};

KeyId RandomKeyId();
Secret RandomKey();
// nullopt where it is not the one spelling of an id: 16 hexadecimal digits in lower case.
std::optional<KeyId> ParseKeyId(const std::string& hex);

// A line `kind name id base64`, the last being the key in an envelope under `under`.
std::string WrapLine(const Xaes& under, const KeyId& under_id, std::string_view kind, std::string_view name,
                     const KeyId& id, std::span<const uint8_t> key);
// The key of such a line; nullopt where it does not open.
std::optional<WrappedKey> UnwrapText(const Xaes& under, std::string_view kind, std::string_view name, const KeyId& id,
                                     const std::string& coded);

// What a ring holds, unwrapped.
struct Ring {
  std::string content;         // as it was read
  std::vector<KeyInfo> names;  // in their order
  std::optional<WrappedKey> gate, auditors, index, pseudonym, ledger;
  std::map<std::string, std::shared_ptr<const CompartmentKeys>, std::less<>> compartments;
};

// Only who holds it changes the ring: what is made once must not be made twice, the second in the place of the first.
// `folder` is <data_dir>/keys. 58030 where another has it.
Result<std::unique_ptr<File>> LockRing(FileSystem& files, const std::string& folder);

// The id of the root that the ring `content` says it is under; nullopt where it says none.
std::optional<KeyId> RootOf(const std::string& content);

Result<Ring> ParseRing(RootKey& root, const std::string& content, const std::string& path);
// The ring at `path`.
Result<Ring> ReadRing(FileSystem& files, RootKey& root, const std::string& path);
// The text of a new ring, without compartments.
Result<std::string> MakeRing(RootKey& root);
// The lines of a new compartment's keys.
Result<std::string> MakeCompartment(RootKey& root, std::string_view name);
// The line of one more key ("data", "search", "link") for a compartment of the ring `content`.
Result<std::string> MakeKeyLine(RootKey& root, const std::string& content, const std::string& path,
                                std::string_view kind, std::string_view compartment, KeyId* id);
// The ring `content` under another root, the key-encryption keys of compartments made anew.
Result<std::string> RewrapRing(RootKey& root, RootKey& next, const std::string& content, const std::string& path);
// The first line of such a kind that is the one sought; empty where there is none. A view into `content`.
std::string_view KeyLine(std::string_view content, std::string_view kind,
                         const std::function<bool(std::string_view name, std::string_view id)>& which);

}  // namespace ecluse
