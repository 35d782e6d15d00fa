// GROUP BY and ORDER BY: what positions and output names mean, which columns are keys, and which must join them.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {
namespace {

// The target a position or output name stands for; null where it is neither.
const pgq::ResTarget* TargetOf(const pgq::Node& node, const pgq::SelectStmt& select) {
  if (node.has_a_const() && node.a_const().val_case() == pgq::A_Const::kIval) {
    const int position = node.a_const().ival().ival();
    return position >= 1 && position <= select.target_list_size() ? &select.target_list(position - 1).res_target()
                                                                  : nullptr;
  }
  if (!node.has_column_ref() || node.column_ref().fields_size() != 1 || !node.column_ref().fields(0).has_string()) {
    return nullptr;
  }
  for (const pgq::Node& target : select.target_list()) {
    if (target.res_target().name() == node.column_ref().fields(0).string().sval()) return &target.res_target();
  }
  return nullptr;
}

}  // namespace

Status Analyzer::GroupItem(const pgq::Node& node, const pgq::SelectStmt& select, Level& level, Grouping& grouping) {
  if (node.has_grouping_set()) {
    grouping.sets = true;
    const auto kind = node.grouping_set().kind();
    grouping.empty_set |=
        kind == pgq::GROUPING_SET_EMPTY || kind == pgq::GROUPING_SET_ROLLUP || kind == pgq::GROUPING_SET_CUBE;
    for (const pgq::Node& part : node.grouping_set().content()) ECLUSE_OK(GroupItem(part, select, level, grouping));
    return {};
  }
  if (node.has_list()) {
    for (const pgq::Node& part : node.list().items()) ECLUSE_OK(GroupItem(part, select, level, grouping));
    return {};
  }
  if (node.has_row_expr()) {
    for (const pgq::Node& part : node.row_expr().args()) ECLUSE_OK(GroupItem(part, select, level, grouping));
    return {};
  }
  const pgq::Node* expression = &node;
  const auto column = ColumnOf(node, *level.scope);
  if (!column) {
    // Input columns come before output names (manual, SELECT, GROUP BY).
    if (const pgq::ResTarget* target = TargetOf(node, select)) expression = &target->val();
  }
  const auto key = column ? column : ColumnOf(*expression, *level.scope);
  if (key && key->column.pseudonym) {
    return Refuse(-1, "plan.pseudonym", "GROUP BY a pseudonym is not available", "Select it without grouping.");
  }
  if (key && key->column.origin && !key->outer)
    grouping.keys.insert({key->column.origin->node, key->column.origin->column});
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
    const pgq::Node& key = sort.node();
    if (key.has_a_const()) continue;
    if (key.has_column_ref() && key.column_ref().fields_size() == 1 && key.column_ref().fields(0).has_string()) {
      const std::string& name = key.column_ref().fields(0).string().sval();
      // Output names come before input columns (manual, SELECT, ORDER BY).
      const auto it = std::ranges::find(output.columns, name, &Column::name);
      if (it != output.columns.end()) {
        if (it->pseudonym) {
          return Refuse(sort.location(), "plan.pseudonym", "rows cannot be sorted by what a pseudonym hides",
                        "Sort by another column.");
        }
        continue;
      }
    }
    ECLUSE_OK(Expression(key, level, Place::order));
  }
  for (size_t i = 0; i < static_cast<size_t>(select.sort_clause_size()); ++i) {
    const pgq::Node& key = select.sort_clause(static_cast<int>(i)).sort_by().node();
    if (!key.has_a_const() || key.a_const().val_case() != pgq::A_Const::kIval) continue;
    const auto position = static_cast<size_t>(key.a_const().ival().ival());
    if (position >= 1 && position <= output.columns.size() && output.columns[position - 1].pseudonym) {
      return Refuse(-1, "plan.pseudonym", "rows cannot be sorted by what a pseudonym hides", "Sort by another column.");
    }
    if (position > output.columns.size()) {
      return NameError(key.a_const().location(), "42P10",
                       "ORDER BY position " + std::to_string(position) + " is not in select list");
    }
  }
  return {};
}

}  // namespace ecluse
