#include "ledger/prove.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"

namespace ecluse {

Prover::Prover(const SegmentFolder& folder, std::string note, Checkpoint checkpoint)
    : folder_(folder), note_(std::move(note)), checkpoint_(std::move(checkpoint)), entries_(folder) {}

Result<Prover> Prover::Open(const SegmentFolder& folder) {
  ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder));
  // Read once: tiles only ever grow beside it.
  ECLUSE_TRY(std::string note, ReadWholeFile(*folder.files, folder.path + "/checkpoint", limits::kNote));
  ECLUSE_TRY(Checkpoint checkpoint, OpenCheckpoint(note, key));
  return Prover(folder, std::move(note), std::move(checkpoint));
}

Result<TlogProof> Prover::Prove(uint64_t seq, std::string* entry) {
  if (seq >= checkpoint_.size) {
    return Fail(sqlstate::kIo,
                fmt::format("no checkpoint covers entry {} yet: the last one covers {}", seq, checkpoint_.size),
                "ask again in a moment, or for an entry that `ecluse ledger show` knows", "ledger.prove");
  }
  if (!tiles_ || ++proved_ > limits::kProvedTogether) {
    auto folder = std::make_shared<const TileFolder>(*folder_.files, folder_.path);
    tiles_ = std::make_unique<TileSource>(checkpoint_.size, [folder](const Tile& tile) { return folder->Read(tile); });
    proved_ = 0;
  }
  TlogProof proof;
  proof.index = seq;
  proof.note = note_;
  ECLUSE_TRY(proof.hashes, InclusionProof(seq, checkpoint_.size, *tiles_));
  ECLUSE_TRY(std::string stored, entries_.Read(seq));
  if (!VerifyInclusion(LeafHash(stored), seq, checkpoint_.size, proof.hashes, checkpoint_.root))
    return LedgerDamaged(
        fmt::format("entry {} or a tile above it is not what was signed: see `ecluse ledger verify`", seq));
  if (entry != nullptr) *entry = std::move(stored);
  return proof;
}

}  // namespace ecluse
