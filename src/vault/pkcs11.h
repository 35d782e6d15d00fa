// A root key in a PKCS#11 token (OASIS PKCS #11 2.40): the token makes it, uses it, and does not give it away.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "vault/root_key.h"

namespace ecluse {

// As MakeRoot(), which calls this where the source names a token. The token must be there, initialised (it has a label
// and a PIN of its user), and know CKM_AES_GCM.
Status MakeTokenRoot(FileSystem& files, const RootSource& source);

// As OpenRoot(), which calls this. The token is spoken to while the RootKey lives, by one thread of the process; of
// several RootKeys the one that was opened first goes last.
Result<std::unique_ptr<RootKey>> OpenTokenRoot(FileSystem& files, const RootSource& source,
                                               const std::optional<KeyId>& under);

// Makes one more beside those there are, limits::kTokenRoots at most, and opens it.
Result<std::unique_ptr<RootKey>> AddTokenRoot(FileSystem& files, const RootSource& source);

// The ids of those it holds, in no order.
Result<std::vector<KeyId>> HeldByToken(FileSystem& files, const RootSource& source);

// Destroys one, behind `first` where that is no error: what it wrapped opens no more. 22023 where the token holds none
// of that id.
Status DestroyTokenRoot(FileSystem& files, const RootSource& source, const KeyId& id,
                        const std::function<Status()>& first);

}  // namespace ecluse
