// Where the values of tables on their way are gathered until the change: columns beside their own, and a trigger that
// empties them where a row changes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "seal/left_overs.h"
#include "seal/moving.h"

namespace ecluse {

// In one transaction.
Status AtOnce(Database& owner, const std::function<Status()>& work);

// The columns of tokens that are filled with what is moved in.
std::vector<std::string> TokenNames(const MovingTable& table);

// Makes a table ready: its columns, and the trigger, anew where what an earlier run gathered is of no use, which is
// said. `left`: what is to go of the table besides, or null. For a moment nobody else has the table.
// `keys` are those of its compartment: the columns of tokens note which search key they are under.
Status PrepareTable(Database& owner, const MovingTable& table, const CompartmentKeys& keys, const LeftOver* left,
                    const SealOptions& options);

// Has these columns of tokens say which search key they are under.
Status NoteSearchKey(Database& owner, const TableName& table, const std::vector<std::string>& columns,
                     const CompartmentKeys& keys);

// Drops what an earlier run gathered in a table in which nothing is to be moved, and says so.
Status DropFromRest(Database& owner, const LeftOver& left, const SealOptions& options);

// Why what was gathered may not be what this run would gather, or no longer what the rows hold; empty where it is. Only
// under a lock that lets nobody alter the table is it true for longer than a moment.
Result<std::string> WhyUnfit(Database& owner, const MovingTable& table, const Policy& policy);

}  // namespace ecluse
