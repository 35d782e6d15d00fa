// A proof that stands alone: one entry is in the ledger that a checkpoint was signed over.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "ledger/entries.h"
#include "ledger/segment.h"
#include "tlog/checkpoint.h"
#include "tlog/tile.h"

namespace ecluse {

// Proofs under the last checkpoint there was when it was opened; or, where witnesses have cosigned one that covers the
// entry, under that, with their cosignatures. Works beside a running gate. Not thread-safe.
class Prover {
 public:
  static Result<Prover> Open(const SegmentFolder& folder);

  const std::string& note() const { return last_.note; }
  uint64_t size() const { return last_.checkpoint.size; }  // entries that can be proved

  // Of entry `seq`, by the ledger's own files; `entry`, where not null, gets its stored bytes. Refuses where the
  // checkpoint does not cover the entry yet, and where the tiles are not those that it was signed over.
  Result<TlogProof> Prove(uint64_t seq, std::string* entry = nullptr);

 private:
  // What proofs are made under.
  struct Base {
    std::string note;
    Checkpoint checkpoint;
    std::unique_ptr<TileSource> tiles;
    size_t proved = 0;  // with `tiles`, which keeps what it has read
  };
  Prover(const SegmentFolder& folder, Base last, std::optional<Base> cosigned);
  SegmentFolder folder_;
  Base last_;
  std::optional<Base> cosigned_;
  Entries entries_;
};

}  // namespace ecluse
