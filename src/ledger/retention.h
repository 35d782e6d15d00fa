// Removing what has been kept for long enough, so that the removal can be proved and any other is found. Hashes stay,
// and with them every proof. docs/ledger_format.md, "Retention".
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ledger/ledger.h"
#include "ledger/segment.h"
#include "tlog/tree.h"
#include "vault/keys.h"

namespace ecluse {

// What was removed of a ledger: all entries before one, but for those that are kept.
struct Removal {
  uint64_t entries = 0;  // a multiple of kTileWidth; 0: nothing
  uint64_t by = 0;       // the `retention` entry that says so
};
// By the file `removed`; nothing where there is none.
Result<Removal> ReadRemoval(const SegmentFolder& folder);
// The file that says what is being removed, while it is: no ledger is opened beside it.
std::string RemovingPath(const SegmentFolder& folder);

// An entry of a removed bundle that stays: it introduces somebody whom later entries name, announces a key, or tells of
// a removal.
struct KeptEntry {
  uint64_t seq = 0;
  std::string json;
};
// Of one removed bundle, in order; empty where it has none. What they are is not looked at.
Result<std::vector<KeptEntry>> ReadKept(const SegmentFolder& folder, uint64_t bundle);
// The bundles that have some, in order.
Result<std::vector<uint64_t>> KeptBundles(const SegmentFolder& folder);

// Over kept entries, bundle after bundle, each in order.
class KeptHash {
 public:
  void Add(uint64_t seq, const Hash& leaf);
  uint64_t count() const { return count_; }
  Hash Value() const { return Sha256(bytes_); }

 private:
  std::string bytes_;  // 40 bytes each
  uint64_t count_ = 0;
};

// What a `retention` entry says was removed and what stayed, as its reason has it.
struct RetentionStatement {
  uint64_t entries = 0;  // removed are those before it
  uint64_t kept = 0;     // but for so many
  Hash hash{};           // SHA-256 over seq (8 bytes, big-endian) and leaf hash of each of them, in order

  std::string Text() const;
};
// nullopt where `reason` does not begin with one.
std::optional<RetentionStatement> ParseRetention(std::string_view reason);
// Of an entry of kind `retention`; nullopt for any other.
std::optional<RetentionStatement> ReadRetentionEntry(std::string_view json);

struct PruneOptions {
  LedgerOptions ledger;          // the node is found out
  int64_t before = 0;            // entries older than that, microseconds since 1970
  std::chrono::seconds keep{0};  // and older than the last entry by so much: no clock set ahead removes anything
  std::string policy;  // the digest that this stands on; must be the one that the ledger names last. May be empty
  std::string why;     // goes into the entry
  bool dry_run = false;
  std::function<void(uint64_t done, uint64_t all)> progress;  // entries read; now and then
};

struct Pruned {
  uint64_t entries = 0;  // removed now
  uint64_t kept = 0;     // of those, because something refers to them
  uint64_t people = 0;   // whom no entry names any more: their keys go
  uint64_t days = 0;     // whose keys are gone
  uint64_t left_from = 0;
  uint64_t by = 0;  // the `retention` entry
};

// Removes whole bundles of entries that are all older than `before`, as far as a checkpoint covers them and no segment
// holds them; writes down that it does before it does. Refuses while a gate has the ledger open. Interrupted anywhere,
// it is run again. The index is brought down to what is left.
Result<Pruned> PruneLedger(const PruneOptions& options, KeyRing& keys);

}  // namespace ecluse
