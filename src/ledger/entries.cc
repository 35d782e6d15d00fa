#include "ledger/entries.h"

#include <fmt/format.h>

#include <cstring>

#include "base/file.h"
#include "base/limits.h"
#include "ledger/record.h"
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

Status Entries::Visit(uint64_t first, uint64_t end, const std::function<bool(const EntryView&)>& visit) {
  uint64_t next = first;
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
  std::string json;
  ECLUSE_OK(Visit(seq, seq + 1, [&](const EntryView& entry) {
    json = entry.json;
    return true;
  }));
  return json;
}

// How many there are under the checkpoint.
uint64_t Entries::FullBundles() {
  (void)Covered(UINT64_MAX / kTileWidth - 1);
  return covered_ / kTileWidth;
}

Result<uint64_t> Entries::FirstSince(uint64_t end, int64_t time) {
  const uint64_t bundles = FullBundles();
  uint64_t low = 0, high = bundles;  // the bundles before `low` begin before `time`
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
  uint64_t first = low == 0 ? 0 : (low - 1) * kTileWidth;
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
