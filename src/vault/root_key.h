// The root key file: the one secret an operator keeps. Format: docs/vault_format.md.
#pragma once

#include <string>

#include "base/file.h"
#include "base/result.h"
#include "vault/xaes.h"

namespace ecluse {

struct RootKey {
  KeyId id;  // the first bytes of a hash over the key: tells which root a ring was wrapped under
  Xaes key;
};

// Writes a new random root key to `path` (mode 0600), durable when it returns. Never replaces a file.
Status WriteRootKey(FileSystem& files, const std::string& path);

// Reads it. Refuses a file that is missing, not a regular one, open to group or others, or not in the format.
Result<RootKey> ReadRootKey(FileSystem& files, const std::string& path);

}  // namespace ecluse
