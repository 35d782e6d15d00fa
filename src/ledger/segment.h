// A segment of the write-ahead log: a file of fixed size, filled with zeros before its first record, so that a sync
// writes data and no metadata. Layout: docs/ledger_format.md, "Segments".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "ledger/record.h"

namespace ecluse {

inline constexpr size_t kSegmentHeader = 4'096;  // records begin here

// What is the same for every segment of one ledger.
struct SegmentFolder {
  FileSystem* files = nullptr;
  std::string path;  // <data_dir>/ledger
  LedgerId ledger{};
  uint64_t segment_bytes = 0;  // of segments made from now on: a multiple of 4096

  std::string PathOf(uint64_t number) const;  // <path>/wal-00000001
};

// Segment numbers present, ascending, after removing left-overs of interrupted makings (`.new`) where `clean`.
Result<std::vector<uint64_t>> ListSegments(const SegmentFolder& folder, bool clean);

// Makes segment `number` holding `records` from kSegmentHeader on and zeros behind them: written under another name,
// synced, renamed over whatever has the name, folder synced. When this returns the segment is durable. `size` 0:
// segment_bytes.
Status MakeSegment(const SegmentFolder& folder, uint64_t number, std::string_view records, uint64_t size = 0);

// Reads and checks the header block. Refuses a file that is not this ledger's segment `number`, or not of its full
// size.
Result<uint64_t> CheckSegment(const SegmentFolder& folder, uint64_t number, File& file);

// Where a record lies.
struct Place {
  uint32_t segment = 0;
  uint32_t offset = 0;
};

// Calls `visit` with every whole record of a segment in order, until it returns false or there is none left. Returns
// the offset behind the last one visited.
Result<uint64_t> VisitSegment(const SegmentFolder& folder, uint64_t number,
                              const std::function<bool(const Record&, uint64_t offset)>& visit);

// The record at a place; fails where there is none.
Result<std::string> ReadPlace(const SegmentFolder& folder, Place place);

// Every entry from `first` up to, not including, `end`, in order. Refuses where the sequence has a gap.
Status VisitEntries(const SegmentFolder& folder, uint64_t first, uint64_t end,
                    const std::function<bool(const Record&, Place)>& visit);

// The first entry before `end` that is not older than `time` (microseconds since 1970), or the number behind those that
// are: entries' times never go back. Reads one segment, and one record of some others.
Result<uint64_t> FirstEntrySince(const SegmentFolder& folder, uint64_t end, int64_t time);

// "the ledger is damaged" with what to do; `detail` for the operator.
std::unexpected<Error> LedgerDamaged(std::string detail);

}  // namespace ecluse
