// The root: the one secret an operator keeps, in a file or in a PKCS#11 token. Formats: docs/vault_format.md.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/file.h"
#include "base/result.h"
#include "vault/root_source.h"
#include "vault/xaes.h"

namespace ecluse {

// A root that is open. Wraps key-encryption keys, a handful in its life, and nothing else. Not thread-safe.
class RootKey {
 public:
  virtual ~RootKey() = default;
  // Tells which root a ring was wrapped under.
  virtual const KeyId& id() const = 0;
  virtual Result<std::string> Wrap(std::string_view plain, std::string_view associated) = 0;
  // The kXaesKey bytes of a key. Refuses where another root wrapped it, a byte of it was altered, or it was bound to
  // something else; a token also where it does not answer.
  virtual Result<Secret> Unwrap(std::string_view wrapped, std::string_view associated) = 0;
};

// Makes a new random root where `source` says: a file (mode 0600), under a passphrase where one is wanted (asked for
// twice, or taken from `passphrase_file`), or a key that the token makes and does not give away. Durable when it
// returns. Never replaces one.
Status MakeRoot(FileSystem& files, const RootSource& source, bool passphrase);

// Opens it. Refuses a file that is missing, not a regular one, open to group or others, or not in the format, and a
// wrong passphrase; a token that is not there, does not open with its PIN, or holds no root. Of several in a token it
// is the one of the id `under`, which a ring names; without it there is one.
Result<std::unique_ptr<RootKey>> OpenRoot(FileSystem& files, const RootSource& source,
                                          const std::optional<KeyId>& under = {});

// Whether OpenRoot() asks on the terminal for what opens it.
Result<bool> AsksOnTerminal(FileSystem& files, const RootSource& source);

// Where a root lies that is to take the place of one in a file, until it does.
RootSource NextRoot(const RootSource& source);

// Refuses a file that is not there (saying `missing`), not a regular one, or open to group or others. `what` names it.
Status CheckPrivateFile(FileSystem& files, const std::string& path, const char* what, const char* missing);

// A secret that is one line of a file which nobody else may read: a passphrase, a PIN.
Result<Secret> ReadSecretLine(FileSystem& files, const std::string& path);

}  // namespace ecluse
