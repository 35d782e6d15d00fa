// The file that says which ledger a folder holds. docs/ledger_format.md, "Origin".
#pragma once

#include <string>

#include "base/result.h"
#include "ledger/segment.h"

namespace ecluse {

// Sets `folder->ledger`. True where there is no ledger yet: then the id is a new random one, and what an interrupted
// first start left is removed. Refuses a folder of another register or node, and one that holds segments without their
// origin.
Result<bool> FindOrigin(SegmentFolder* folder, const std::string& register_name, const std::string& node);

// Makes a new ledger one: written last of everything it consists of.
Status WriteOrigin(const SegmentFolder& folder, const std::string& register_name, const std::string& node);

// The id of the ledger in a folder; fails where there is none.
Result<LedgerId> ReadOrigin(const SegmentFolder& folder, std::string* origin);

// The ledger's own node, for those who write to it while no gate does; sets `folder->ledger`.
Result<std::string> OwnNode(SegmentFolder* folder);

// `name`, or the host's name where it is empty, as the gate's name in its origin; refuses what a note cannot hold.
Result<std::string> NodeName(std::string name);

}  // namespace ecluse
