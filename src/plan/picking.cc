// Clauses that pick rows: LIMIT, DISTINCT ON, HAVING and what is around them must not tell of people who are not
// counted.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {

Analyzer::Known Analyzer::KnownOf(const Scope& scope) const {
  Known known;
  for (const FromItem* item : scope.items) {
    known.all.nodes.insert(known.all.nodes.end(), item->nodes.begin(), item->nodes.end());
    known.all.equal.insert(known.all.equal.end(), item->equal.begin(), item->equal.end());
    known.all.anchors.insert(item->anchors.begin(), item->anchors.end());
    known.all.tied.insert(item->tied.begin(), item->tied.end());
    known.all.limited.insert(item->limited.begin(), item->limited.end());
  }
  for (const Scope* level = scope.parent; level != nullptr; level = level->parent) {
    for (const FromItem* item : level->items) known.outer.insert(item->nodes.begin(), item->nodes.end());
  }
  return known;
}

bool Analyzer::Known::Covered(const std::set<int>& keys) const {
  std::set<int> start = outer;
  start.insert(keys.begin(), keys.end());
  const std::set<int> reached = Closure(std::move(start), all.equal);
  return std::ranges::all_of(all.nodes, [&](int node) {
    return !all.limited.contains(node) &&
           (reached.contains(node) || all.anchors.contains(node) || all.tied.contains(node));
  });
}

std::unexpected<Error> Analyzer::CutAgain(std::string_view what) const {
  return Refuse(-1, "plan.cut",
                std::string(what) +
                    " leaves out rows that LIMIT or DISTINCT ON had picked among those of other people, "
                    "and so tells of people who are not counted",
                "Put the condition inside the sub-select that has the LIMIT; LEFT JOIN keeps its rows.");
}

// What was picked among other people's rows is shown whole: leaving out some of it by another condition would tell who
// was picked beside those who are counted.
Status Analyzer::KeepsAll(const pgq::SelectStmt& select, const Level& level) const {
  const bool distinct_on = IsDistinctOn(select);
  // It runs behind DISTINCT ON.
  if (distinct_on && level.set_returning) return CutAgain("a function that returns rows");
  const std::vector<const FromItem*>& items = level.scope->items;
  if (std::ranges::none_of(items, [](const FromItem* item) { return item->cut; })) return {};
  if (level.set_returning) return CutAgain("a function that returns rows");
  if (select.has_where_clause()) return CutAgain("WHERE");
  if (select.has_having_clause()) return CutAgain("HAVING");
  if (select.has_limit_count() || select.has_limit_offset()) return CutAgain("a second LIMIT");
  if (distinct_on) return CutAgain("DISTINCT ON");
  if (items.size() > 1) return CutAgain("a join");
  return {};
}

// Which rows come first would tell of aggregates over people who are not in them.
Status Analyzer::KeepsOrdered(const pgq::SelectStmt& select, bool ordered) const {
  if (!ordered || (!IsDistinctOn(select) && !select.has_limit_count() && !select.has_limit_offset())) return {};
  return Refuse(-1, "plan.aggregate-condition",
                "LIMIT, OFFSET and DISTINCT ON in the order of an aggregate would tell of people who are not counted",
                "Leave them out, or group by the subject column.");
}

Status Analyzer::MustBeTied(const Known& known, std::string_view what) const {
  const std::set<int> reached = Closure(known.outer, known.all.equal);
  for (const int node : known.all.nodes) {
    const bool limited = known.all.limited.contains(node);
    const bool tied = reached.contains(node) || known.all.anchors.contains(node) || known.all.tied.contains(node);
    if (tied && !limited) continue;
    const std::string table =
        plan_->tables[static_cast<size_t>(nodes_[static_cast<size_t>(node)].table_ref)].table.Text();
    if (limited) {
      return Refuse(-1, "plan.untied",
                    std::string(what) + " tells which rows of " + table +
                        " were picked among those of people who are " + "not counted",
                    "Put the equality of subject columns where LIMIT, DISTINCT ON or the ranking stands, or PARTITION "
                    "BY the subject column.");
    }
    return Refuse(-1, "plan.untied",
                  std::string(what) + " gives an answer about " + table + " even where nobody is counted",
                  "Tie " + table +
                      " to a row outside with an equality of subject columns, as in "
                      "`WHERE i.person_id = p.person_id`, or join it in FROM.");
  }
  return {};
}

// Whose rows DISTINCT ON picks among: one person's, where their subject is among its columns.
std::set<int> Analyzer::PickedBy(const pgq::SelectStmt& select, const Scope& scope, const Output& output) {
  Grouping by;
  for (const pgq::Node& node : select.distinct_clause()) {
    const auto column = ColumnOf(node, scope);
    if (!column || column->outer || !column->column.origin) continue;
    const Origin& own = *column->column.origin;
    // An output of that name comes before the column.
    const bool other = std::ranges::any_of(output.columns, [&](const Column& shown) {
      return shown.name == column->column.name &&
             !(shown.origin && shown.origin->node == own.node && shown.origin->column == own.column);
    });
    if (!other) by.keys.insert({own.node, own.column});
  }
  return KeyNodes(by);
}

Status Analyzer::Limits(const pgq::SelectStmt& select, Level& level, bool top, bool guarded) {
  if (select.has_limit_count()) {
    ECLUSE_OK(Expression(select.limit_count(), level, Place::limit));
    if (guarded && !ConstantOf(select.limit_count()) &&
        !(select.limit_count().has_a_const() && select.limit_count().a_const().isnull())) {
      return Refuse(-1, "plan.limit", "LIMIT over guarded rows takes a constant or a parameter", {});
    }
  }
  if (!select.has_limit_offset()) return {};
  ECLUSE_OK(Expression(select.limit_offset(), level, Place::limit));
  if (!guarded) return {};
  const auto offset = ConstantOf(select.limit_offset());
  if (offset && offset->kind == ValueSource::Kind::constant && offset->constant == "0") return {};
  if (!top || !offset) {
    return Refuse(-1, "plan.offset", "OFFSET over guarded rows takes a constant or a parameter, at the top level",
                  "Continue behind the last row seen instead: WHERE key > last ORDER BY key LIMIT n.");
  }
  if (select.limit_option() == pgq::LIMIT_OPTION_WITH_TIES) {
    return Refuse(-1, "plan.offset", "OFFSET with WITH TIES cannot be counted", "Leave one of them out.");
  }
  return {};
}

// How many rows a query has, and which, must not depend on an aggregate in a row around it: whoever is behind that
// aggregate is not counted where no row is left.
Status Analyzer::OuterAggregates(const pgq::SelectStmt& select, bool seen, Output& output) const {
  if (!seen && std::ranges::none_of(output.columns, &Column::outer_aggregate)) return {};
  const bool merges = select.op() == pgq::SETOP_NONE ? select.distinct_clause_size() > 0 ||
                                                           select.group_clause_size() > 0 || select.has_having_clause()
                                                     : select.op() != pgq::SETOP_UNION || !select.all();
  if (merges) {
    return Refuse(
        -1, "plan.aggregate-condition",
        "DISTINCT, GROUP BY, HAVING, UNION, INTERSECT and EXCEPT over an aggregate of the query around them would tell "
        "of people who are not counted",
        "Show the aggregate itself, or use UNION ALL.");
  }
  if (select.has_limit_count() || select.has_limit_offset() || select.window_clause_size() > 0) {
    for (Column& column : output.columns) column.on_aggregate = column.outer_aggregate = true;
  }
  return {};
}

}  // namespace ecluse
