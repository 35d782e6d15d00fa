// Statistics: whether a statement has the form of one, and the hidden columns that show how many people stand behind
// it.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {
namespace {

bool CountingAggregate(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "count",   "sum",        "avg",      "stddev",    "stddev_pop", "stddev_samp", "variance",
      "var_pop", "var_samp",   "corr",     "regr_avgx", "regr_avgy",  "regr_count",  "regr_intercept",
      "regr_r2", "regr_slope", "regr_sxx", "regr_sxy",  "regr_syy"};
  return std::ranges::find(kNames, name) != std::end(kNames);
}

}  // namespace

bool Analyzer::StatisticColumn(const pgq::Node& node, const Scope& scope, bool of) {
  const auto column = ColumnOf(node, scope);
  if (!column || column->outer || column->column.pseudonym) return false;
  if (!column->column.origin) return !of;  // an open table's
  const GuardedView& view = *views_[static_cast<size_t>(column->column.origin->table_ref)];
  return (of ? view.statistics_of : view.statistics_by).contains(column->column.origin->column);
}

bool Analyzer::StatisticCondition(const pgq::Node& node, const Scope& scope, bool join) {
  switch (node.node_case()) {
    case pgq::Node::kAConst:
    case pgq::Node::kParamRef:
      return true;
    case pgq::Node::kTypeCast:
      return node.type_cast().arg().has_a_const() || node.type_cast().arg().has_param_ref();
    case pgq::Node::kColumnRef:
      // Rows of an open table that a condition picks would weigh some people more than others.
      return StatisticColumn(node, scope, false) && (join || ColumnOf(node, scope)->column.origin);
    case pgq::Node::kNullTest:
      return StatisticCondition(node.null_test().arg(), scope, join);
    case pgq::Node::kList:
      return std::ranges::all_of(node.list().items(),
                                 [&](const auto& n) { return StatisticCondition(n, scope, join); });
    case pgq::Node::kBoolExpr:
      return std::ranges::all_of(node.bool_expr().args(),
                                 [&](const auto& n) { return StatisticCondition(n, scope, join); });
    case pgq::Node::kAExpr: {
      const pgq::A_Expr& expr = node.a_expr();
      if (join && expr.kind() == pgq::AEXPR_OP && NameParts(expr.name()).back() == "=") {
        const auto left = ColumnOf(expr.lexpr(), scope);
        const auto right = ColumnOf(expr.rexpr(), scope);
        if (left && right && left->column.origin && right->column.origin &&
            SameSubject(*left->column.origin, *right->column.origin)) {
          return true;
        }
      }
      return expr.has_lexpr() && StatisticCondition(expr.lexpr(), scope, join) &&
             StatisticCondition(expr.rexpr(), scope, join);
    }
    default:
      return false;
  }
}

// USING joins by the names that the tables' aliases give: `by` columns with anything, subjects with subjects alone.
bool Analyzer::StatisticUsing(const std::string& name, const Scope& scope) const {
  std::vector<const Column*> met;
  for (const FromItem* item : scope.items) {
    for (const auto& relation : item->relations) {
      for (const Column& column : relation->columns) {
        if (column.name == name) met.push_back(&column);
      }
    }
  }
  const bool by = std::ranges::all_of(met, [&](const Column* column) {
    return !column->origin ||
           views_[static_cast<size_t>(column->origin->table_ref)]->statistics_by.contains(column->origin->column);
  });
  return by || std::ranges::all_of(met, [&](const Column* column) {
           return column->origin && met.front()->origin && SameSubject(*met.front()->origin, *column->origin);
         });
}

namespace {

// `a = b AND …` of columns: how often a person is in the join depends on nothing else.
bool OnlyEqualities(const pgq::Node& node) {
  if (node.has_bool_expr()) {
    return node.bool_expr().boolop() == pgq::AND_EXPR && std::ranges::all_of(node.bool_expr().args(), OnlyEqualities);
  }
  return node.has_a_expr() && node.a_expr().kind() == pgq::AEXPR_OP && NameParts(node.a_expr().name()).back() == "=" &&
         node.a_expr().lexpr().has_column_ref() && node.a_expr().rexpr().has_column_ref();
}

}  // namespace

bool Analyzer::StatisticFrom(const pgq::Node& node, const Scope& scope) {
  if (node.has_range_var()) return true;
  if (!node.has_join_expr() || node.join_expr().jointype() != pgq::JOIN_INNER) return false;
  const pgq::JoinExpr& join = node.join_expr();
  if (join.is_natural()) return false;
  for (const std::string& name : NameParts(join.using_clause())) {
    if (!StatisticUsing(name, scope)) return false;
  }
  const bool open = std::ranges::any_of(scope.items, [](const FromItem* item) {
    return std::ranges::any_of(item->relations,
                               [](const auto& relation) { return relation->kind == RelationKind::open; });
  });
  const bool joined = join.using_clause_size() > 0 || (join.has_quals() && (!open || OnlyEqualities(join.quals())) &&
                                                       StatisticCondition(join.quals(), scope, true));
  return joined && StatisticFrom(join.larg(), scope) && StatisticFrom(join.rarg(), scope);
}

bool Analyzer::StatisticForm(const pgq::SelectStmt& select, const Scope& scope) {
  statistic_form_ = false;
  if (!schema_.role->statistics || select.has_with_clause() || select.has_having_clause() || select.has_limit_count() ||
      select.has_limit_offset() || select.locking_clause_size() > 0 || select.from_clause_size() != 1) {
    return false;
  }
  if (!StatisticFrom(select.from_clause(0), scope)) return false;
  for (const FromItem* item : scope.items) {
    for (const auto& relation : item->relations) {
      const bool table = relation->kind == RelationKind::open || relation->kind == RelationKind::guarded;
      if (!table || (relation->view != nullptr && relation->view->via)) return false;
    }
  }
  if (select.has_where_clause() && !StatisticCondition(select.where_clause(), scope, false)) return false;
  // An order by anything else could tell of one person by where a row stands.
  for (const pgq::Node& node : select.sort_clause()) {
    if (!node.sort_by().node().has_a_const() && !node.sort_by().node().has_column_ref()) return false;
  }
  bool aggregates = false;
  std::vector<std::string> arguments;
  for (const pgq::Node& node : select.target_list()) {
    const pgq::Node& value = node.res_target().val();
    if (value.has_column_ref()) {
      if (!StatisticColumn(value, scope, false)) return false;
      continue;
    }
    if (!value.has_func_call()) return false;
    const pgq::FuncCall& call = value.func_call();
    if (!CountingAggregate(NameParts(call.funcname()).back()) || call.has_over() || call.has_agg_filter() ||
        call.agg_distinct() || call.agg_order_size() > 0 || call.agg_within_group()) {
      return false;
    }
    aggregates = true;
    std::string present;
    for (const pgq::Node& argument : call.args()) {
      if (!StatisticColumn(argument, scope, true)) return false;
      present += (present.empty() ? "" : " AND ") + ColumnOf(argument, scope)->sql + " IS NOT NULL";
    }
    if (!present.empty()) arguments.push_back(std::move(present));
  }
  for (const pgq::Node& node : select.group_clause()) {
    if (node.has_a_const()) continue;  // a position: that target was looked at above
    if (!StatisticColumn(node, scope, false)) return false;
  }
  if (!aggregates) return false;
  statistic_form_ = true;
  statistic_arguments_ = std::move(arguments);
  return true;
}

Status Analyzer::StatisticItems(const Level& level, Leaf& leaf, Output& output) {
  if (statistic_) {
    leaf.items.clear();
    output.hidden.clear();
  }
  for (const int node : level.nodes) {
    const NodeInfo& info = nodes_[static_cast<size_t>(node)];
    const std::string spread = "pg_catalog.bit_or(1::pg_catalog.int8 << (pg_catalog.hashtextextended(" +
                               info.expression + ", 0) & 63)::pg_catalog.int4)";
    if (statistic_) {
      leaf.items.push_back(spread);
      extra_.push_back({HiddenColumn::Kind::spread, info.table_ref, 0});
    }
    for (const std::string& present : statistic_arguments_) {
      if (statistic_) {
        leaf.items.push_back(spread + " FILTER (WHERE " + present + ")");
        extra_.push_back({HiddenColumn::Kind::spread, info.table_ref, 0});
      } else {
        leaf.items.push_back("pg_catalog.count(DISTINCT " + info.expression + ") FILTER (WHERE " + present + ")");
        extra_.push_back({HiddenColumn::Kind::people, info.table_ref, 0});
      }
    }
  }
  return {};
}

}  // namespace ecluse
