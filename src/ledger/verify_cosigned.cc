#include "ledger/verify_cosigned.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/limits.h"
#include "base/time_text.h"
#include "ledger/accepted_clock.h"
#include "ledger/record.h"
#include "ledger/tile_folder.h"
#include "tlog/tile.h"

namespace ecluse {
namespace {

class CosignedExaminer {
 public:
  CosignedExaminer(const VerifyOptions& options, const SegmentFolder& folder, Verification* out)
      : options_(options), folder_(folder), tiles_(*folder.files, folder.path), out_(*out) {}

  // It cannot have been another ledger, nor have come later than they say.
  void Examine(const std::string& text, const VerifierKey& key) {
    std::optional<Note> note;
    if (!text.empty()) {
      const auto checkpoint = OpenCheckpoint(text, key);
      if (!checkpoint) return Found(std::nullopt, "the file cosigned: " + checkpoint.error().message);
      const uint64_t size = out_.checkpoint.size;
      if (checkpoint->size > size) {
        return Found(
            size, fmt::format("witnesses have seen {} entries, and the checkpoint covers {}", checkpoint->size, size));
      }
      TileSource source(size, [&](const Tile& tile) { return tiles_.Read(tile); });
      const auto root = RootAt(checkpoint->size, source);
      if (!root || *root != checkpoint->root) {
        return Found(std::nullopt,
                     fmt::format("the first {} entries are not those that the file cosigned is of", checkpoint->size));
      }
      out_.cosigned = Cosigned{checkpoint->size, {}};
      note = *ParseNote(text);
    }
    if (note) LookAtCosignatures(*note);
    if (options_.required > 0) LookWhetherInTime();
  }

 private:
  void Found(std::optional<uint64_t> entry, std::string what) { out_.findings.push_back({entry, std::move(what)}); }

  void LookAtCosignatures(const Note& note) {
    Cosigned& cosigned = *out_.cosigned;
    const bool there = cosigned.size > out_.removed;  // else its entries were removed
    const auto last = there ? TimeOf(cosigned.size - 1) : std::optional<int64_t>(0);
    if (!last) return Found(cosigned.size - 1, "the last entry that was cosigned cannot be read");
    // Where two people accepted that entries' times are ahead of the clock.
    const int64_t ahead = AcceptedLag(folder_).value_or(0);
    for (const VerifierKey& witness : options_.witnesses) {
      for (const NoteSignature& signature : note.signatures) {
        if (!signature.By(witness)) continue;
        const auto seconds = VerifyCosignature(note.text, signature, witness);
        if (!seconds || *seconds >= uint64_t{1} << 40) {
          Found(std::nullopt, "the cosignature of " + witness.name + " is not its own, or of no time");
          continue;
        }
        const int64_t when = static_cast<int64_t>(*seconds) * 1'000'000;
        if (*last - ahead > when + std::chrono::microseconds(limits::kWitnessClock + std::chrono::seconds(1)).count()) {
          Found(cosigned.size - 1, fmt::format("the entry says {}, and {} had cosigned it at {}", TimeText(*last),
                                               witness.name, TimeText(when)));
          continue;
        }
        if (std::ranges::none_of(cosigned.witnesses, [&](const auto& one) { return one.first == witness.name; }))
          cosigned.witnesses.emplace_back(witness.name, *seconds);
      }
    }
  }

  // What the policy requires: no entry without cosignatures for longer than the grace. Where there are not enough at
  // all, the last one is looked at where nothing stands behind `cosigned`.
  void LookWhetherInTime() {
    const bool enough = out_.cosigned && out_.cosigned->witnesses.size() >= options_.required;
    uint64_t first = std::max(out_.cosigned ? out_.cosigned->size : 0, out_.removed);
    if (!enough) first = std::min(first, out_.checkpoint.size - 1);
    if (first >= out_.checkpoint.size) return;
    const auto time = TimeOf(first);
    if (!time || *time + std::chrono::microseconds(options_.grace).count() >= options_.now) return;
    Found(first, fmt::format("the entry is of {}, and fewer than {} witnesses have cosigned it: whatever stands behind "
                             "what they have cosigned could have been exchanged",
                             TimeText(*time), options_.required));
  }

  // Of an entry under the checkpoint; times do not go back, which has been looked at.
  std::optional<int64_t> TimeOf(uint64_t seq) const {
    const uint64_t number = seq / kTileWidth, width = std::min(kTileWidth, out_.checkpoint.size - number * kTileWidth);
    const auto bytes = tiles_.Read({kEntriesLevel, number, width});
    const auto entries = bytes ? ReadBundle(*bytes, width) : std::nullopt;
    return entries ? std::optional(EntryTime((*entries)[seq % kTileWidth])) : std::nullopt;
  }

  const VerifyOptions& options_;
  const SegmentFolder& folder_;
  const TileFolder tiles_;
  Verification& out_;
};

}  // namespace

void ExamineCosigned(const VerifyOptions& options, const SegmentFolder& folder, const VerifierKey& key,
                     const std::string& cosigned, Verification* out) {
  CosignedExaminer(options, folder, out).Examine(cosigned, key);
}

}  // namespace ecluse
