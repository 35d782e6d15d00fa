// A table whose rows are deleted once they are older than its `retention`: what is to be known of it, and what speaks
// against it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/catalog.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "vault/keys.h"
#include "vault/link.h"

namespace ecluse {

// Such a table, as `t` in SQL. Refers to the policy it was made from.
struct RetainTarget {
  TableName name;
  const PolicyTable* policy = nullptr;
  const PolicyTable* people = nullptr;  // the table whose subject columns name them: itself, or the one it goes by
  std::vector<Oid> subject_types;       // of these columns
  std::shared_ptr<const Links> links;   // null where ids stand in them; else pseudonyms
  int64_t cutoff = 0;                   // older than that, microseconds since 1970
  std::string old;                      // the condition that a row is

  bool via() const { return people != policy; }
  std::string Sql() const { return QuoteTable(name) + " AS t"; }
  std::string Undated() const { return "t." + QuoteName(policy->retention->first) + " IS NULL"; }
  // That somebody is named for a row; always, where columns of its own do.
  std::string Named() const;
  // The subject columns of `people` as text, under `alias`, each named s and its number.
  std::string SubjectList(const std::string& alias) const;
};

// The policy's tables with a retention in the order in which their rows can go: those that refer to others, and those
// that find their people by others, before these. Where they refer to one another in a ring, by their names.
std::vector<TableName> DeletionOrder(const Policy& policy, const Catalog& catalog);

// All of them, in that order, at a time `now`. Refuses, with what to do, before anything is deleted: tables that are
// foreign, inherit, or have rules; whose rows row-level security hides; that guarded tables refer to by foreign keys
// which would delete or change rows there; and those that find their people by a table that refers to them, whose rows
// have to go first.
Result<std::vector<RetainTarget>> WhatToRetain(Database& owner, const KeyRing& keys, const Policy& policy, int64_t now);

}  // namespace ecluse
