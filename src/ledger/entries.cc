#include "ledger/entries.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/parallel.h"
#include "ledger/record.h"
#include "ledger/retention.h"
#include "tlog/checkpoint.h"

namespace ecluse {
namespace {

constexpr int kTries = 3;  // where segments go while they are looked for

// Whether hash `place` of a tile's bytes is that of the entry.
bool IsHashOf(std::string_view hashes, size_t place, std::string_view entry) {
  const Hash hash = LeafHash(entry);
  const size_t at = place * sizeof(Hash);
  return hashes.size() >= at + sizeof(Hash) && std::memcmp(hash.data(), hashes.data() + at, sizeof(Hash)) == 0;
}

}  // namespace

Entries Entries::Another() const {
  Entries other(folder_);
  other.place_ = place_;
  other.known_ = known_;
  return other;
}

bool Entries::Covered(uint64_t bundle) {
  const uint64_t end = (bundle + 1) * kTileWidth;
  if (end <= covered_) return true;
  auto text = ReadWholeFile(*folder_.files, folder_.path + "/checkpoint", limits::kNote);
  auto checkpoint = text ? ParseCheckpoint(*text) : Result<Checkpoint>(Checkpoint());
  if (checkpoint) covered_ = std::max(covered_, checkpoint->size);
  return end <= covered_;
}

// False where there is no such full bundle.
bool Entries::Load(uint64_t bundle) {
  if (bundle == number_) return true;
  if (!Covered(bundle)) return false;
  number_ = UINT64_MAX;
  held_.clear();
  auto bytes = tiles_.Read({kEntriesLevel, bundle, kTileWidth});
  if (!bytes) return false;
  auto hashes = tiles_.Read({0, bundle, kTileWidth});
  if (!hashes || hashes->size() != kTileBytes) return false;
  bytes_ = std::move(*bytes);
  hashes_ = std::move(*hashes);
  auto entries = ReadBundle(bytes_, kTileWidth);
  if (!entries) return false;
  held_ = std::move(*entries);
  number_ = bundle;
  return true;
}

// Whether the entry is held in a full bundle, and is the one that the tree's tile was made of.
bool Entries::Holds(uint64_t seq) {
  if (!Load(seq / kTileWidth)) return false;
  return IsHashOf(hashes_, seq % kTileWidth, held_[seq % kTileWidth]);
}

// One entry, without the rest of its bundle; nullopt where it has to be looked for there, as where others of it are
// asked for too.
std::optional<std::string> Entries::ReadAlone(uint64_t seq) {
  const uint64_t bundle = seq / kTileWidth;
  if (!place_ || bundle == number_ || std::exchange(alone_, bundle) == bundle || !Covered(bundle)) return std::nullopt;
  const auto offset = place_(seq);
  if (!offset) return std::nullopt;
  auto bytes = tiles_.ReadPart({kEntriesLevel, bundle, kTileWidth}, *offset, limits::kUsualRead);
  if (!bytes || bytes->size() < 2) return std::nullopt;
  const size_t length = LoadU16(bytes->data());
  if (bytes->size() < 2 + length) {
    bytes = tiles_.ReadPart({kEntriesLevel, bundle, kTileWidth}, *offset, 2 + length);
    if (!bytes || bytes->size() < 2 + length) return std::nullopt;
  }
  const auto due = tiles_.ReadPart({0, bundle, kTileWidth}, seq % kTileWidth * sizeof(Hash), sizeof(Hash));
  if (!due || !IsHashOf(*due, 0, bytes->substr(2, length))) return std::nullopt;
  return bytes->substr(2, length);
}

Result<uint64_t> Entries::First() {
  if (!removed_) {
    ECLUSE_TRY(Removal removal, ReadRemoval(folder_));
    removed_ = removal.entries;
  }
  return *removed_;
}

// Of removed bundles what is left of them; false where `visit` says stop.
Result<bool> Entries::VisitKept(uint64_t first, uint64_t end, const std::function<bool(const EntryView&)>& visit) {
  std::vector<uint64_t> bundles = {first / kTileWidth};
  if (end - first > 1) {
    ECLUSE_TRY(bundles, KeptBundles(folder_));
  }
  for (const uint64_t bundle : bundles) {
    if ((bundle + 1) * kTileWidth <= first || bundle * kTileWidth >= end) continue;
    ECLUSE_TRY(auto kept, ReadKept(folder_, bundle));
    if (kept.empty()) continue;
    ECLUSE_TRY(std::string hashes, tiles_.Read({0, bundle, kTileWidth}));
    for (const KeptEntry& entry : kept) {
      if (!IsHashOf(hashes, entry.seq % kTileWidth, entry.json))
        return LedgerDamaged(fmt::format("entry {}, which was kept, is not the one that was signed", entry.seq));
      if (entry.seq >= first && entry.seq < end && !visit({entry.seq, entry.json})) return false;
    }
  }
  return true;
}

Status Entries::Visit(uint64_t first, uint64_t end, const std::function<bool(const EntryView&)>& visit) {
  ECLUSE_TRY(const uint64_t left, First());
  uint64_t next = first;
  if (next < left) {
    ECLUSE_TRY(bool more, VisitKept(next, std::min(end, left), visit));
    if (!more) return {};
    next = left;
  }
  if (next + 1 == end) {
    if (const auto alone = ReadAlone(next)) {
      visit({next, *alone});
      return {};
    }
  }
  int tries = 0;
  while (next < end) {
    if (Holds(next)) {
      if (!visit({next, held_[next % kTileWidth]})) return {};
      ++next;
      continue;
    }
    bool stopped = false;
    const auto take = [&](const Record& record) {
      stopped = !visit({next, record.entry});
      ++next;
      return !stopped;
    };
    Status read = VisitEntries(folder_, next, end, take, known_);
    if (stopped || (read && end == UINT64_MAX)) return {};
    // Where a segment has gone from under us its entries are in a bundle now, or in the segments that are left.
    if (!read && !Holds(next) && ++tries > kTries) return read;
  }
  return {};
}

Result<std::string> Entries::Read(uint64_t seq) {
  std::optional<std::string> json;
  ECLUSE_OK(Visit(seq, seq + 1, [&](const EntryView& entry) {
    json = entry.json;
    return true;
  }));
  if (json) return std::move(*json);
  return Fail(sqlstate::kIo, fmt::format("entry {} was removed: it had been kept for as long as it is to be", seq),
              "its hash stays, and what was removed stands in the ledger (ecluse ledger show --kind retention)",
              "ledger.removed");
}

// How many there are under the checkpoint.
uint64_t Entries::FullBundles() {
  (void)Covered(UINT64_MAX / kTileWidth - 1);
  return covered_ / kTileWidth;
}

Result<uint64_t> Entries::FirstSince(uint64_t end, int64_t time) {
  const uint64_t bundles = FullBundles();
  ECLUSE_TRY(const uint64_t left, First());
  uint64_t low = left / kTileWidth, high = std::max(bundles, low);  // bundles before `low` begin before `time`
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    int64_t begins = 0;
    ECLUSE_OK(Visit(middle * kTileWidth, middle * kTileWidth + 1, [&](const EntryView& entry) {
      begins = EntryTime(entry.json);
      return true;
    }));
    if (begins < time) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  uint64_t first = std::max(left, low == 0 ? 0 : (low - 1) * kTileWidth);
  Result<uint64_t> found = SegmentBefore(folder_, time);
  for (int tries = 0; !found && tries < kTries; ++tries) found = SegmentBefore(folder_, time);
  ECLUSE_TRY(uint64_t in_segments, std::move(found));
  first = std::max(first, in_segments);
  ECLUSE_OK(Visit(first, end, [&](const EntryView& entry) {
    if (EntryTime(entry.json) >= time) return false;
    first = entry.seq + 1;
    return true;
  }));
  return first;
}

Status ScatteredEntries::Visit(std::span<const uint64_t> seqs,
                               const std::function<Status(size_t i, const EntryView&)>& visit) {
  return ForEachInParallel(seqs.size(), limits::kReaders, [&](size_t i, unsigned thread) -> Status {
    Status problem;
    ECLUSE_OK(readers_[thread].Visit(seqs[i], seqs[i] + 1, [&](const EntryView& entry) {
      problem = visit(i, entry);
      return problem.has_value();
    }));
    return problem;
  });
}

}  // namespace ecluse
