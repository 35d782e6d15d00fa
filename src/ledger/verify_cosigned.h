// Examining what witnesses have cosigned. A part of verify.h.
#pragma once

#include <string>

#include "ledger/verify.h"

namespace ecluse {

// Compares the ledger of `folder`, whose checkpoint and removed entries `out` has and whose tree was examined, with
// `cosigned`, the content of the file of that name or empty; adds what is wrong, and what was cosigned. `key` is the
// ledger's.
void ExamineCosigned(const VerifyOptions& options, const SegmentFolder& folder, const VerifierKey& key,
                     const std::string& cosigned, Verification* out);

}  // namespace ecluse
