#include "ledger/entries.h"

#include <fmt/format.h>

#include <cstring>

#include "base/file.h"
#include "base/limits.h"
#include "ledger/record.h"
#include "ledger/retention.h"
#include "tlog/checkpoint.h"

namespace ecluse {
namespace {

constexpr int kTries = 3;  // where segments go while they are looked for

}  // namespace

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
  const size_t place = seq % kTileWidth;
  const Hash hash = LeafHash(held_[place]);
  return std::memcmp(hash.data(), hashes_.data() + place * sizeof(Hash), sizeof(Hash)) == 0;
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
      const size_t place = entry.seq % kTileWidth * sizeof(Hash);
      const Hash hash = LeafHash(entry.json);
      if (hashes.size() != kTileBytes || std::memcmp(hash.data(), hashes.data() + place, sizeof(Hash)) != 0)
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
  int tries = 0;
  while (next < end) {
    if (Holds(next)) {
      if (!visit({next, held_[next % kTileWidth]})) return {};
      ++next;
      continue;
    }
    bool stopped = false;
    Status read = VisitEntries(folder_, next, end, [&](const Record& record) {
      stopped = !visit({next, record.entry});
      ++next;
      return !stopped;
    });
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

}  // namespace ecluse
