// A proof that stands alone: one entry is in the ledger that a checkpoint was signed over.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "ledger/segment.h"
#include "tlog/checkpoint.h"

namespace ecluse {

// Of entry `seq` under the last checkpoint, by the ledger's own files; works beside a running gate. Refuses where no
// checkpoint covers the entry yet, and where the tiles are not those that it was signed over.
Result<TlogProof> ProveEntry(const SegmentFolder& folder, uint64_t seq);

}  // namespace ecluse
