// The append-only record of every disclosure. One writer thread groups what all sessions append into one write and one
// fdatasync; a Receipt exists only for what is durable. Format, order of syscalls and crash windows:
// docs/ledger_format.md.
#pragma once

#include <boost/asio.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "ledger/entry.h"
#include "ledger/person_keys.h"
#include "tlog/checkpoint.h"
#include "vault/keys.h"

namespace ecluse {

class File;
class FileSystem;  // base/file.h: the seam through which tests make every syscall fail

// Proof that an entry is durable. Only the Ledger makes one, and delivery releases bytes only against one.
class Receipt {
 public:
  Receipt(Receipt&&) = default;
  Receipt& operator=(Receipt&&) = default;
  Receipt(const Receipt&) = delete;
  Receipt& operator=(const Receipt&) = delete;
  uint64_t seq() const { return seq_; }  // of the last entry it covers

 private:
  friend class Ledger;
  explicit Receipt(uint64_t seq) : seq_(seq) {}
  uint64_t seq_;
};

struct LedgerOptions {
  std::string data_dir;
  std::string register_name;
  std::string node;              // the gate's name among those of the register; fixed for the life of a ledger
  const Clock* clock = nullptr;  // null: the machine's
  FileSystem* files = nullptr;   // null: the real one
  uint64_t segment_bytes = 0;    // of a write-ahead segment, a multiple of 4096; 0: limits::kLedgerSegment
  // Within which whoever is erased is to be gone from every copy. Without one no root generation is made but a first,
  // and none destroyed: for commands that have the ledger open for a moment.
  std::optional<std::chrono::seconds> erasure_horizon;
  std::optional<std::chrono::seconds> literals_retention;  // for which literals are kept, behind the end of their month
  size_t index_backlog = 0;                                // 0: limits::kIndexBacklog
  size_t index_fill = 0;                                   // 0: limits::kIndexFill
  std::chrono::milliseconds checkpoint_every{1'000};
  // Told of every checkpoint before it takes the last one's place. What it refuses stops the ledger; false: it could
  // not be told just now, and will be asked again, with a later one. May block for some seconds. `ours` says whether
  // another note is an earlier checkpoint of this very ledger, and if not, why.
  using Ours = std::function<Status(const std::string& note)>;
  std::function<Result<bool>(const std::string& note, const Checkpoint& checkpoint, const Ours& ours)> publish;
  // The last checkpoint that was told elsewhere, or "" where there is none: a ledger that does not go on from it is not
  // opened. Asked once, with the folder's lock held.
  std::function<Result<std::string>()> told;
};

// One entry read back. `json` is the canonical stored text; `opened` the JSON object that it seals, or empty where it
// seals nothing or the keys are not there.
struct StoredEntry {
  uint64_t seq = 0;
  int64_t time = 0;
  std::string json;
  std::string opened;
};

// Thread-safe.
class Ledger {
 public:
  // Takes the folder's lock, recovers the tail, and starts the writer. Any doubt about what is on disk refuses the
  // start.
  static Result<std::unique_ptr<Ledger>> Open(LedgerOptions options, KeyRing& keys);
  ~Ledger();

  // The tokens of people, in their order, introducing those who have none (a `person` entry and a person key of their
  // own). Introductions are queued before this returns, so that anything appended afterwards is durable only after
  // them.
  Result<std::vector<SubjectToken>> TokensOf(std::span<const PersonName> people);

  // Accepts that the machine's clock is behind the last entry: writes `reason` down as an `approval`, after which
  // Open() refuses no longer and entries go on from the last one's time. Refuses where the clock is not behind, and
  // while a gate has the ledger open. The node is the ledger's own.
  static Status AcceptClock(LedgerOptions options, KeyRing& keys, const std::string& reason);

  // Writes one entry down where no gate runs; refuses while one does, and where there is no ledger yet. The node is the
  // ledger's own.
  static Status WriteDown(LedgerOptions options, KeyRing& keys, EntryDraft draft);

  // Erases a person (`space:id`) by their keys: writes it down as an `erasure` for `reason`, destroys the key of their
  // sealed values, and the one that opens who is behind their token, here and in ledgers that were put away; names them
  // anew where they come again. What it did, in words; from every copy the keys go within `horizon`. Where it fails
  // behind the entry, the next start finishes it. Refuses whom no ledger names and who has no such value, unless they
  // are `in_register`. Blocks, for as long as former ledgers and the store of keys are read.
  Result<std::string> Erase(const std::string& subject, std::chrono::seconds horizon, const std::string& policy,
                            const std::string& reason, bool in_register);
  // The same where no gate runs; refuses while one does, and where there is no ledger. The node is the ledger's own.
  static Result<std::string> EraseAlone(LedgerOptions options, KeyRing& keys, const std::string& subject,
                                        std::chrono::seconds horizon, const std::string& policy,
                                        const std::string& reason, bool in_register);

  // The time that an entry would get now: the wall clock's, or ahead of it where a clock that is behind was accepted.
  int64_t NowMicros() const;

  // Appends one event (split over several entries where it names too many people) and returns its Receipt once it is on
  // disk. Fails with 58030 when it is not or cannot be known to be: then nothing may be released. Resumes on the
  // caller's executor.
  boost::asio::awaitable<Result<Receipt>> Append(EntryDraft draft);
  // The same for threads that may block.
  Result<Receipt> AppendAndWait(EntryDraft draft);

  // True while appends can succeed. A ledger that has failed stays failed until the process restarts.
  bool healthy() const;
  // Keys of people's values, wrapped, for a command that has the ring: PersonKeys::FindWrapped().
  Result<std::vector<PersonKeys::WrappedValueKey>> ValueKeysOf(std::span<const KeyedSubject> people, bool make);
  uint64_t size() const;  // entries that are durable

  // Every entry from `first` on that is durable now, in order, opened where the keys are there; people by their tokens,
  // 22 characters of base64url. Stops when `visit` returns false.
  Status Replay(uint64_t first, const std::function<bool(const StoredEntry&)>& visit);
  // The first of them that is not older than `time`, microseconds since 1970.
  Result<uint64_t> FirstSince(int64_t time) const;
  // The SubjectKeys behind tokens, for rebuilding budgets, in any order; erased and unknown ones are left out.
  Result<std::vector<std::pair<SubjectToken, SubjectKey>>> KeysOf(std::span<const SubjectToken> tokens);

  // Reading beside or without a running gate, from the first entry on that is not older than `since`: `ecluse ledger
  // show`. Takes no lock and changes nothing. With `keys`, entries are opened and people shown as `space:id` where
  // their keys are there (an entry of kind `person`:
  // {"person":"space:id"}). With `follow` it goes on with what is written meanwhile, until `visit` says stop.
  static Status Read(const LedgerOptions& options, KeyRing* keys, int64_t since, bool follow,
                     const std::function<bool(const StoredEntry&)>& visit);

 private:
  struct Impl;
  explicit Ledger(std::unique_ptr<Impl> impl);
  enum class Lag { refuse, accept };
  static Result<std::unique_ptr<Ledger>> Open(LedgerOptions options, KeyRing& keys, Lag lag);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ecluse
