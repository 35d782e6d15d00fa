// The root key and what it wraps: key-encryption keys, day keys, the index key. docs/vault_format.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace ecluse {

// The keys of one gate, opened from its root key file. Thread-safe after Open(). The process is made not dumpable and key
// memory is locked by LockMemory() at start.
class KeyRing {
 public:
  // `ecluse keys init`: writes a new root key file (mode 0600, never overwrites one).
  static Status Init(const std::string& root_key_file);
  // Opens the root key and the wrapped keys under `<data_dir>/keys`. Refuses a root file others may read.
  static Result<std::unique_ptr<KeyRing>> Open(const std::string& root_key_file, const std::string& data_dir);
  virtual ~KeyRing() = default;

  // Seals `plain` under the day key of `wall_micros`'s UTC day (made and wrapped on first use), bound to `associated`.
  // The result names its day: it can be opened as long as that day's key exists.
  virtual Result<std::string> SealForDay(int64_t wall_micros, std::string_view plain, std::string_view associated) = 0;
  virtual Result<std::string> OpenForDay(std::string_view sealed, std::string_view associated) = 0;

  // HMAC-SHA-256, cut to 128 bits, of a person (`space:id`) under the index key: what memory and indexes know people by.
  virtual void SubjectKey(std::string_view space, std::string_view id, uint8_t out[16]) const = 0;

  // A stable pseudonym of a person for one role (docs/policy.md, masks).
  virtual void Pseudonym(std::string_view role, std::string_view space, std::string_view id, uint8_t out[16]) const = 0;

  // Wraps and unwraps small secrets (database passwords, person keys) under the ring's own key-encryption key.
  virtual Result<std::string> Wrap(std::string_view plain, std::string_view associated) = 0;
  virtual Result<std::string> Unwrap(std::string_view wrapped, std::string_view associated) = 0;
};

// Makes the process not dumpable (no core, no ptrace by the same user) and locks what key memory it can. Best effort where
// limits forbid locking; says so in the log.
void ProtectProcessMemory();

}  // namespace ecluse
