// Rows that a command deletes for their age (`ecluse retain`), as the ledger is told of them: an `erasure` that names
// the people, by the gate that runs or in its absence. docs/ledger_format.md, "Who writes what beside statements".
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ledger/ledger.h"
#include "vault/keys.h"

namespace ecluse {

// What the reason of such an entry begins with; never as one that says that people are erased by key (entry.h).
inline constexpr std::string_view kRetentionEntry = "retention of ";

struct Deletion {
  std::string table;                // taj.involvement
  std::string space;                // of its people
  std::vector<std::string> people;  // their ids, each once; at least one
  int64_t rows = 0;
  std::string reason;  // begins with kRetentionEntry
};

// The same people in deletions that fit a request and an entry each, in their order; `rows` stand with the last.
std::vector<Deletion> SplitDeletion(Deletion deletion);

// As a gate is asked to write it down (server/control_socket.h), and read back there. Refuses what is none: no table,
// no space, no people or too many, ids that are nobody's, rows below 0, another reason or one that is not plain text.
boost::json::object DeletionRequest(const Deletion& deletion);
Result<Deletion> ReadDeletion(const boost::json::object& request);

// Writes it down under `policy`, a digest, and returns once it is durable; introduces those whom no entry has named.
Status WriteDeletion(Ledger& ledger, const KeyRing& keys, const Deletion& deletion, const std::string& policy);

}  // namespace ecluse
