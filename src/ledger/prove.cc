#include "ledger/prove.h"

#include <fmt/format.h>

#include "base/limits.h"
#include "ledger/tile_folder.h"
#include "ledger/tree_writer.h"

namespace ecluse {

Prover::Prover(const SegmentFolder& folder, Base last, std::optional<Base> cosigned)
    : folder_(folder), last_(std::move(last)), cosigned_(std::move(cosigned)), entries_(folder) {}

Result<Prover> Prover::Open(const SegmentFolder& folder) {
  ECLUSE_TRY(VerifierKey key, ReadVerifierKey(folder));
  // The last one behind the cosigned one, which cannot be larger then. Each is read once: tiles only ever grow beside
  // it.
  std::optional<Base> cosigned;
  ECLUSE_TRY(auto present, folder.files->Find(folder.path + "/cosigned"));
  if (present) {
    ECLUSE_TRY(std::string note, ReadWholeFile(*folder.files, folder.path + "/cosigned", limits::kNote));
    ECLUSE_TRY(Checkpoint checkpoint, OpenCheckpoint(note, key));
    ECLUSE_TRY(Note parsed, ParseNote(note));
    if (parsed.signatures.size() > 1) cosigned = Base{std::move(note), std::move(checkpoint), nullptr, 0};
  }
  ECLUSE_TRY(std::string note, ReadWholeFile(*folder.files, folder.path + "/checkpoint", limits::kNote));
  ECLUSE_TRY(Checkpoint checkpoint, OpenCheckpoint(note, key));
  return Prover(folder, {std::move(note), std::move(checkpoint), nullptr, 0}, std::move(cosigned));
}

Result<TlogProof> Prover::Prove(uint64_t seq, std::string* entry) {
  if (seq >= last_.checkpoint.size) {
    return Fail(sqlstate::kIo,
                fmt::format("no checkpoint covers entry {} yet: the last one covers {}", seq, last_.checkpoint.size),
                "ask again in a moment, or for an entry that `ecluse ledger show` knows", "ledger.prove");
  }
  Base& base = cosigned_ && seq < cosigned_->checkpoint.size ? *cosigned_ : last_;
  const Checkpoint& checkpoint = base.checkpoint;
  if (!base.tiles || ++base.proved > limits::kProvedTogether) {
    auto folder = std::make_shared<const TileFolder>(*folder_.files, folder_.path);
    base.tiles =
        std::make_unique<TileSource>(checkpoint.size, [folder](const Tile& tile) { return folder->Read(tile); });
    base.proved = 0;
  }
  TlogProof proof;
  proof.index = seq;
  proof.note = base.note;
  ECLUSE_TRY(proof.hashes, InclusionProof(seq, checkpoint.size, *base.tiles));
  ECLUSE_TRY(std::string stored, entries_.Read(seq));
  if (!VerifyInclusion(LeafHash(stored), seq, checkpoint.size, proof.hashes, checkpoint.root))
    return LedgerDamaged(
        fmt::format("entry {} or a tile above it is not what was signed: see `ecluse ledger verify`", seq));
  if (entry != nullptr) *entry = std::move(stored);
  return proof;
}

}  // namespace ecluse
