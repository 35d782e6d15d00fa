// Bringing a ledger back after it ended in whatever way. docs/ledger_format.md, "Recovery".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ledger/segment.h"

namespace ecluse {

struct RecoveredTail {
  uint64_t segment = 0;        // where the next record goes
  uint64_t offset = 0;         // in it
  uint64_t size = 0;           // of that segment
  uint64_t next_seq = 0;       // entries that survive
  int64_t last_time = 0;       // of the last one; 0 where there is none
  uint64_t dropped_bytes = 0;  // of a group that was never acknowledged
};

// Reads the last segments past the page cache, writes what is whole to a new file in their place, and removes segments
// behind it. Refuses whatever cannot be explained by a crash in the middle of the last, unacknowledged group. The
// folder's lock must be held. Makes the first segment of a new ledger.
Result<RecoveredTail> RecoverTail(const SegmentFolder& folder);

}  // namespace ecluse
