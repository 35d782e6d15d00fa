// Expressions: every kind of node that may stand in one, and for each whatever makes it safe. Unknown kinds are
// refused.
#include <algorithm>

#include "plan/allow.h"
#include "plan/analyzer.h"
#include "policy/database.h"

namespace ecluse {
namespace {

bool IsCondition(Place place) {
  return place == Place::where || place == Place::on || place == Place::having || place == Place::limit;
}

// Settings whose value says nothing of data or of the host.
bool ReadableSetting(std::string_view name) {
  static constexpr std::string_view kNames[] = {"server_version",
                                                "server_version_num",
                                                "server_encoding",
                                                "client_encoding",
                                                "timezone",
                                                "datestyle",
                                                "intervalstyle",
                                                "standard_conforming_strings",
                                                "integer_datetimes",
                                                "max_index_keys",
                                                "bytea_output",
                                                "extra_float_digits",
                                                "application_name",
                                                "transaction_isolation",
                                                "default_transaction_isolation",
                                                "transaction_read_only",
                                                "default_transaction_read_only",
                                                "lc_collate",
                                                "lc_ctype",
                                                "max_identifier_length",
                                                "block_size"};
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return std::ranges::find(kNames, lower) != std::end(kNames);
}

}  // namespace

template <typename List>
Status Analyzer::Each(const List& nodes, Level& level, Place place, bool in_aggregate) {
  for (const pgq::Node& node : nodes) ECLUSE_OK(Expression(node, level, place, in_aggregate));
  return {};
}

Status Analyzer::Expression(const pgq::Node& node, Level& level, Place place, bool in_aggregate) {
  switch (node.node_case()) {
    case pgq::Node::kColumnRef:
      return Column_(node.column_ref(), level, place, in_aggregate);
    case pgq::Node::kAConst:
      return {};
    case pgq::Node::kParamRef:
      plan_->parameters = std::max(plan_->parameters, node.param_ref().number());
      return {};
    case pgq::Node::kAExpr:
      return Operator(node.a_expr(), level, place, in_aggregate);
    case pgq::Node::kBoolExpr:
      return Each(node.bool_expr().args(), level, place, in_aggregate);
    case pgq::Node::kNullTest:
      return Expression(node.null_test().arg(), level, place, in_aggregate);
    case pgq::Node::kBooleanTest:
      return Expression(node.boolean_test().arg(), level, place, in_aggregate);
    case pgq::Node::kTypeCast:
      return Cast(node.type_cast(), level, place, in_aggregate);
    case pgq::Node::kFuncCall:
      return Call(node.func_call(), level, place, in_aggregate);
    case pgq::Node::kSubLink:
      return SubLink(node.sub_link(), level, place, in_aggregate);
    case pgq::Node::kCoalesceExpr:
      return Each(node.coalesce_expr().args(), level, place, in_aggregate);
    case pgq::Node::kMinMaxExpr:
      return Each(node.min_max_expr().args(), level, place, in_aggregate);
    case pgq::Node::kAArrayExpr:
      return Each(node.a_array_expr().elements(), level, place, in_aggregate);
    case pgq::Node::kRowExpr:
      return Each(node.row_expr().args(), level, place, in_aggregate);
    case pgq::Node::kList:
      return Each(node.list().items(), level, place, in_aggregate);
    case pgq::Node::kNamedArgExpr:
      return Expression(node.named_arg_expr().arg(), level, place, in_aggregate);
    case pgq::Node::kGroupingFunc:
      return Each(node.grouping_func().args(), level, place, true);
    case pgq::Node::kCollateClause: {
      const auto name = NameParts(node.collate_clause().collname());
      if (name.size() > 1 && name.front() != "pg_catalog") {
        return Refuse(node.collate_clause().location(), "plan.collation", "only collations of pg_catalog are available",
                      {});
      }
      return Expression(node.collate_clause().arg(), level, place, in_aggregate);
    }
    case pgq::Node::kCaseExpr: {
      const pgq::CaseExpr& expr = node.case_expr();
      if (expr.has_arg()) ECLUSE_OK(Expression(expr.arg(), level, place, in_aggregate));
      for (const pgq::Node& when : expr.args()) {
        ECLUSE_OK(Expression(when.case_when().expr(), level, place, in_aggregate));
        ECLUSE_OK(Expression(when.case_when().result(), level, place, in_aggregate));
      }
      return expr.has_defresult() ? Expression(expr.defresult(), level, place, in_aggregate) : Status{};
    }
    case pgq::Node::kSqlvalueFunction: {
      const pgq::SQLValueFunction& function = node.sqlvalue_function();
      if (function.op() == pgq::SVFOP_CURRENT_SCHEMA) {
        const size_t token = clauses_.TokenAt(static_cast<size_t>(function.location()));
        if (token == Clauses::npos)
          return Refuse(function.location(), "plan.name", "this name cannot be rewritten", {});
        const std::string schema = context_.search_path.empty() ? "NULL" : QuoteLiteral(context_.search_path.front());
        splices_.Replace(clauses_.tokens()[token].begin, clauses_.tokens()[token].end, schema + "::pg_catalog.name");
        rename_ = "current_schema";
      }
      return {};
    }
    case pgq::Node::kAIndirection: {
      const pgq::A_Indirection& expr = node.a_indirection();
      ECLUSE_OK(Expression(expr.arg(), level, place, in_aggregate));
      for (const pgq::Node& step : expr.indirection()) {
        if (step.has_a_indices()) {
          if (step.a_indices().has_lidx()) ECLUSE_OK(Expression(step.a_indices().lidx(), level, place, in_aggregate));
          if (step.a_indices().has_uidx()) ECLUSE_OK(Expression(step.a_indices().uidx(), level, place, in_aggregate));
        } else if (step.has_string() && (step.string().sval() == "x" || step.string().sval() == "n")) {
          // The two fields of information_schema._pg_expandarray, which drivers read of catalogs.
          catalog_only_ = CatalogOnly{"selecting a field of a composite value", -1};
        } else {
          return Refuse(-1, "plan.field", "a field of a composite value cannot be selected: it may be a function call",
                        "Name the column itself.");
        }
      }
      return {};
    }
    case pgq::Node::kSetToDefault:
      if (place == Place::assignment || place == Place::values) return {};
      break;
    case pgq::Node::kXmlExpr:
    case pgq::Node::kXmlSerialize:
      return Refuse(-1, "plan.xml", "XML functions are not available here", "Select the columns themselves.");
    default:
      break;
  }
  return Refuse(-1, "plan.expression", "this kind of expression is not understood",
                "Write it with simpler expressions.");
}

Status Analyzer::Column_(const pgq::ColumnRef& ref, Level& level, Place place, bool in_aggregate) {
  ECLUSE_TRY(const Found found, Resolve(ref, *level.scope));
  ECLUSE_TRY(const Column column, UseColumn(found, ref.location()));
  level.saw_on_aggregate |= column.on_aggregate;
  if (column.on_aggregate && IsCondition(place)) {
    return Refuse(
        ref.location(), "plan.aggregate-condition",
        "a condition on an aggregate would tell of people who are not counted",
        "Group by the subject column inside the sub-select, or show the aggregate instead of filtering by it.");
  }
  if (column.pseudonym) {
    return Refuse(ref.location(), "plan.pseudonym",
                  "column \"" + column.name + "\" is shown to this role as a pseudonym and cannot be computed with",
                  "Select it as it is, or join it with the same people's column in another table.");
  }
  if (!in_aggregate && !found.outer && column.origin) level.bare.push_back({*column.origin, found.sql});
  return {};
}

Status Analyzer::Operator(const pgq::A_Expr& expr, Level& level, Place place, bool in_aggregate) {
  const auto name = NameParts(expr.name());
  if (name.empty() || (name.size() > 1 && (name.size() != 2 || name.front() != "pg_catalog")) ||
      !(allow::Operator(name.back()) || expr.kind() >= pgq::AEXPR_BETWEEN)) {
    return Forbid(expr.location(), "plan.operator",
                  "operator " + (name.empty() ? "" : name.back()) + " is not available here",
                  "Use PostgreSQL's built-in comparison, arithmetic, text, array, range and JSON operators.");
  }
  const bool equality = name.back() == "=";
  if (expr.kind() == pgq::AEXPR_OP && equality && expr.has_lexpr()) {
    // Two pseudonyms of the same people may be joined: the answer is about people in the row.
    const auto left = ColumnOf(expr.lexpr(), *level.scope);
    const auto right = ColumnOf(expr.rexpr(), *level.scope);
    if (left && right && left->column.pseudonym && right->column.pseudonym && left->column.origin &&
        right->column.origin && SameSubject(*left->column.origin, *right->column.origin)) {
      ECLUSE_OK(UseColumn(*left, expr.location()));
      ECLUSE_OK(UseColumn(*right, expr.location()));
      return {};
    }
  }
  if (expr.has_lexpr()) ECLUSE_OK(Expression(expr.lexpr(), level, place, in_aggregate));
  if (expr.has_rexpr()) ECLUSE_OK(Expression(expr.rexpr(), level, place, in_aggregate));
  switch (expr.kind()) {
    case pgq::AEXPR_OP:
    case pgq::AEXPR_NOT_DISTINCT:
    case pgq::AEXPR_DISTINCT:
      if (equality && expr.has_lexpr()) return NameSubjects(expr.lexpr(), expr.rexpr(), level, &expr);
      return {};
    case pgq::AEXPR_IN:
    case pgq::AEXPR_OP_ANY:
      if (equality) return NameList(expr.lexpr(), expr.rexpr(), level, &expr);
      return {};
    case pgq::AEXPR_OP_ALL:
    case pgq::AEXPR_NULLIF:
    case pgq::AEXPR_LIKE:
    case pgq::AEXPR_ILIKE:
    case pgq::AEXPR_SIMILAR:
    case pgq::AEXPR_BETWEEN:
    case pgq::AEXPR_NOT_BETWEEN:
    case pgq::AEXPR_BETWEEN_SYM:
    case pgq::AEXPR_NOT_BETWEEN_SYM:
      return {};
    default:
      return Refuse(expr.location(), "plan.operator", "this kind of operator is not understood", {});
  }
}

Status Analyzer::Call(const pgq::FuncCall& call, Level& level, Place place, bool in_aggregate) {
  const auto parts = NameParts(call.funcname());
  const std::string& name = parts.back();
  const bool builtin = parts.size() == 1 || (parts.size() == 2 && parts.front() == "pg_catalog");
  bool done = false;
  if (builtin) ECLUSE_OK(SessionFunction(call, name, &done));
  if (done) return {};
  const bool listed = parts.size() == 2 && schema_.policy->functions.contains(parts[0] + "." + parts[1]);
  const bool expand = parts.size() == 2 && parts[0] == "information_schema" && allow::CatalogFunction(name);
  if (!listed && !(builtin && allow::Function(name))) {
    const auto stand_in = schema_.shadow_functions.find(name);
    if (builtin && stand_in != schema_.shadow_functions.end()) {
      const size_t first = clauses_.TokenAt(static_cast<size_t>(call.location()));
      if (first == Clauses::npos) return Refuse(call.location(), "plan.name", "this call cannot be rewritten", {});
      const size_t last = first + (parts.size() - 1) * 2;
      std::string sql = QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(stand_in->second);
      size_t end = clauses_.tokens()[last].end;
      // What a bare name finds depends on the session's own path, which PostgreSQL does not have.
      if (name == "pg_table_is_visible" && schema_.shadow_functions.contains("table_is_visible_in") &&
          clauses_.Symbol(last + 1, "(")) {
        sql = QuoteIdentifier(schema_.login) + ".\"table_is_visible_in\"(" +
              QuoteLiteral(TextArray(context_.search_path)) + ", ";
        end = clauses_.tokens()[last + 1].end;
      }
      splices_.Replace(clauses_.tokens()[first].begin, end, std::move(sql));
      catalog_only_ = CatalogOnly{"function " + name, call.location()};
    } else if (expand || (builtin && allow::CatalogFunction(name))) {
      catalog_only_ = CatalogOnly{"function " + name, call.location()};
    } else {
      return Forbid(call.location(), "plan.function", "function " + name + " is not available here",
                    "Functions must compute from their arguments alone; the policy's `functions` can list more.");
    }
  }
  if (call.has_over()) return WindowCall(call, level, place, name);
  if (builtin && (allow::Aggregate(name) || call.agg_star() || call.has_agg_filter() || call.agg_within_group() ||
                  call.agg_distinct() || call.agg_order_size() > 0)) {
    if (!allow::Aggregate(name)) {
      return Forbid(call.location(), "plan.function", "function " + name + " is not an aggregate", {});
    }
    return AggregateCall(call, level, place, name);
  }
  if (allow::WindowFunction(name)) return Refuse(call.location(), "plan.window", name + " needs OVER", {});
  // A function that may return no row decides whether there is one, as a condition does.
  return Each(call.args(), level, allow::SetReturning(name) ? Place::on : place, in_aggregate);
}

Status Analyzer::AggregateCall(const pgq::FuncCall& call, Level& level, Place place, const std::string& name) {
  if (place == Place::where || place == Place::on) {
    return Refuse(call.location(), "plan.aggregate", "aggregate " + name + " cannot stand in WHERE or ON",
                  "Use HAVING.");
  }
  level.aggregates = true;
  ECLUSE_OK(Each(call.args(), level, Place::select_list, true));
  for (const pgq::Node& sort : call.agg_order()) {
    ECLUSE_OK(Expression(sort.has_sort_by() ? sort.sort_by().node() : sort, level, Place::select_list, true));
  }
  return call.has_agg_filter() ? Expression(call.agg_filter(), level, Place::select_list, true) : Status{};
}

Status Analyzer::WindowCall(const pgq::FuncCall& call, Level& level, Place place, const std::string& name) {
  if (!allow::WindowFunction(name) && !allow::Aggregate(name)) {
    return Refuse(call.location(), "plan.window", "function " + name + " cannot be used with OVER", {});
  }
  level.windows = true;
  if (!level.nodes.empty()) {
    if (!allow::Ranking(name) || call.has_agg_filter()) {
      return Refuse(call.location(), "plan.window",
                    "window function " + name + " over guarded rows tells of people in other rows",
                    "row_number, rank, dense_rank and ntile are available; others can be computed by the application.");
    }
    if (!call.over().name().empty() || !call.over().refname().empty()) {
      return Refuse(call.location(), "plan.window", "named windows are not available over guarded rows",
                    "Write the window out: OVER (PARTITION BY … ORDER BY …).");
    }
    level.rankings = true;
    Level::Window window{&call.over(), {}};
    for (const pgq::Node& part : call.over().partition_clause()) window.partition.push_back(&part);
    level.ranking_windows.push_back(std::move(window));
  }
  ECLUSE_OK(Each(call.args(), level, place, false));
  ECLUSE_OK(Each(call.over().partition_clause(), level, place, false));
  for (const pgq::Node& sort : call.over().order_clause()) {
    ECLUSE_OK(Expression(sort.sort_by().node(), level, place, false));
  }
  if (call.over().has_start_offset()) ECLUSE_OK(Expression(call.over().start_offset(), level, place, false));
  return call.over().has_end_offset() ? Expression(call.over().end_offset(), level, place, false) : Status{};
}

Status Analyzer::SessionFunction(const pgq::FuncCall& call, const std::string& name, bool* done) {
  const size_t first = clauses_.TokenAt(static_cast<size_t>(call.location()));
  const auto replace = [&](std::string sql) -> Status {
    size_t open = first;
    while (open != Clauses::npos && open < first + 4 && !clauses_.Symbol(open, "(")) ++open;
    const size_t close = clauses_.Partner(open);
    if (first == Clauses::npos || close == Clauses::npos) {
      return Refuse(call.location(), "plan.name", "this call cannot be rewritten", {});
    }
    splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[close].end, std::move(sql));
    rename_ = name;
    *done = true;
    return {};
  };
  if (name == "current_schema" && call.args_size() == 0) {
    return replace(context_.search_path.empty() ? "NULL::pg_catalog.name"
                                                : QuoteLiteral(context_.search_path.front()) + "::pg_catalog.name");
  }
  if (name == "current_schemas") {
    std::string list = "ARRAY['pg_catalog'";
    for (const std::string& schema : context_.search_path) list += ", " + QuoteLiteral(schema);
    return replace(list + "]::pg_catalog.name[]");
  }
  if (name == "current_setting") {
    const auto setting = call.args_size() > 0 ? ConstantOf(call.args(0)) : std::nullopt;
    if (!setting || setting->kind != ValueSource::Kind::constant || !ReadableSetting(setting->constant)) {
      return Forbid(call.location(), "plan.setting", "this setting cannot be read here", "Use SHOW.");
    }
    *done = true;
    return {};
  }
  if (name == "nextval" || name == "currval") {
    *done = true;
    return Sequence(call, name);
  }
  return {};
}

Status Analyzer::Sequence(const pgq::FuncCall& call, const std::string& name) {
  const pgq::Node* argument = call.args_size() == 1 ? &call.args(0) : nullptr;
  if (argument != nullptr && argument->has_type_cast()) argument = &argument->type_cast().arg();
  if (argument == nullptr || !argument->has_a_const() || !argument->a_const().has_sval()) {
    return Refuse(call.location(), "plan.sequence", name + " needs the sequence's name as a constant", {});
  }
  std::string text = argument->a_const().sval().sval();
  std::erase(text, '"');
  const size_t dot = text.find('.');
  for (const TableName& sequence : schema_.sequences) {
    const bool same = dot == std::string::npos
                          ? sequence.name == text &&
                                std::ranges::find(context_.search_path, sequence.schema) != context_.search_path.end()
                          : sequence.schema == text.substr(0, dot) && sequence.name == text.substr(dot + 1);
    if (!same) continue;
    const size_t token = clauses_.TokenAt(static_cast<size_t>(argument->a_const().location()));
    if (token == Clauses::npos) break;
    splices_.Replace(clauses_.tokens()[token].begin, clauses_.tokens()[token].end,
                     QuoteLiteral(QuoteIdentifier(sequence.schema) + "." + QuoteIdentifier(sequence.name)));
    return {};
  }
  return Forbid(call.location(), "plan.sequence", "this sequence is not available to the role",
                "Roles may use the sequences of tables they insert into.");
}

Status Analyzer::Type(const pgq::TypeName& type) {
  const auto parts = NameParts(type.names());
  const bool builtin = parts.size() == 1 || (parts.size() == 2 && parts.front() == "pg_catalog");
  if (!type.setof() && !type.pct_type() && !parts.empty()) {
    if (builtin && allow::Type(parts.back())) return {};
    if (parts.size() == 2 && schema_.types.contains(parts[0] + "." + parts[1])) return {};
  }
  return Forbid(type.location(), "plan.type", "type " + (parts.empty() ? "" : parts.back()) + " is not available here",
                "Use PostgreSQL's built-in scalar, array and range types.");
}

Status Analyzer::Cast(const pgq::TypeCast& cast, Level& level, Place place, bool in_aggregate) {
  const auto parts = NameParts(cast.type_name().names());
  if (!parts.empty() && allow::NameType(parts.back()) && (parts.size() == 1 || parts.front() == "pg_catalog")) {
    ECLUSE_OK(Expression(cast.arg(), level, place, in_aggregate));
    return NameCast(cast, parts.back());
  }
  ECLUSE_OK(Type(cast.type_name()));
  if (cast.arg().has_type_cast() && !parts.empty() && parts.back() == "text") shown_cast_ = &cast.arg().type_cast();
  return Expression(cast.arg(), level, place, in_aggregate);
}

// `argument::type` -> `stand_in(argument more)`.
Status Analyzer::NameOfColumn(const pgq::TypeCast& cast, const std::string& stand_in, const std::string& more) {
  const int location =
      cast.arg().has_param_ref() ? cast.arg().param_ref().location() : cast.arg().column_ref().location();
  const size_t argument = clauses_.TokenAt(static_cast<size_t>(location));
  const size_t type = clauses_.TokenAt(static_cast<size_t>(cast.type_name().location()));
  const size_t fields = cast.arg().has_param_ref() ? 1 : static_cast<size_t>(cast.arg().column_ref().fields_size());
  if (argument == Clauses::npos || type == Clauses::npos || type != argument + fields * 2 ||
      clauses_.TextOf(type - 1) != "::") {
    return Refuse(cast.location(), "plan.name-cast", "this cast cannot be rewritten", "Write it as name::type.");
  }
  const size_t last = type + (cast.type_name().names_size() - 1) * 2;
  splices_.Insert(clauses_.tokens()[argument].begin,
                  QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(stand_in) + "(");
  splices_.Replace(clauses_.tokens()[type - 1].begin, clauses_.tokens()[last].end, more + ")");
  named_ = true;
  return {};
}

Status Analyzer::NameCast(const pgq::TypeCast& cast, const std::string& type) {
  catalog_only_ = CatalogOnly{"a cast to " + type, cast.location()};
  const auto tokens_of_type = [&](std::string sql) -> Status {
    const size_t first = clauses_.TokenAt(static_cast<size_t>(cast.type_name().location()));
    if (first == Clauses::npos) return Refuse(cast.location(), "plan.name", "this cast cannot be rewritten", {});
    const size_t last = first + (cast.type_name().names_size() - 1) * 2;
    splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[last].end, std::move(sql));
    return {};
  };
  if (!cast.arg().has_a_const() || !cast.arg().a_const().has_sval()) {
    const bool shown = &cast == shown_cast_ && cast.arg().has_column_ref();
    if (shown && type == "regclass" && schema_.shadow_functions.contains("relation_name")) {
      return NameOfColumn(cast, "relation_name", "");
    }
    if (shown && type == "regtype" && schema_.shadow_functions.contains("format_type")) {
      return NameOfColumn(cast, "format_type", ", NULL");
    }
    if (cast.arg().has_param_ref() && schema_.shadow_functions.contains("to_" + type)) {
      return NameOfColumn(cast, "to_" + type, "");
    }
    if (cast.arg().has_param_ref()) {
      return Refuse(cast.location(), "plan.name-cast", "a name cannot be looked up from a parameter",
                    "Write the name as a constant.");
    }
    return tokens_of_type("pg_catalog.oid");
  }
  const std::string& name = cast.arg().a_const().sval().sval();
  if (type == "regclass") {
    std::string plain = name;
    std::erase(plain, '"');
    std::optional<Oid> oid;
    if (const auto it = schema_.relation_oids.find(plain); it != schema_.relation_oids.end()) oid = it->second;
    for (size_t i = 0; !oid && plain.find('.') == std::string::npos && i <= context_.search_path.size(); ++i) {
      const std::string schema = i == 0 ? "pg_catalog" : context_.search_path[i - 1];
      if (const auto it = schema_.relation_oids.find(schema + "." + plain); it != schema_.relation_oids.end()) {
        oid = it->second;
      }
    }
    if (!oid && !plain.empty() && std::ranges::all_of(plain, [](char c) { return c >= '0' && c <= '9'; })) {
      return tokens_of_type("pg_catalog.oid");
    }
    if (!oid) return NameError(cast.location(), sqlstate::kUndefinedTable, "relation \"" + name + "\" does not exist");
    const size_t token = clauses_.TokenAt(static_cast<size_t>(cast.arg().a_const().location()));
    if (token == Clauses::npos) return Refuse(cast.location(), "plan.name", "this cast cannot be rewritten", {});
    splices_.Replace(clauses_.tokens()[token].begin, clauses_.tokens()[token].end, "'" + std::to_string(*oid) + "'");
    return tokens_of_type("pg_catalog.oid");
  }
  const std::string bare = name.starts_with("pg_catalog.") ? name.substr(11) : name;
  if (type == "regtype" && allow::Type(bare)) return {};
  if (type == "regproc" && (allow::Function(bare) || allow::CatalogFunction(bare))) return {};
  return Refuse(cast.location(), "plan.name-cast", "this name cannot be looked up by a cast to " + type,
                "Ask pg_class, pg_type or pg_namespace.");
}

Status Analyzer::SubLink(const pgq::SubLink& link, Level& level, Place place, bool in_aggregate) {
  if (!link.subselect().has_select_stmt())
    return Refuse(link.location(), "plan.sub-select", "this sub-select is not understood", {});
  const pgq::SelectStmt& select = link.subselect().select_stmt();
  const auto oper = NameParts(link.oper_name());
  if (!oper.empty() &&
      !(oper.size() <= 2 && (oper.size() == 1 || oper[0] == "pg_catalog") && allow::Operator(oper.back()))) {
    return Forbid(link.location(), "plan.operator", "operator " + oper.back() + " is not available here", {});
  }
  std::optional<Membership> membership;
  if (link.has_testexpr()) {
    const auto column = ColumnOf(link.testexpr(), *level.scope);
    const bool pseudonym = column && column->column.pseudonym;
    if (!pseudonym) ECLUSE_OK(Expression(link.testexpr(), level, Place::where, in_aggregate));
    const bool equality = link.sub_link_type() == pgq::ANY_SUBLINK && (oper.empty() || oper.back() == "=");
    if (equality && column && column->column.origin && IsSubject(*column->column.origin) &&
        views_[static_cast<size_t>(column->column.origin->table_ref)]->subject.size() == 1) {
      membership = Membership{*column->column.origin, &select};
    }
    if (pseudonym && !membership) {
      return Refuse(link.location(), "plan.pseudonym", "a pseudonym cannot be compared with a sub-select", {});
    }
  }
  if (link.sub_link_type() == pgq::ANY_SUBLINK && (oper.empty() || oper.back() == "=")) {
    ECLUSE_OK(NameMembers(link.testexpr(), select, level));
  }
  membership_ = membership;
  auto output = Query(select, level.scope, Carry::tied, false);
  membership_.reset();
  if (!output) return std::unexpected(std::move(output).error());
  // What the sub-select hands out may be an outer aggregate in disguise.
  for (const Column& column : output->columns) level.saw_on_aggregate |= column.on_aggregate;
  if (output->guarded() && place != Place::where && place != Place::select_list) {
    return Refuse(link.location(), "plan.sub-select",
                  "a sub-select over guarded tables can stand only in the select list, WHERE and FROM",
                  "Move it there.");
  }
  return {};
}

}  // namespace ecluse
