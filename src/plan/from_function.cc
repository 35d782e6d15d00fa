// Functions in FROM: which columns they have, written behind them so that PostgreSQL knows them by the same names.
#include <algorithm>

#include "plan/allow.h"
#include "plan/analyzer.h"

namespace ecluse {

Result<FromItem*> Analyzer::Function(const pgq::RangeFunction& function, const Scope& scope,
                                     std::vector<const FromItem*>& before) {
  if (function.is_rowsfrom() || function.functions_size() != 1 || function.coldeflist_size() > 0) {
    return Refuse(-1, "plan.from", "ROWS FROM and column definition lists are not available", "Use one function.");
  }
  const pgq::Node& pair = function.functions(0);
  if (!pair.has_list() || pair.list().items_size() < 1 || !pair.list().items(0).has_func_call()) {
    return Refuse(-1, "plan.from", "this function in FROM is not understood", "Call one function by name.");
  }
  Scope arguments;
  arguments.parent = scope.parent;
  arguments.ctes = scope.ctes;
  arguments.items = before;
  Level level;
  level.scope = &arguments;
  for (const FromItem* item : before) level.nodes.insert(level.nodes.end(), item->nodes.begin(), item->nodes.end());
  ECLUSE_OK(Expression(pair.list().items(0), level, Place::on));
  const auto parts = NameParts(pair.list().items(0).func_call().funcname());
  const std::string& name = parts.back();
  if (parts.size() > 1 && schema_.policy->functions.contains(parts[0] + "." + parts[1])) {
    return Refuse(-1, "plan.from", "the policy's functions cannot stand in FROM: their columns are not known",
                  "Call " + name + " in the select list.");
  }
  FromItem* item = NewItem();
  auto relation = std::make_shared<Relation>();
  relation->kind = RelationKind::function;
  relation->alias = function.has_alias() ? function.alias().aliasname() : name;
  const allow::RecordColumns known = allow::Columns(name);
  for (size_t i = 0; i < known.count; ++i)
    relation->columns.push_back({.name = std::string(known.names[i]), .origin = {}, .constants = {}});
  if (known.count == 0) {
    // A scalar function's column is called like its alias; unnest of several arrays gives as many.
    const int arrays = name == "unnest" ? std::max(1, pair.list().items(0).func_call().args_size()) : 1;
    for (int i = 0; i < arrays; ++i)
      relation->columns.push_back({.name = arrays == 1 ? relation->alias : name, .origin = {}, .constants = {}});
  }
  if (function.ordinality()) relation->columns.push_back({.name = "ordinality", .origin = {}, .constants = {}});
  if (function.has_alias()) ECLUSE_OK(Rename(*relation, function.alias()));
  ECLUSE_OK(NameColumns(function, *relation));
  for (const Column& column : relation->columns) {
    item->star.push_back({QuoteIdentifier(relation->alias) + "." + QuoteIdentifier(column.name), column});
  }
  if (name == "unnest") {
    for (const pgq::Node& argument : pair.list().items(0).func_call().args()) {
      // Of a tsvector it has other columns.
      if (!SurelyArray(argument, arguments))
        catalog_only_ = CatalogOnly{"unnest in FROM of what is not surely an array (cast it: x::text[])", -1};
      if (const auto value = ConstantOf(argument); value && value->kind == ValueSource::Kind::parameter) {
        plan_->lists.array_parameters.push_back(value->parameter);
      }
    }
  }
  item->relations.push_back(std::move(relation));
  return item;
}

// The names this planner knows the columns by, written behind the function: PostgreSQL has no others then.
Status Analyzer::NameColumns(const pgq::RangeFunction& function, const Relation& relation) {
  const int named = function.alias().colnames_size();
  if (static_cast<size_t>(named) == relation.columns.size()) return {};
  const pgq::FuncCall& call = function.functions(0).list().items(0).func_call();
  const size_t first = clauses_.TokenAt(static_cast<size_t>(call.location()));
  size_t open = first;
  while (first != Clauses::npos && open < first + 6 && !clauses_.Symbol(open, "(")) ++open;
  const size_t close = first == Clauses::npos ? Clauses::npos : clauses_.Partner(open);
  if (close == Clauses::npos) {
    return Refuse(call.location(), "plan.from", "this function in FROM cannot be rewritten",
                  "Write f(x) AS alias (column).");
  }
  size_t last = close;  // what the list is written behind
  if (clauses_.Word(last + 1, "with") && clauses_.Word(last + 2, "ordinality")) last += 2;
  std::string sql = function.has_alias() ? "" : " AS " + QuoteIdentifier(relation.alias);
  if (function.has_alias()) last += clauses_.Word(last + 1, "as") ? 2 : 1;
  for (size_t i = static_cast<size_t>(named); i < relation.columns.size(); ++i) {
    sql += (i > 0 ? ", " : " (") + QuoteIdentifier(relation.columns[i].name);
  }
  if (named > 0) {
    last = clauses_.Partner(last + 1) - 1;
  } else {
    sql += ")";
  }
  if (last >= clauses_.tokens().size())
    return Refuse(call.location(), "plan.splice", "this alias is not understood", {});
  splices_.Insert(clauses_.tokens()[last].end, std::move(sql));
  return {};
}

bool Analyzer::SurelyArray(const pgq::Node& node, const Scope& scope) {
  constexpr Oid kTsvector = 3614, kFirstOfUsers = 10000;
  const auto known = [](Oid type) { return type != 0 && type != kTsvector && type < kFirstOfUsers; };
  if (node.has_a_array_expr()) return true;
  if (node.has_sub_link()) return node.sub_link().sub_link_type() == pgq::ARRAY_SUBLINK;
  if (node.has_type_cast()) {
    const pgq::TypeName& type = node.type_cast().type_name();
    const std::string name = NameParts(type.names()).back();
    return type.array_bounds_size() > 0 || name == "int2vector" || name == "oidvector";
  }
  if (node.has_func_call()) {
    static constexpr std::string_view kArrays[] = {
        "string_to_array", "regexp_split_to_array", "array_agg",  "array_cat",       "array_append", "array_prepend",
        "array_remove",    "array_replace",         "array_fill", "array_positions", "trim_array",   "current_schemas"};
    return std::ranges::find(kArrays, NameParts(node.func_call().funcname()).back()) != std::end(kArrays);
  }
  if (node.has_param_ref()) {
    const auto number = static_cast<size_t>(node.param_ref().number());
    return number >= 1 && number <= plan_->parameter_types.size() && known(plan_->parameter_types[number - 1]);
  }
  const auto column = ColumnOf(node, scope);
  return column && known(column->column.type);
}

}  // namespace ecluse
