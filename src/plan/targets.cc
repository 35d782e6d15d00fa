// The select list: * written out, output names, and which outputs are columns as they are.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {

namespace {

std::string Last(const google::protobuf::RepeatedPtrField<pgq::Node>& names) {
  return names.empty() ? std::string() : names.rbegin()->string().sval();
}

// PostgreSQL's FigureColnameInternal (parser/parse_target.c): the name an expression suggests, and how strongly: 0 not
// at all, 1 only where nothing further in does better, 2 surely.
struct Figured {
  std::string name;
  int strength = 0;
};

Figured Figure(const pgq::Node& value);

Figured FigureSubLink(const pgq::SubLink& link) {
  if (link.sub_link_type() == pgq::EXISTS_SUBLINK) return {"exists", 2};
  if (link.sub_link_type() == pgq::ARRAY_SUBLINK) return {"array", 2};
  if (link.sub_link_type() != pgq::EXPR_SUBLINK) return {};
  const pgq::SelectStmt* leaf = &link.subselect().select_stmt();
  while (leaf->op() != pgq::SETOP_NONE) leaf = &leaf->larg();
  if (leaf->values_lists_size() > 0) return {"column1", 2};
  if (leaf->target_list_size() == 0) return {};
  const pgq::ResTarget& target = leaf->target_list(0).res_target();
  if (!target.name().empty()) return {target.name(), 2};
  const Figured inner = Figure(target.val());
  return {inner.strength > 0 ? inner.name : "?column?", 2};
}

Figured Figure(const pgq::Node& value) {
  static constexpr const char* kValueFunctions[] = {
      "",          "current_date", "current_time",    "current_time",   "current_timestamp", "current_timestamp",
      "localtime", "localtime",    "localtimestamp",  "localtimestamp", "current_role",      "current_user",
      "user",      "session_user", "current_catalog", "current_schema"};
  switch (value.node_case()) {
    case pgq::Node::kColumnRef:
      return {Last(value.column_ref().fields()), 2};
    case pgq::Node::kFuncCall:
      return {Last(value.func_call().funcname()), 2};
    case pgq::Node::kTypeCast: {
      const Figured inner = Figure(value.type_cast().arg());
      return inner.strength > 1 ? inner : Figured{Last(value.type_cast().type_name().names()), 1};
    }
    case pgq::Node::kCollateClause:
      return Figure(value.collate_clause().arg());
    case pgq::Node::kAIndirection: {
      std::string field;
      for (const pgq::Node& step : value.a_indirection().indirection()) {
        if (step.has_string()) field = step.string().sval();
      }
      return field.empty() ? Figure(value.a_indirection().arg()) : Figured{std::move(field), 2};
    }
    case pgq::Node::kAExpr:
      return value.a_expr().kind() == pgq::AEXPR_NULLIF ? Figured{"nullif", 2} : Figured{};
    case pgq::Node::kCaseExpr: {
      const Figured other = value.case_expr().has_defresult() ? Figure(value.case_expr().defresult()) : Figured{};
      return other.strength > 1 ? other : Figured{"case", 1};
    }
    case pgq::Node::kAArrayExpr:
      return {"array", 2};
    case pgq::Node::kRowExpr:
      return {"row", 2};
    case pgq::Node::kCoalesceExpr:
      return {"coalesce", 2};
    case pgq::Node::kMinMaxExpr:
      return {value.min_max_expr().op() == pgq::IS_GREATEST ? "greatest" : "least", 2};
    case pgq::Node::kGroupingFunc:
      return {"grouping", 2};
    case pgq::Node::kSubLink:
      return FigureSubLink(value.sub_link());
    case pgq::Node::kSqlvalueFunction:
      return {kValueFunctions[value.sqlvalue_function().op()], 2};
    default:
      return {};
  }
}

}  // namespace

std::string Analyzer::OutputName(const pgq::Node& value) {
  const Figured figured = Figure(value);
  return figured.strength > 0 ? figured.name : "?column?";
}

size_t Analyzer::TargetEnd(const google::protobuf::RepeatedPtrField<pgq::Node>& list, int number, size_t end) const {
  if (number + 1 == list.size()) return end == Clauses::npos ? end : end - 1;
  const size_t next = clauses_.TokenAt(static_cast<size_t>(list.Get(number + 1).res_target().location()));
  return next != Clauses::npos && next >= 2 && clauses_.Symbol(next - 1, ",") ? next - 2 : Clauses::npos;
}

Status Analyzer::Targets(const google::protobuf::RepeatedPtrField<pgq::Node>& list, size_t end, Level& level,
                         bool pseudonyms, Output& output) {
  for (int i = 0; i < list.size(); ++i) {
    const pgq::ResTarget& target = list.Get(i).res_target();
    if (target.val().has_column_ref() && !target.val().column_ref().fields().empty() &&
        target.val().column_ref().fields().rbegin()->has_a_star()) {
      ECLUSE_OK(Star(target.val().column_ref(), level, output));
    } else {
      ECLUSE_OK(Target(target, TargetEnd(list, i, end), level, pseudonyms, output));
    }
  }
  return {};
}

Status Analyzer::Target(const pgq::ResTarget& target, size_t last, Level& level, bool pseudonyms, Output& output) {
  Column column;
  named_ = false;
  if (const auto found = ColumnOf(target.val(), *level.scope)) {
    if ((found->column.pseudonym && pseudonyms) || found->column.sealed) {
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
    shown_cast_ = target.val().has_type_cast() ? &target.val().type_cast() : nullptr;
    ECLUSE_OK(Expression(target.val(), level, Place::select_list));
    column.own_aggregate = level.aggregates && !level.nodes.empty() && !level.saw_on_aggregate;
    column.on_aggregate = column.own_aggregate || level.saw_on_aggregate;
    column.outer_aggregate = level.saw_outer_aggregate;
    level.aggregates |= aggregates;
    level.saw_on_aggregate |= saw;
    level.saw_outer_aggregate |= saw_outer;
  }
  column.name = target.name().empty() ? OutputName(target.val()) : target.name();
  // What others refer to by name carries that name in the text: PostgreSQL's own guess is not left to chance.
  const bool named = std::exchange(named_, false) || level.named;
  if (target.name().empty() && !target.val().has_column_ref() && named) {
    if (last == Clauses::npos) {
      return Refuse(target.location(), "plan.splice", "this output cannot be named", "Write AS name behind it.");
    }
    splices_.Insert(clauses_.tokens()[last].end, " AS " + QuoteIdentifier(column.name));
  }
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
  if (level.nodes.empty()) {
    const auto tables = [](const FromItem* item) {
      return std::ranges::all_of(item->relations, [](const auto& relation) {
        return relation->kind == RelationKind::open || relation->kind == RelationKind::subquery;
      });
    };
    // Beside people no * is left unwritten; elsewhere PostgreSQL knows best what it stands for.
    if (views_.empty() || ambiguous || columns.empty() || !std::ranges::all_of(level.scope->items, tables)) return {};
  }
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
