#include "ledger/entries.h"

#include <fmt/format.h>

#include <cstring>

#include "ledger/recovery.h"

namespace ecluse {

// False where there is no such full bundle, or not the whole of it yet.
bool Entries::Load(uint64_t bundle) {
  if (bundle == number_) return true;
  number_ = UINT64_MAX;
  held_.clear();
  auto bytes = tiles_.Read({kEntriesLevel, bundle, kTileWidth});
  if (!bytes) return false;
  auto hashes = tiles_.Read({0, bundle, kTileWidth});
  if (!hashes || hashes->size() != kTileBytes) return false;
  bytes_ = std::move(*bytes);
  auto entries = ReadBundle(bytes_, kTileWidth);
  if (!entries) return false;
  for (size_t i = 0; i < entries->size(); ++i) {
    const Hash hash = LeafHash((*entries)[i]);
    if (std::memcmp(hash.data(), hashes->data() + i * sizeof(Hash), sizeof(Hash)) != 0) return false;
  }
  held_ = std::move(*entries);
  number_ = bundle;
  return true;
}

Status Entries::Visit(uint64_t first, uint64_t end, const std::function<bool(const EntryView&)>& visit) {
  uint64_t next = first;
  while (next < end) {
    if (Load(next / kTileWidth)) {
      do {
        if (!visit({next, held_[next % kTileWidth]})) return {};
        ++next;
      } while (next < end && next % kTileWidth != 0);
      continue;
    }
    bool stopped = false;
    Status read = VisitEntries(folder_, next, end, [&](const Record& record) {
      stopped = !visit({next, record.entry});
      ++next;
      return !stopped;
    });
    if (stopped || (read && end == UINT64_MAX)) return {};
    // Where a segment has gone from under us its entries are in a bundle now.
    if (!read && !Load(next / kTileWidth)) return read;
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

// How many there are, one after the other from the first.
Result<uint64_t> Entries::FullBundles() {
  const auto there = [&](uint64_t bundle) -> Result<bool> {
    ECLUSE_TRY(auto found, folder_.files->Find(folder_.path + "/" + TilePath({kEntriesLevel, bundle, kTileWidth})));
    return found.has_value();
  };
  uint64_t low = 0, high = 1;  // all before `low` are there
  while (true) {
    ECLUSE_TRY(bool found, there(high - 1));
    if (!found) break;
    low = high;
    high *= 2;
  }
  while (low + 1 < high) {
    const uint64_t middle = low + (high - low) / 2;
    ECLUSE_TRY(bool found, there(middle - 1));
    (found ? low : high) = middle;
  }
  return low;
}

Result<uint64_t> Entries::FirstSince(uint64_t end, int64_t time) {
  ECLUSE_TRY(uint64_t bundles, FullBundles());
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
  ECLUSE_TRY(uint64_t in_segments, SegmentBefore(folder_, time));
  first = std::max(first, in_segments);
  ECLUSE_OK(Visit(first, end, [&](const EntryView& entry) {
    if (EntryTime(entry.json) >= time) return false;
    first = entry.seq + 1;
    return true;
  }));
  return first;
}

}  // namespace ecluse
