// When `ecluse retain` and `ecluse shuffle`, which are to run once a day, have last gone through each table: notes in
// the data folder, by which the gate, which may not look at the tables itself, tells that it was not done.
// docs/decisions/retain.md, compartments.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "policy/policy.h"

namespace ecluse {

enum class DailyRun { retain, shuffle };

// One table, gone through to its end.
struct GoneThrough {
  int64_t time = 0;  // of the start of that run, microseconds since 1970: what there was to do then is done
  int64_t left = 0;  // but for so many rows
  // The rule that `retain` went by.
  std::string column;
  std::chrono::seconds keep{0};
};

using GoneThroughTables = std::map<TableName, GoneThrough>;

// What `<data_dir>/retained` or `<data_dir>/shuffled` says; nothing where it is missing. Refuses one that is none.
Result<GoneThroughTables> ReadGoneThrough(FileSystem& files, const std::string& data_dir, DailyRun run);
// Replaces it, durably.
Status WriteGoneThrough(FileSystem& files, const std::string& data_dir, DailyRun run, const GoneThroughTables& tables);
// Adds tables in compartments that were written anew in a run that began at `now`, and forgets those the policy has no
// compartment for.
Status NoteShuffled(FileSystem& files, const Policy& policy, const std::vector<TableName>& tables, int64_t now);

// A line for each table with a retention that was not gone through by its rule within limits::kDailyDue before `now`,
// or where rows were left: what an operator is warned of.
std::vector<std::string> RetentionWarnings(const Policy& policy, const GoneThroughTables& tables, int64_t now);
// The same for each table in a compartment.
std::vector<std::string> ShuffleWarnings(const Policy& policy, const GoneThroughTables& tables, int64_t now);

}  // namespace ecluse
