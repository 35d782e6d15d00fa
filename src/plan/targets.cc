// The select list: * written out, output names, and which outputs are columns as they are.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {

// PostgreSQL's FigureColname (manual chapter 7.3.2): a column's or function's own name, else what the expression is
// called.
std::string Analyzer::OutputName(const pgq::Node& value, const std::string& fallback) {
  switch (value.node_case()) {
    case pgq::Node::kColumnRef:
      return NameParts(value.column_ref().fields()).back();
    case pgq::Node::kFuncCall:
      return NameParts(value.func_call().funcname()).back();
    case pgq::Node::kTypeCast: {
      const std::string inner = OutputName(value.type_cast().arg(), {});
      return inner.empty() ? NameParts(value.type_cast().type_name().names()).back() : inner;
    }
    case pgq::Node::kCollateClause:
      return OutputName(value.collate_clause().arg(), fallback);
    case pgq::Node::kAIndirection: {
      for (const pgq::Node& step : value.a_indirection().indirection()) {
        if (step.has_string()) return step.string().sval();
      }
      return OutputName(value.a_indirection().arg(), fallback);
    }
    case pgq::Node::kAExpr:
      return value.a_expr().kind() == pgq::AEXPR_NULLIF ? "nullif" : fallback;
    case pgq::Node::kCaseExpr: {
      const std::string other = value.case_expr().has_defresult() ? OutputName(value.case_expr().defresult(), {}) : "";
      return other.empty() ? "case" : other;
    }
    case pgq::Node::kAArrayExpr:
      return "array";
    case pgq::Node::kRowExpr:
      return "row";
    case pgq::Node::kCoalesceExpr:
      return "coalesce";
    case pgq::Node::kMinMaxExpr:
      return value.min_max_expr().op() == pgq::IS_GREATEST ? "greatest" : "least";
    case pgq::Node::kGroupingFunc:
      return "grouping";
    case pgq::Node::kSubLink: {
      const pgq::SubLink& link = value.sub_link();
      if (link.sub_link_type() == pgq::EXISTS_SUBLINK) return "exists";
      if (link.sub_link_type() == pgq::ARRAY_SUBLINK) return "array";
      if (link.sub_link_type() == pgq::EXPR_SUBLINK && link.subselect().has_select_stmt() &&
          link.subselect().select_stmt().target_list_size() > 0) {
        const pgq::ResTarget& target = link.subselect().select_stmt().target_list(0).res_target();
        return target.name().empty() ? OutputName(target.val(), fallback) : target.name();
      }
      return fallback;
    }
    case pgq::Node::kSqlvalueFunction: {
      static constexpr const char* kNames[] = {
          "",          "current_date", "current_time",    "current_time",   "current_timestamp", "current_timestamp",
          "localtime", "localtime",    "localtimestamp",  "localtimestamp", "current_role",      "current_user",
          "user",      "session_user", "current_catalog", "current_schema"};
      return kNames[value.sqlvalue_function().op()];
    }
    default:
      return fallback;
  }
}

Status Analyzer::Targets(const pgq::SelectStmt& select, Level& level, bool pseudonyms, Output& output) {
  for (const pgq::Node& node : select.target_list()) {
    const pgq::ResTarget& target = node.res_target();
    if (target.val().has_column_ref() && !target.val().column_ref().fields().empty() &&
        target.val().column_ref().fields().rbegin()->has_a_star()) {
      ECLUSE_OK(Star(target.val().column_ref(), level, output));
    } else {
      ECLUSE_OK(Target(target, level, pseudonyms, output));
    }
  }
  return {};
}

Status Analyzer::Target(const pgq::ResTarget& target, Level& level, bool pseudonyms, Output& output) {
  Column column;
  if (const auto found = ColumnOf(target.val(), *level.scope)) {
    if (found->column.pseudonym && pseudonyms) {
      ECLUSE_TRY(column, UseColumn(*found, target.location()));
      if (!found->outer && column.origin) level.bare.push_back({*column.origin, found->sql});
    } else {
      ECLUSE_OK(Expression(target.val(), level, Place::select_list));
      column = found->column;
    }
    // A column of an enclosing level is that row's, not this query's own.
    if (found->outer) column.origin.reset();
    column.outer_aggregate = column.on_aggregate && (found->outer || column.outer_aggregate);
    column.constants.clear();
  } else {
    const bool aggregates = std::exchange(level.aggregates, false);
    const bool saw = std::exchange(level.saw_on_aggregate, false);
    const bool saw_outer = std::exchange(level.saw_outer_aggregate, false);
    rename_.clear();
    named_ = false;
    shown_cast_ = target.val().has_type_cast() ? &target.val().type_cast() : nullptr;
    ECLUSE_OK(Expression(target.val(), level, Place::select_list));
    if (std::exchange(named_, false) && target.name().empty() && target.val().has_type_cast()) {
      const pgq::TypeName& type = target.val().type_cast().type_name();
      const size_t last = clauses_.TokenAt(static_cast<size_t>(type.location())) + (type.names_size() - 1) * 2;
      splices_.Insert(clauses_.tokens()[last].end, " AS " + QuoteIdentifier(OutputName(target.val(), "?column?")));
    }
    column.own_aggregate = level.aggregates && !level.nodes.empty() && !level.saw_on_aggregate;
    column.on_aggregate = column.own_aggregate || level.saw_on_aggregate;
    column.outer_aggregate = level.saw_outer_aggregate;
    level.aggregates |= aggregates;
    level.saw_on_aggregate |= saw;
    level.saw_outer_aggregate |= saw_outer;
    if (!rename_.empty() && target.name().empty() &&
        (target.val().has_func_call() || target.val().has_sqlvalue_function())) {
      size_t end = clauses_.TokenAt(static_cast<size_t>(target.location()));
      if (target.val().has_func_call()) {
        while (!clauses_.Symbol(end, "(")) ++end;
        end = clauses_.Partner(end);
      }
      splices_.Insert(clauses_.tokens()[end].end, " AS " + QuoteIdentifier(rename_));
    }
    rename_.clear();
  }
  column.name = target.name().empty() ? OutputName(target.val(), "?column?") : target.name();
  output.columns.push_back(std::move(column));
  return {};
}

Status Analyzer::Star(const pgq::ColumnRef& ref, Level& level, Output& output) {
  std::vector<std::string> parts;
  for (int i = 0; i + 1 < ref.fields_size(); ++i) parts.push_back(ref.fields(i).string().sval());
  std::vector<StarColumn> columns;
  bool outer = false;
  if (parts.empty()) {
    for (const FromItem* item : level.scope->items) columns.insert(columns.end(), item->star.begin(), item->star.end());
  } else {
    ECLUSE_TRY(const Table_ table, NamedTable(parts, *level.scope, ref.location()));
    const Relation* match = table.relation;
    outer = table.outer;
    if (levels_seen_ != nullptr) levels_seen_->push_back(table.scope);
    for (const Column& column : match->columns) {
      if (column.readable)
        columns.push_back({QuoteIdentifier(match->alias) + "." + QuoteIdentifier(column.name), column});
    }
  }
  ECLUSE_OK(CheckWidth(output.columns.size() + columns.size(), 0));
  std::string sql;
  std::set<std::string> seen;
  bool ambiguous = false;
  for (const StarColumn& column : columns) {
    ambiguous |= !seen.insert(column.sql).second;
    sql += (sql.empty() ? "" : ", ") + column.sql;
    ECLUSE_TRY(Column used, UseColumn({column.column, column.sql, false}, ref.location()));
    if (outer) used.origin.reset();
    if (used.origin) level.bare.push_back({*used.origin, column.sql});
    used.constants.clear();
    used.outer_aggregate = used.on_aggregate && (outer || used.outer_aggregate);
    output.columns.push_back(std::move(used));
  }
  if (level.nodes.empty()) return {};
  if (ambiguous || columns.empty()) {
    return Refuse(ref.location(), "plan.star", "* stands here for columns of the same name",
                  "Name the columns you need.");
  }
  const size_t first = clauses_.TokenAt(static_cast<size_t>(ref.location()));
  size_t star = first;
  while (star != Clauses::npos && star < first + 5 && !clauses_.Symbol(star, "*")) ++star;
  if (!clauses_.Symbol(star, "*"))
    return Refuse(ref.location(), "plan.star", "this * cannot be written out", "Name the columns.");
  splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[star].end, std::move(sql));
  return {};
}

}  // namespace ecluse
