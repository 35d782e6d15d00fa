// The root key and what it wraps: key-encryption keys, day keys, the index key. docs/vault_format.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "vault/root_source.h"
#include "vault/xaes.h"

namespace ecluse {

class FileSystem;   // base/file.h
class Generations;  // generations.h
class LiteralKeys;  // literal_keys.h
class ValueKeys;    // value_keys.h

// A key as `ecluse keys list` and the ledger's `key` entries name it; never the key itself.
struct KeyInfo {
  // "kek", "key", "day", "generation", "literals"; of a compartment "compartment", "data", "search", "link"
  std::string kind;
  // "gate", "auditors"; "index", "pseudonym", "ledger"; "2024-05-01"; when made; "2024-05"; the compartment
  std::string name;
  std::string id;  // 16 hexadecimal digits
};

// What the sealed columns of one compartment are sealed, found and joined under. Immutable where it is shared, and
// wiped with the last who holds it.
class CompartmentKeys {
 public:
  struct Data {
    KeyId id;
    Xaes key;
  };
  // The data key that seals now.
  const Data& current() const { return data_.back(); }
  // The data key of that id, which seals now or did before; null where there is none.
  const Xaes* Find(const KeyId& id) const;
  // One more, which seals from now on; false where there is one of that id.
  bool AddData(const KeyId& id, Xaes key);

  Secret search;  // of blind indexes
  KeyId search_id{};
  // `ecluse keys rotate --search` is not through: tokens are under this search key or the one before it.
  bool renewing = false;
  Secret link;  // of the pseudonyms that stand for people
  bool complete() const { return !data_.empty() && !search.empty() && !link.empty(); }

 private:
  std::vector<Data> data_;  // the newest last
};

// The keys of one gate, opened from its root key file. Thread-safe after Open().
class KeyRing {
 public:
  // `ecluse keys init`: makes a new root (root_key.h), never in the place of one.
  static Status Init(const RootSource& root, bool passphrase = false);
  // Opens the root and the wrapped keys under `<data_dir>/keys`, which are made on first use. Refuses what OpenRoot()
  // refuses, a root that lies inside `data_dir`, and one that is not the root the keys were wrapped under. The root is
  // closed again before this returns. `files` outlives the ring; null: the real ones.
  // Keys of `compartments` that the ring does not hold yet are made and durable then. Who makes a key holds the lock of
  // the ring; 58030 where another does.
  static Result<std::unique_ptr<KeyRing>> Open(const RootSource& root, const std::string& data_dir,
                                               FileSystem* files = nullptr,
                                               std::span<const std::string> compartments = {});
  virtual ~KeyRing() = default;

  // Seals `plain` under the day key of `wall_micros`'s UTC day (made, wrapped and made durable on first use), bound to
  // `associated`. The result names its day: it can be opened as long as that day's key exists.
  virtual Result<std::string> SealForDay(int64_t wall_micros, std::string_view plain, std::string_view associated) = 0;
  virtual Result<std::string> OpenForDay(std::string_view sealed, std::string_view associated) = 0;

  // HMAC-SHA-256, cut to 128 bits, of a person (`space:id`) under the index key: what memory and indexes know people
  // by.
  virtual void SubjectKey(std::string_view space, std::string_view id, uint8_t out[16]) const = 0;

  // A stable pseudonym of a person for one role (docs/policy.md, masks).
  virtual void Pseudonym(std::string_view role, std::string_view space, std::string_view id, uint8_t out[16]) const = 0;

  // The seed of the Ed25519 key that signs the ledger's checkpoints. Made and kept where a ring of before there were
  // any has none: only for whoever holds the ledger's lock, and before the ring is used by other threads.
  virtual Result<Secret> SigningSeed() = 0;

  // Wraps and unwraps small secrets (database passwords) under the ring's own key-encryption key.
  virtual Result<std::string> Wrap(std::string_view plain, std::string_view associated) = 0;
  virtual Result<std::string> Unwrap(std::string_view wrapped, std::string_view associated) = 0;

  // What people's keys are wrapped under.
  virtual Generations& generations() = 0;
  // What the ledger seals what statements quoted under.
  virtual LiteralKeys& literal_keys() = 0;

  // Where people's own keys are kept: whoever holds the store, or asks who does, attaches it before others use the
  // ring, and null before it goes. Null where nobody has.
  ValueKeys* value_keys() const { return value_keys_; }
  void Attach(ValueKeys* value_keys) { value_keys_ = value_keys; }

  // Whoever ends a renewal of search keys says so, and is given them (SealingKeys()) before it is through.
  bool ends_renewal() const { return ends_renewal_; }
  void EndsRenewal() { ends_renewal_ = true; }

  // The keys of a compartment; null where the ring holds none. Whoever holds them goes on with them where the ring is
  // taken anew meanwhile: ask for each statement or batch.
  virtual std::shared_ptr<const CompartmentKeys> Compartment(std::string_view name) const = 0;

  // Takes over what has changed about compartments since the ring was opened (key_changes.h), telling OnKeyMade() of
  // keys that are new before anything is sealed under them. The root is opened as by Open(); refused where that asks
  // on a terminal, where the ring is not the one it was, where a data key has gone from it, and where what a compartment
  // is searched or linked under is another: the database has to be seen to have changed with it. Nothing is taken then.
  // How many keys are new. By one thread at a time.
  virtual Result<uint64_t> TakeRing() = 0;

  // Destroys the keys of days before that of `wall_micros`: nothing that was sealed on them opens any more. How many.
  // Only while nobody else uses the ring.
  virtual Result<uint64_t> DestroyDaysBefore(int64_t wall_micros) = 0;

  // Every key of the ring, then the root generations, the keys of literals by month, and day keys by day.
  virtual Result<std::vector<KeyInfo>> List() const = 0;

  // Called once for every key of a day or month and every generation made, and every key taken, from now on, after it
  // is durable and before anything is sealed under it, on the thread that needed it. The ledger takes this to write the
  // `key` entry. Null forgets it.
  virtual void OnKeyMade(std::function<void(const KeyInfo&)> made) = 0;

 private:
  ValueKeys* value_keys_ = nullptr;
  bool ends_renewal_ = false;
};

// Makes the process not dumpable (no core, no ptrace by the same user) and locks its memory. Best effort where limits
// forbid locking; says so in the log. Called once at start.
void ProtectProcessMemory();

}  // namespace ecluse
