// When `ecluse retain` has last gone through each table: a note in the data folder, by which the gate, which may not
// look at the tables itself, tells that rows may be past their retention. docs/decisions/retain.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "policy/policy.h"

namespace ecluse {

// One table, gone through to its end.
struct Retained {
  int64_t time = 0;  // of the start of that run, microseconds since 1970: what was past its retention then is gone
  int64_t left = 0;  // but for so many rows
  // The rule it went by.
  std::string column;
  std::chrono::seconds keep{0};
};

using RetainedTables = std::map<TableName, Retained>;

// What `<data_dir>/retained` says; nothing where it is missing. Refuses one that is none.
Result<RetainedTables> ReadRetained(FileSystem& files, const std::string& data_dir);
// Replaces it, durably.
Status WriteRetained(FileSystem& files, const std::string& data_dir, const RetainedTables& tables);

// A line for each table with a retention that was not gone through by its rule within limits::kRetainDue before `now`,
// or where rows were left: what an operator is warned of.
std::vector<std::string> RetentionWarnings(const Policy& policy, const RetainedTables& tables, int64_t now);

}  // namespace ecluse
