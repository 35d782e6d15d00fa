// A segment of the write-ahead log: a file of fixed size, filled with zeros before its first record, so that a sync
// writes data and no metadata. Layout: docs/ledger_format.md, "Segments".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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

// Calls `visit` with every whole record of a segment in order, from the one at `offset` on, until it returns false or
// there is none left. Returns the offset behind the last one visited.
Result<uint64_t> VisitSegment(const SegmentFolder& folder, uint64_t number,
                              const std::function<bool(const Record&, uint64_t offset)>& visit,
                              uint64_t offset = kSegmentHeader);

// Where the record of an entry lies, by whoever may know.
struct RecordPlace {
  uint64_t seq = 0;
  uint64_t segment = 0;  // 0: not known
  uint64_t offset = 0;
};

// The first entry that the segments hold; nullopt where they hold none.
Result<std::optional<uint64_t>> FirstInSegments(const SegmentFolder& folder);

// Removes segments, the first ones first, all of whose entries come before `bundled` and are held in full bundles under
// a checkpoint. The last one that holds such entries stays: a start goes on from what a segment says. `leaving` is told
// the first number that stays, before any goes.
Status RetireSegments(const SegmentFolder& folder, uint64_t bundled,
                      const std::function<void(uint64_t first_left)>& leaving);

// Every entry in segments from `first` up to, not including, `end`, in order. Refuses where the sequence has a gap.
// Where `known` is the place of one not behind `first` it is gone on from there; a place that is wrong harms nothing.
Status VisitEntries(const SegmentFolder& folder, uint64_t first, uint64_t end,
                    const std::function<bool(const Record&)>& visit, const RecordPlace& known = {});

// Where to begin looking in segments for what is not older than `time` (microseconds since 1970): the first entry of
// the last segment that begins before it; 0 where none does. Reads one record of some segments.
Result<uint64_t> SegmentBefore(const SegmentFolder& folder, int64_t time);

// Reads entries in order and goes on where it stopped, in segments that are still being written. Not thread-safe.
class RecordCursor {
 public:
  // From entry `first` on; it need not be there yet.
  RecordCursor(SegmentFolder folder, uint64_t first) : folder_(std::move(folder)), next_(first) {}
  // Every entry before `end`, all of which are durable.
  Status Advance(uint64_t end, const std::function<Status(const Record&)>& visit);

 private:
  Status Find();
  SegmentFolder folder_;
  uint64_t next_;
  uint64_t number_ = 0;  // 0: not found yet
  uint64_t offset_ = kSegmentHeader;
  uint64_t size_ = 0;
  std::unique_ptr<File> file_;
};

// "the ledger is damaged" with what to do; `detail` for the operator.
std::unexpected<Error> LedgerDamaged(std::string detail);

}  // namespace ecluse
