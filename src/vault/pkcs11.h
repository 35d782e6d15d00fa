// A root key in a PKCS#11 token (OASIS PKCS #11 2.40): the token makes it, uses it, and does not give it away.
#pragma once

#include <memory>

#include "base/file.h"
#include "base/result.h"
#include "vault/root_key.h"

namespace ecluse {

// As MakeRoot() and OpenRoot(), which call these where the source names a token. The token must be there, initialised
// (it has a label and a PIN of its user), and know CKM_AES_GCM. It is spoken to while the RootKey lives, and by one
// RootKey of the process at a time.
Status MakeTokenRoot(FileSystem& files, const RootSource& source);
Result<std::unique_ptr<RootKey>> OpenTokenRoot(FileSystem& files, const RootSource& source);

}  // namespace ecluse
