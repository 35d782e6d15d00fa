#include "ledger/prove.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "ledger/entries.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"
#include "tlog/tile.h"

namespace ecluse {

Result<TlogProof> ProveEntry(const SegmentFolder& folder, uint64_t seq) {
  ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder));
  // Read once: tiles only ever grow beside it.
  ECLUSE_TRY(std::string note, ReadWholeFile(*folder.files, folder.path + "/checkpoint", limits::kNote));
  ECLUSE_TRY(Checkpoint checkpoint, OpenCheckpoint(note, key));
  if (seq >= checkpoint.size) {
    return Fail(sqlstate::kIo,
                fmt::format("no checkpoint covers entry {} yet: the last one covers {}", seq, checkpoint.size),
                "ask again in a moment, or for an entry that `ecluse ledger show` knows", "ledger.prove");
  }
  const TileFolder tiles(*folder.files, folder.path);
  TileSource source(checkpoint.size, [&](const Tile& tile) { return tiles.Read(tile); });
  TlogProof proof;
  proof.index = seq;
  proof.note = note;
  ECLUSE_TRY(proof.hashes, InclusionProof(seq, checkpoint.size, source));
  ECLUSE_TRY(std::string entry, Entries(folder).Read(seq));
  if (!VerifyInclusion(LeafHash(entry), seq, checkpoint.size, proof.hashes, checkpoint.root))
    return LedgerDamaged(
        fmt::format("entry {} or a tile above it is not what was signed: see `ecluse ledger verify`", seq));
  return proof;
}

}  // namespace ecluse
