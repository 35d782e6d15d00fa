// Entries wherever they lie: in full bundles of the tree, or in segments that have not been retired yet.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/result.h"
#include "ledger/segment.h"
#include "ledger/tile_folder.h"

namespace ecluse {

struct EntryView {
  uint64_t seq = 0;
  std::string_view json;  // until the visit returns
};

// Beside a writer in this process or another: segments that are retired meanwhile are followed into their bundles. A
// bundle is taken only where the last checkpoint covers it, by its size (its signature is not looked at here), and
// where it is what the tree's tile was made of. Not thread-safe.
class Entries {
 public:
  explicit Entries(SegmentFolder folder) : folder_(std::move(folder)), tiles_(*folder_.files, folder_.path) {}

  // Where in its full bundle an entry begins, by whoever may know: what is found there is taken only where it is what
  // the tree's tile was made of.
  using Place = std::function<std::optional<uint64_t>(uint64_t seq)>;
  void FindBy(Place place) { place_ = std::move(place); }
  // The same of one in a segment.
  void GoOnFrom(const RecordPlace& known) { known_ = known; }

  // One more reader of the same, for another thread.
  Entries Another() const;

  // Every entry from `first` up to, not including, `end`, in order, until `visit` returns false. With `end` UINT64_MAX
  // up to the last one there is. Those that were removed (retention.h) are left out, but for the few that are kept;
  // refuses where any other is missing.
  Status Visit(uint64_t first, uint64_t end, const std::function<bool(const EntryView&)>& visit);
  // Refuses one that was removed.
  Result<std::string> Read(uint64_t seq);
  // The first that was not removed.
  Result<uint64_t> First();
  // How many there are now.
  Result<uint64_t> Size() { return FirstSince(UINT64_MAX, INT64_MAX); }
  // The first entry before `end` that is not older than `time` (microseconds since 1970), or the number behind those
  // that are: entries' times never go back.
  Result<uint64_t> FirstSince(uint64_t end, int64_t time);

 private:
  Result<bool> VisitKept(uint64_t first, uint64_t end, const std::function<bool(const EntryView&)>& visit);
  bool Load(uint64_t bundle);
  std::optional<std::string> ReadAlone(uint64_t seq);
  bool Holds(uint64_t seq);
  bool Covered(uint64_t bundle);
  uint64_t FullBundles();

  SegmentFolder folder_;
  TileFolder tiles_;
  Place place_;
  RecordPlace known_;
  std::optional<uint64_t> removed_;  // entries before it were; read once
  uint64_t covered_ = 0;             // entries under the checkpoint, as read last
  uint64_t number_ = UINT64_MAX;     // of the bundle that is held
  uint64_t alone_ = UINT64_MAX;      // of the bundle that one entry was read from last
  std::string bytes_;
  std::vector<std::string_view> held_;
  std::string hashes_;  // of its entries, by the tree's tile
};

// Entries that lie scattered: a disk answers many who ask at once in little more than the time of one. Not thread-safe.
class ScatteredEntries {
 public:
  // `entries` as each reader is to begin.
  explicit ScatteredEntries(const Entries& entries) {
    while (readers_.size() < limits::kReaders) readers_.push_back(entries.Another());
  }

  // Calls `visit` once for each of `seqs`, ascending, several at once, `i` being its place among them; not for those
  // that were removed, but for the few that are kept.
  Status Visit(std::span<const uint64_t> seqs, const std::function<Status(size_t i, const EntryView&)>& visit);

 private:
  std::vector<Entries> readers_;
};

}  // namespace ecluse
