// Expressions: every kind of node that may stand in one, and for each whatever makes it safe. Unknown kinds are
// refused.
#include <algorithm>

#include "plan/allow.h"
#include "plan/analyzer.h"

namespace ecluse {
namespace {

bool IsCondition(Place place) {
  return place == Place::where || place == Place::on || place == Place::having || place == Place::limit;
}

}  // namespace

Status Analyzer::Expression(const pgq::Node& node, Level& level, Place place, bool in_aggregate) {
  switch (node.node_case()) {
    case pgq::Node::kColumnRef:
      return Column_(node.column_ref(), level, place, in_aggregate);
    case pgq::Node::kAConst:
      return {};
    case pgq::Node::kParamRef:
      plan_->parameters = std::max(plan_->parameters, node.param_ref().number());
      plain_parameters_.insert(node.param_ref().number());
      return {};
    case pgq::Node::kAExpr:
      return Operator(node.a_expr(), level, place, in_aggregate);
    case pgq::Node::kBoolExpr:
      return Each(node.bool_expr().args(), level, place, in_aggregate);
    case pgq::Node::kNullTest:
      // Whether there is a value is not sealed.
      if (const auto side = SealedOf(node.null_test().arg(), *level.scope);
          side && node.null_test().arg().has_column_ref()) {
        ECLUSE_TRY(const Column used, UseColumn(side->found, -1));
        if (!side->found.outer && used.origin) level.bare.push_back({*used.origin, side->found.sql});
        return {};
      }
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
        named_ = true;
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
  level.saw_outer_aggregate |= column.on_aggregate && (found.outer || column.outer_aggregate);
  if (column.on_aggregate && IsCondition(place)) {
    return Refuse(
        ref.location(), "plan.aggregate-condition",
        "a condition on an aggregate would tell of people who are not counted",
        "Group by the subject column inside the sub-select, or show the aggregate instead of filtering by it.");
  }
  if (column.pseudonym) {
    return RefuseOpaque(column, ref.location(), "cannot be computed with",
                        "Select it as it is, or join it with the same people's column in another table.");
  }
  if (column.sealed) {
    return RefuseOpaque(column, ref.location(), "cannot be computed with",
                        "Select it as it is, test it for NULL, or compare it with constants and parameters as its "
                        "indexes allow.");
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
  ECLUSE_TRY(const bool linked, LinkedComparison(expr, level));
  if (linked) return {};
  ECLUSE_TRY(const bool sealed, SealedComparison(expr, level));
  if (sealed) return {};
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

// What a sub-select hands out is compared or shown: of pseudonyms, only with the same people's pseudonym.
Status Analyzer::Members(const pgq::SubLink& link, const Membership* pseudonym, const Output& output) const {
  for (const Column& column : output.columns) {
    const bool same =
        pseudonym != nullptr && column.pseudonym && column.origin && SameSubject(pseudonym->origin, *column.origin);
    if (column.sealed)
      return RefuseOpaque(column, link.location(), "cannot be handed out by a sub-select",
                          "Join the two tables on it.");
    if (same || (pseudonym == nullptr && !column.pseudonym)) continue;
    return Refuse(link.location(), "plan.pseudonym",
                  "a pseudonym can only be compared with the same people's pseudonym, and shown as it is",
                  "Join the two tables on it, or select it as it is.");
  }
  return {};
}

void Analyzer::NoteConjuncts(const pgq::Node& condition) {
  if (condition.has_sub_link()) conjuncts_.insert(&condition.sub_link());
  if (!condition.has_bool_expr() || condition.bool_expr().boolop() != pgq::AND_EXPR) return;
  for (const pgq::Node& part : condition.bool_expr().args()) NoteConjuncts(part);
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
  bool pseudonym = false;  // what is compared
  if (link.has_testexpr()) {
    const auto column = ColumnOf(link.testexpr(), *level.scope);
    pseudonym = column && column->column.pseudonym && !column->column.sealed;
    if (!pseudonym) ECLUSE_OK(Expression(link.testexpr(), level, Place::where, in_aggregate));
    const bool equality = link.sub_link_type() == pgq::ANY_SUBLINK && (oper.empty() || oper.back() == "=");
    const bool conjunct = conjuncts_.contains(&link);
    const bool nullable = column && (column->column.nullable || (column->scope != nullptr && column->scope->nulled));
    if (equality && column && column->column.origin && (conjunct || !nullable) && IsSubject(*column->column.origin) &&
        views_[static_cast<size_t>(column->column.origin->table_ref)]->subject.size() == 1) {
      membership = Membership{*column->column.origin, &select, conjunct};
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
  if (link.sub_link_type() != pgq::EXISTS_SUBLINK) {
    ECLUSE_OK(Members(link, pseudonym ? &*membership : nullptr, *output));
  }
  // What the sub-select hands out may be an outer aggregate in disguise.
  const bool disguised =
      link.sub_link_type() != pgq::EXISTS_SUBLINK && std::ranges::any_of(output->columns, &Column::on_aggregate);
  if (disguised && IsCondition(place)) {
    return Refuse(
        link.location(), "plan.aggregate-condition",
        "a condition on an aggregate would tell of people who are not counted",
        "Group by the subject column inside the sub-select, or show the aggregate instead of filtering by it.");
  }
  level.saw_on_aggregate |= disguised;
  level.saw_outer_aggregate |= disguised;
  if (output->guarded() && place != Place::where && place != Place::select_list) {
    return Refuse(link.location(), "plan.sub-select",
                  "a sub-select over guarded tables can stand only in the select list, WHERE and FROM",
                  "Move it there.");
  }
  return {};
}

}  // namespace ecluse
