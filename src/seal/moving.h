// What is to be moved: the columns in which policy and database differ, found, and checked before anything changes.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/catalog.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "policy/sealed_columns.h"
#include "seal/seal_tables.h"
#include "seal/table_rows.h"

namespace ecluse {

// A domain, or a function, of the owner's schema.
std::string InSealedSchema(std::string_view name);
// The function of a table's kMarkTrigger.
std::string Marker(const TableName& table);

// Columns that values are gathered in until the change stand beside their own: its name, behind one of these.
inline constexpr std::string_view kSealedBeside = "__sealed_", kClearBeside = "__clear_";

// One column on its way.
struct Moving {
  std::string name;
  ValueType type;
  Sealing search;
  bool undo = false;
  std::string compartment{kMainCompartment};

  // What its values are gathered in until the change: envelopes, or on the way back clear values.
  std::string moved() const { return std::string(undo ? kClearBeside : kSealedBeside) + name; }
  std::string GatheredType() const {
    return undo ? TypeText(type) : InSealedSchema(search.link ? kGatheredLinks : kGatheredDomain);
  }
  // What the column has after the change.
  std::string Domain() const { return search.link ? LinkedDomain(type, compartment) : SealedDomain(type); }
  std::string MovedType() const { return undo ? TypeText(type) : InSealedSchema(Domain()); }
};

// A table, and those of its columns that are on their way: all of them in, or with `undo` all out.
struct MovingTable : BatchedTable {
  std::vector<Moving> columns;
  bool undo = false;

  // Whether such a column of a key holds what is moved: the values, or on the way back their tokens.
  bool Holds(const std::string& column) const {
    const std::string of = undo ? OfEqualityColumn(column) : column;
    const auto moving = std::ranges::find(columns, of, &Moving::name);
    // A key over pseudonyms tells apart what one over ids does.
    return (!undo || of != column) && moving != columns.end() && !moving->search.link;
  }
  bool Holds(const CatalogKey& key) const {
    return std::ranges::any_of(key.columns, [&](const std::string& column) { return Holds(column); });
  }
  // Rows with a value that is not moved yet.
  std::string Unmoved(const std::string& alias) const {
    std::string out;
    for (const Moving& column : columns) {
      out += (out.empty() ? "" : " OR ") + alias + "." + QuoteName(column.name) + " IS NOT NULL AND " + alias + "." +
             QuoteName(column.moved()) + " IS NULL";
    }
    return "(" + out + ")";
  }
};

// The tables in which policy and database differ: columns that the policy seals and the database does not, or with
// `undo` those that it no longer seals and the database does. They refer to `options.policy`. Changes nothing. Refuses,
// with what to do: what DescribeTable() refuses; columns of types that cannot be sealed, computed, with defaults, read
// by checks, views or expressions, or part of keys that sealed values could not hold; tables that differ and are not
// among `options.tables`; of those what policy or database does not have; tables that do not enter or leave their
// compartment as a whole, or stand in another than the policy has.
Result<std::vector<MovingTable>> WhatToSeal(Database& owner, const KeyRing& keys, const SealOptions& options,
                                            const Catalog& catalog);

// The same once nobody else can alter the tables, and before anything of them is dropped. Refuses what WhatToSeal()
// refuses, and what was altered since `began` was read so that what was made ready for `tables` no longer fits.
Status CheckUnaltered(Database& owner, const KeyRing& keys, const SealOptions& options, const Catalog& began,
                      const std::vector<MovingTable>& tables);

// What speaks against the policy once all of `tables` is moved, said before the work begins: it is compiled against
// `catalog` as it will be then.
Status CheckPolicy(const SealOptions& options, Catalog catalog, const std::vector<MovingTable>& tables);

// One statement only: what a policy's texts hold is never run as a second one.
Status RunOne(Database& owner, const std::string& sql);
// The trigger with its function.
Status DropMarker(Database& owner, const TableName& table);
Status DropColumns(Database& owner, const TableName& table, const std::vector<std::string>& columns);

// What speaks against the policy, a line each, with a line feed before it; empty where there are but warnings.
std::string Problems(const Policy& policy, const std::vector<PolicyProblem>& problems);

}  // namespace ecluse
