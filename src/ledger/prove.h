// A proof that stands alone: one entry is in the ledger that a checkpoint was signed over.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "ledger/entries.h"
#include "ledger/segment.h"
#include "tlog/checkpoint.h"
#include "tlog/tile.h"

namespace ecluse {

// Proofs under one checkpoint, the last one there was when it was opened; works beside a running gate. Not thread-safe.
class Prover {
 public:
  static Result<Prover> Open(const SegmentFolder& folder);

  const std::string& note() const { return note_; }
  uint64_t size() const { return checkpoint_.size; }  // entries that can be proved

  // Of entry `seq`, by the ledger's own files; `entry`, where not null, gets its stored bytes. Refuses where the
  // checkpoint does not cover the entry yet, and where the tiles are not those that it was signed over.
  Result<TlogProof> Prove(uint64_t seq, std::string* entry = nullptr);

 private:
  Prover(const SegmentFolder& folder, std::string note, Checkpoint checkpoint);
  SegmentFolder folder_;
  std::string note_;
  Checkpoint checkpoint_;
  Entries entries_;
  std::unique_ptr<TileSource> tiles_;
  size_t proved_ = 0;  // with tiles_, which keeps what it has read
};

}  // namespace ecluse
