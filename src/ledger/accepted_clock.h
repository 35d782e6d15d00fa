// A machine's clock that stands behind the ledger's last entry, accepted by two people: an `approval` entry says so and
// by how much, and the file `clock` says which entry. docs/ledger_format.md, "Time".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ledger/segment.h"

namespace ecluse {

// The reason of the entry that accepts a clock `behind` microseconds behind the last entry.
std::string AcceptanceReason(int64_t behind, const std::string& reason);

// Whether a stored entry accepts a clock.
bool AcceptsClock(std::string_view entry);

// Remembers that entry `seq` accepts a clock.
Status KeepAcceptance(const SegmentFolder& folder, uint64_t seq);
// Forgets it: the clock is right again.
Status ForgetAcceptance(const SegmentFolder& folder);

// How far behind a clock was accepted, in microseconds; 0 where none was.
Result<int64_t> AcceptedLag(const SegmentFolder& folder);

}  // namespace ecluse
