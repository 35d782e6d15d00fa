// Moving tables of a live register in, and out again: what stands in clear is sealed while the register is in use.
//
// For each table: columns for envelopes and tokens are added, and a trigger that takes a row's envelopes away when its
// clear values change; rows without envelopes are sealed in batches, by their place and version, so that a value that
// changed meanwhile is not overwritten; indexes are made beside; and in one transaction, under an exclusive lock, the
// clear columns become the sealed ones (the table is written anew, so that nothing clear is left in it) and the policy
// is applied. Whatever is there when it is interrupted, the next run goes on from, unless values may have changed
// unmarked since: then it begins the table anew, and says so.
//
// A table of a compartment moves as a whole, under the compartment's keys: pseudonyms take the place of the ids in its
// subject column like envelopes that of values, and its rows are put in their order, which is none, before they are
// written anew.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "seal/table_rows.h"
#include "vault/keys.h"

namespace ecluse {

struct SealOptions {
  std::shared_ptr<const Policy> policy;
  // The way back: what the policy no longer seals and the database does is opened.
  bool undo = false;
  std::vector<TableName> tables;  // those to seal, or to open; empty: all in which policy and database differ so
  MovingProgress progress;        // may be empty
  std::function<void(const std::string&)> say;  // what the operator has to know of as it happens; may be empty
};

struct SealReport {
  std::vector<std::string> columns;      // sealed, or opened, now: taj.person.nir
  uint64_t rows = 0;                     // that this run moved
  std::vector<TableName> shuffled;       // written anew in the order of their pseudonyms
  std::vector<std::string> still_to_do;  // by the operator: clear values outside the tables
};

// Refuses, with what to do: tables without a primary key, of partitions, or whose columns are keys, generated, or read
// by constraints, views and expressions; a value that is none of its type; a lock that is not to be had.
// Drops what earlier runs gathered and the policy no longer asks for.
Result<SealReport> SealTables(Database& owner, KeyRing& keys, const SealOptions& options);

}  // namespace ecluse
