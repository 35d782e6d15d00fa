#include "seal/retain_target.h"

#include <algorithm>
#include <ranges>

#include "base/time_text.h"
#include "policy/masks.h"
#include "seal/table_rows.h"

namespace ecluse {
namespace {

// A row whose whole day is past, where it has no time; in UTC, where it has no zone.
std::string OldCondition(const CatalogColumn& column, int64_t cutoff) {
  const std::string name = "t." + QuoteName(column.name), then = QuoteText(TimeText(cutoff)) + "::timestamptz";
  if (column.base_type == oid::kTimestamptz) return name + " < " + then;
  const std::string utc = "(" + then + " AT TIME ZONE 'UTC')";
  return name + " < " + utc + (column.base_type == oid::kDate ? "::date" : "");
}

Status CheckKind(Database& owner, const CatalogTable& real) {
  const std::string table = real.name.Text();
  ECLUSE_TRY(const Rows found,
             owner.Query("SELECT EXISTS (SELECT FROM pg_partition_tree($1::regclass) p JOIN pg_class c ON c.oid = "
                         "p.relid WHERE c.relkind = 'f'), EXISTS (SELECT FROM pg_inherits h JOIN pg_class c ON c.oid = "
                         "h.inhparent WHERE $1::regclass IN (h.inhrelid, h.inhparent) AND c.relkind <> 'p'), "
                         "row_security_active($1::regclass)",
                         {QuoteTable(real.name)}));
  if ((real.kind != 'r' && real.kind != 'p') || found.True(0, 0))
    return CannotMove(table + " is a foreign table, or has partitions that are",
                      "delete old rows where they lie, and take `retention` from it");
  if (found.True(0, 1))
    return CannotMove(table + " inherits from another table, or is inherited from",
                      "make its children partitions, or take `retention` from it");
  if (found.True(0, 2))
    return CannotMove("row-level security hides rows of " + table + " from --owner",
                      "give the connection of the table's owner, and let the policies not be forced on them");
  if (!real.rules.empty())
    return CannotMove("the rule " + real.rules.front() + " of " + table + " may do something else than delete",
                      "drop it, or take `retention` from the table");
  return {};
}

// What is deleted from a table must not take rows of people along that nobody writes down.
Status CheckCascades(Database& owner, const Policy& policy, const TableName& name) {
  std::vector<std::string> schemas, names;
  for (const auto& table : policy.tables | std::views::keys) {
    schemas.push_back(table.schema);
    names.push_back(table.name);
  }
  ECLUSE_TRY(const Rows found, owner.Query(R"(
    WITH RECURSIVE wanted AS (
      SELECT c.oid, n.nspname || '.' || c.relname AS name FROM unnest($2::text[], $3::text[]) AS w(s, t)
      JOIN pg_namespace n ON n.nspname = w.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.t),
    guarded AS (
      SELECT w.name, p.relid FROM wanted w
      CROSS JOIN LATERAL (SELECT w.oid AS relid UNION SELECT t.relid::oid FROM pg_partition_tree(w.oid) t) p),
    reached(rel) AS (
      SELECT g.relid FROM guarded g JOIN wanted w ON w.name = g.name WHERE w.oid = $1::regclass
      UNION SELECT c.conrelid FROM reached r JOIN pg_constraint c ON c.confrelid = r.rel
      WHERE c.contype = 'f' AND c.confdeltype = 'c')
    SELECT c.conname, g.name FROM reached r JOIN pg_constraint c ON c.confrelid = r.rel
    JOIN guarded g ON g.relid = c.conrelid
    WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') ORDER BY 2, 1 LIMIT 1)",
                                           {QuoteTable(name), TextArray(schemas), TextArray(names)}));
  if (found.size() == 0) return {};
  return CannotMove("what is deleted from " + name.Text() + " would delete or change rows of " + found.Text(0, 1) +
                        " by the foreign key " + found.Text(0, 0) + ", and nobody would write down whose",
                    "make it ON DELETE NO ACTION, and give " + found.Text(0, 1) + " a `retention` of its own");
}

Result<RetainTarget> Describe(Database& owner, const KeyRing& keys, const Policy& policy, const Catalog& catalog,
                              const TableName& name, int64_t now) {
  RetainTarget target;
  target.name = name;
  target.policy = &policy.tables.at(name);
  target.people = target.policy->via ? &policy.tables.at(*target.policy->via) : target.policy;
  const CatalogTable& real = catalog.tables.at(name);
  ECLUSE_OK(CheckKind(owner, real));
  ECLUSE_OK(CheckCascades(owner, policy, name));
  for (const CatalogForeignKey& key : real.referencing) {
    if (target.via() && key.from == target.people->name)
      return CannotMove("rows of " + name.Text() + " find their people by " + key.from.Text() + ", which refers to " +
                            "them by the foreign key " + key.name +
                            ": they can go only when nobody can tell any more whom they were about",
                        "drop the foreign key, or take `retention` from " + name.Text());
  }
  const auto& [column, keep] = *target.policy->retention;
  target.cutoff = now - std::chrono::microseconds(keep).count();
  target.old = OldCondition(*real.Find(column), target.cutoff);
  const CatalogTable& naming = catalog.tables.at(target.people->name);
  ECLUSE_TRY(target.links, LinksOf(keys, policy, *target.people, naming));
  for (const std::string& subject : target.people->subject_columns)
    target.subject_types.push_back(naming.Find(subject)->base_type);
  return target;
}

}  // namespace

std::string RetainTarget::Named() const {
  if (!via()) return "true";
  const std::string key = QuoteName(policy->via_key);
  return "EXISTS (SELECT FROM " + QuoteTable(people->name) + " AS v WHERE v." + key + " = t." + key + ")";
}

std::string RetainTarget::SubjectList(const std::string& alias) const {
  std::string out;
  for (size_t i = 0; i < people->subject_columns.size(); ++i)
    out +=
        (i == 0 ? "" : ", ") + alias + "." + QuoteName(people->subject_columns[i]) + "::text AS s" + std::to_string(i);
  return out;
}

std::vector<TableName> DeletionOrder(const Policy& policy, const Catalog& catalog) {
  std::vector<TableName> left, order;
  for (const auto& [name, table] : policy.tables)
    if (table.retention) left.push_back(name);
  const auto before = [&](const TableName& first, const TableName& second) {
    if (first == second) return false;
    if (policy.tables.at(first).via == second) return true;
    const auto real = catalog.tables.find(first);
    return real != catalog.tables.end() &&
           std::ranges::any_of(real->second.foreign_keys, [&](const auto& key) { return key.to == second; });
  };
  while (!left.empty()) {
    auto next = std::ranges::find_if(left, [&](const TableName& name) {
      return std::ranges::none_of(left, [&](const TableName& other) { return before(other, name); });
    });
    if (next == left.end()) next = left.begin();
    order.push_back(*next);
    left.erase(next);
  }
  return order;
}

Result<std::vector<RetainTarget>> WhatToRetain(Database& owner, const KeyRing& keys, const Policy& policy,
                                               int64_t now) {
  ECLUSE_TRY(const Catalog catalog, ReadTableCatalog(owner, policy));
  std::vector<RetainTarget> targets;
  for (const TableName& name : DeletionOrder(policy, catalog)) {
    ECLUSE_TRY(RetainTarget target, Describe(owner, keys, policy, catalog, name, now));
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace ecluse
