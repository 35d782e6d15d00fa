// Examining the write-ahead segments: what lies behind the checkpoint, and copies of what lies under it. A part of
// verify.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "ledger/verify.h"

namespace ecluse {

// Adds what is wrong with the segments of `folder`, whose ledger is known, beside a checkpoint of `size` entries, and
// returns how many entries there are, under the checkpoint and behind it. What looks wrong because a gate is writing
// just now is looked at again for `options.patience`. `key` tells a later checkpoint of that gate from another's.
uint64_t ExamineSegments(const VerifyOptions& options, const SegmentFolder& folder, uint64_t size,
                         const std::optional<VerifierKey>& key, std::vector<Finding>* findings);

}  // namespace ecluse
