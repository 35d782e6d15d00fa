// GROUP BY and ORDER BY: what positions and output names mean, which columns are keys, and which must join them.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {
namespace {

const std::string* BareName(const pgq::Node& node) {
  const bool bare =
      node.has_column_ref() && node.column_ref().fields_size() == 1 && node.column_ref().fields(0).has_string();
  return bare ? &node.column_ref().fields(0).string().sval() : nullptr;
}

bool IsPosition(const pgq::Node& node) {
  return node.has_a_const() && node.a_const().val_case() == pgq::A_Const::kIval;
}

}  // namespace

Status Analyzer::GroupItem(const pgq::Node& node, const pgq::SelectStmt& select, const Output& output, Level& level,
                           Grouping& grouping) {
  if (node.has_grouping_set()) {
    grouping.sets = true;
    const auto kind = node.grouping_set().kind();
    grouping.empty_set |=
        kind == pgq::GROUPING_SET_EMPTY || kind == pgq::GROUPING_SET_ROLLUP || kind == pgq::GROUPING_SET_CUBE;
    for (const pgq::Node& part : node.grouping_set().content())
      ECLUSE_OK(GroupItem(part, select, output, level, grouping));
    return {};
  }
  if (node.has_list()) {
    for (const pgq::Node& part : node.list().items()) ECLUSE_OK(GroupItem(part, select, output, level, grouping));
    return {};
  }
  if (node.has_row_expr()) {
    for (const pgq::Node& part : node.row_expr().args()) ECLUSE_OK(GroupItem(part, select, output, level, grouping));
    return {};
  }
  const pgq::Node* expression = &node;
  auto key = ColumnOf(node, *level.scope);
  // This level's own input columns come before output names, and those before columns further out (manual, SELECT).
  const bool own = key && !key->outer;
  const std::string* name = own ? nullptr : BareName(node);
  const auto stars = std::ranges::any_of(select.target_list(), [](const pgq::Node& target) {
    const auto& fields = target.res_target().val().column_ref().fields();
    return !fields.empty() && fields.rbegin()->has_a_star();
  });
  for (size_t i = 0; i < output.columns.size(); ++i) {
    const bool meant = (IsPosition(node) && node.a_const().ival().ival() == static_cast<int>(i) + 1) ||
                       (name != nullptr && output.columns[i].name == *name);
    if (!meant) continue;
    if (output.columns[i].pseudonym) {
      return Refuse(-1, "plan.pseudonym", "GROUP BY a pseudonym is not available", "Select it without grouping.");
    }
    if (output.columns[i].sealed && !Linked(output.columns[i]))
      return RefuseOpaque(output.columns[i], -1, "cannot be grouped by", "Group by another column.");
    if (stars && level.nodes.empty()) return {};  // which of them it is matters to nobody
    if (stars) return Refuse(-1, "plan.star", "GROUP BY names an output beside *", "Write the column's own name.");
    const pgq::ResTarget& target = select.target_list(static_cast<int>(i)).res_target();
    // What PostgreSQL would call it is certain only where the text says so.
    if (name != nullptr && target.name().empty() && !target.val().has_column_ref() && !level.named) continue;
    expression = &target.val();
    key = ColumnOf(*expression, *level.scope);
    break;
  }
  if (key && key->column.pseudonym) {
    return Refuse(-1, "plan.pseudonym", "GROUP BY a pseudonym is not available", "Select it without grouping.");
  }
  if (key && key->column.sealed && !Linked(key->column))
    return RefuseOpaque(key->column, -1, "cannot be grouped by", "Group by another column.");
  if (key && key->column.origin && !key->outer)
    grouping.keys.insert({key->column.origin->node, key->column.origin->column});
  if (key && key->column.sealed) {
    if (key->outer) return RefuseOpaque(key->column, -1, "cannot be grouped by", "Group by a column of this level.");
    ECLUSE_TRY(const Column used, UseColumn(*key, -1));
    return {};
  }
  return Expression(*expression, level, Place::group, true);
}

std::set<int> Analyzer::KeyNodes(const Grouping& grouping) const {
  std::set<int> nodes;
  for (const auto& [node, column] : grouping.keys) {
    const GuardedView& view = *views_[static_cast<size_t>(nodes_[static_cast<size_t>(node)].table_ref)];
    const bool whole = !view.subject.empty() && std::ranges::all_of(view.subject, [&](int subject) {
      return grouping.keys.contains({node, subject});
    });
    if (whole) nodes.insert(node);
  }
  return nodes;
}

Status Analyzer::CompleteGroup(const Level& level, const SelectClauses* clauses, const Grouping& grouping) {
  if (grouping.sets || grouping.keys.empty() || clauses->group_end == Clauses::npos) return {};
  std::set<std::string> added;
  for (const Level::Bare& bare : level.bare) {
    if (grouping.keys.contains({bare.origin.node, bare.origin.column})) continue;
    const GuardedView& view = *views_[static_cast<size_t>(bare.origin.table_ref)];
    const bool own = nodes_[static_cast<size_t>(bare.origin.node)].expression.ends_with("\"__subject\"");
    const bool depends = own && !view.primary_key.empty() && std::ranges::all_of(view.primary_key, [&](int key) {
                           return grouping.keys.contains({bare.origin.node, key});
                         });
    // A view has no primary key for PostgreSQL to see the dependency by.
    if (depends && added.insert(bare.sql).second) {
      splices_.Insert(clauses_.tokens()[clauses->group_end - 1].end, ", " + bare.sql);
    }
  }
  return {};
}

Status Analyzer::Sort(const pgq::SelectStmt& select, Level& level, const Output& output) {
  for (const pgq::Node& node : select.sort_clause()) {
    const pgq::SortBy& sort = node.sort_by();
    if (sort.use_op_size() > 0 && !NameParts(sort.use_op()).back().starts_with('<') &&
        !NameParts(sort.use_op()).back().starts_with('>')) {
      return Forbid(sort.location(), "plan.operator", "this ORDER BY operator is not available", "Use ASC or DESC.");
    }
    ECLUSE_OK(SortKey(sort.node(), level, output, Place::order));
  }
  return {};
}

Status Analyzer::SortKey(const pgq::Node& key, Level& level, const Output& output, Place place) {
  const auto refuse = [&](const Column& column) {
    return RefuseOpaque(column, -1, "cannot be sorted by", "Sort by another column, or in the application.");
  };
  const auto sorted = [&](const Column& column) {
    (column.own_aggregate ? level.sorts_own : level.sorts_on_aggregate) |= column.on_aggregate;
  };
  if (IsPosition(key)) {
    const auto position = static_cast<size_t>(key.a_const().ival().ival());
    if (position > output.columns.size()) {
      return NameError(key.a_const().location(), "42P10",
                       (place == Place::order ? "ORDER BY position " : "SELECT DISTINCT ON position ") +
                           std::to_string(position) + " is not in select list");
    }
    if (position >= 1 && output.columns[position - 1].opaque()) return refuse(output.columns[position - 1]);
    if (position >= 1) sorted(output.columns[position - 1]);
    return {};
  }
  if (key.has_a_const()) return {};
  if (const std::string* name = BareName(key)) {
    // Output names come before input columns (manual, SELECT, ORDER BY).
    bool found = false;
    for (const Column& column : output.columns) {
      if (column.name != *name) continue;
      if (column.opaque()) return refuse(column);
      sorted(column);
      found = true;
    }
    if (found) return {};
  }
  const bool aggregates = std::exchange(level.aggregates, false);
  const bool saw = std::exchange(level.saw_on_aggregate, false);
  ECLUSE_OK(Expression(key, level, place));
  level.sorts_own |= level.aggregates;
  level.sorts_on_aggregate |= level.saw_on_aggregate;
  level.aggregates |= aggregates;
  level.saw_on_aggregate |= saw;
  return {};
}

}  // namespace ecluse
