// What an operator changes about the keys of a data folder: new data keys, a new root, destruction. Each takes the
// ring's lock and is durable when it returns; a running gate takes it over with KeyRing::TakeRing().
// docs/decisions/rotation.md.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "vault/keys.h"
#include "vault/root_source.h"

namespace ecluse {

class FileSystem;  // base/file.h

// The keys that an operator may change: the root, and the ring under it. `files` outlives it; null: the real ones.
class KeyChanges {
 public:
  KeyChanges(RootSource root, const std::string& data_dir, FileSystem* files = nullptr);

  // One more data key for a compartment; it seals from now on.
  Result<KeyInfo> AddDataKey(std::string_view compartment);

  // Makes a root in the place of the one in a file, and wraps the ring under it, the key-encryption keys of
  // compartments made anew. Interrupted anywhere, it is called again and finishes, for which it needs what opens the
  // former root too; until then KeyRing::Open() may refuse and say so. Refuses roots in tokens, and links.
  Status RenewRoot(bool passphrase);

  // Takes a data key out of the ring: nothing that is sealed under it opens any more. Refuses one that is not there,
  // and the one that seals. Destroying one that values are under destroys those: see to it first.
  Status DestroyDataKey(const std::string& id);

 private:
  Status FinishRenewal();
  Status TakePlace();

  const RootSource root_;
  const std::string folder_, path_;
  FileSystem& files_;
};

}  // namespace ecluse
