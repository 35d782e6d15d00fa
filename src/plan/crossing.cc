// Joins between compartments: who is looked up first, by the client's own conditions (docs/decisions/compartments.md).
//
// A wrong look-up would lose rows without a word, so a condition is used only where it holds of every row in which the
// join matters, means the same whenever it is asked, and stands in one piece of the text (conjuncts.h); and what the
// look-up did not find is left out of the statement too, or it is refused.
#include <algorithm>

#include "plan/conjuncts.h"
#include "plan/sealed_parts.h"
#include "policy/masks.h"
#include "policy/sealed_columns.h"

namespace ecluse {

// A column with constants or parameters, so that it picks some of its values.
bool Analyzer::Compares(const pgq::A_Expr& expr) const {
  const auto names = NameParts(expr.name());
  const std::string name = names.empty() ? "" : names.back();
  static constexpr std::string_view kPicking[] = {"=", "<", "<=", ">", ">=", "~~", "~~*"};
  const bool picks =
      expr.kind() == pgq::AEXPR_BETWEEN ||
      ((expr.kind() == pgq::AEXPR_OP || expr.kind() == pgq::AEXPR_OP_ANY || expr.kind() == pgq::AEXPR_IN ||
        expr.kind() == pgq::AEXPR_LIKE || expr.kind() == pgq::AEXPR_ILIKE) &&
       std::ranges::find(kPicking, name) != std::end(kPicking));
  const auto column = [](const pgq::Node* node) {
    while (node->has_type_cast()) node = &node->type_cast().arg();
    if (node->has_func_call() && node->func_call().args_size() == 1) node = &node->func_call().args(0);
    return node->has_column_ref();
  };
  const auto value = [&](const pgq::Node& node) {
    const pgq::Node& inner = node.has_type_cast() ? node.type_cast().arg() : node;
    return ConstantOf(node).has_value() || inner.has_list() || inner.has_a_array_expr() ||
           (inner.has_func_call() && inner.func_call().args_size() == 1 && ConstantOf(inner.func_call().args(0)));
  };
  return picks && ((column(&expr.lexpr()) && value(expr.rexpr())) || (column(&expr.rexpr()) && value(expr.lexpr())));
}

// Nothing but columns of one table reference, constants and parameters, which mean the same whenever they are asked.
bool Analyzer::OnlyOf(const google::protobuf::Message& message, const Scope& scope, const Origin& of, Bounds* bounds) {
  const std::string& kind = message.GetDescriptor()->name();
  if (kind == "SubLink" || kind == "SQLValueFunction") return false;
  if (kind == "FuncCall") {
    static constexpr std::string_view kKnown[] = {"lower", "upper", "ecluse_sounds_like"};
    const auto name = NameParts(static_cast<const pgq::FuncCall&>(message).funcname());
    if (name.size() != 1 || std::ranges::find(kKnown, name[0]) == std::end(kKnown)) return false;
    bounds->compares |= name[0] == "ecluse_sounds_like";
  }
  if (kind == "Node" && static_cast<const pgq::Node&>(message).has_column_ref()) {
    const auto found = ColumnOf(static_cast<const pgq::Node&>(message), scope);
    bounds->column = true;
    return found && !found->outer && found->column.origin && found->column.origin->node == of.node &&
           found->column.origin->table_ref == of.table_ref;
  }
  if (kind == "A_Expr") bounds->compares |= Compares(static_cast<const pgq::A_Expr&>(message));
  return AllChildren(message, [&](const auto&, const auto& child) { return OnlyOf(child, scope, of, bounds); });
}

// A parameter is of the type of its first use, which the look-up may not have, or may not see.
bool Analyzer::UsedTwice(int number) const {
  const std::string text = "$" + std::to_string(number);
  int uses = 0;
  for (size_t i = 0; i < clauses_.tokens().size(); ++i)
    uses += clauses_.tokens()[i].kind == Token::Kind::parameter && clauses_.TextOf(i) == text ? 1 : 0;
  return uses > 1;
}

// The client's own conditions on one table as a statement by itself, planned and verified like any.
Result<std::shared_ptr<const Plan>> Analyzer::LookUp(const Relation& relation, const std::vector<Conjunct>& conjuncts,
                                                     std::vector<int>* parameters) {
  std::string text = "SELECT 1 FROM " + QuoteIdentifier(relation.view->table.schema) + "." +
                     QuoteIdentifier(relation.view->table.name);
  if (relation.schema.empty()) text += " AS " + QuoteIdentifier(relation.alias);
  std::vector<Oid> types;
  std::string_view joined = " WHERE (";
  for (const Conjunct& conjunct : conjuncts) {
    text += joined;
    joined = " AND (";
    for (size_t i = conjunct.tokens.first; i < conjunct.tokens.second; ++i) {
      const Token& token = clauses_.tokens()[i];
      if (token.kind != Token::Kind::parameter) {
        text.append(clauses_.TextOf(i)).append(" ");
        continue;
      }
      const int number = std::atoi(std::string(clauses_.TextOf(i).substr(1)).c_str());
      auto known = std::ranges::find(*parameters, number);
      if (known == parameters->end()) {
        parameters->push_back(number);
        known = parameters->end() - 1;
        const auto index = static_cast<size_t>(number - 1);
        types.push_back(index < plan_->parameter_types.size() ? plan_->parameter_types[index] : 0);
        if (types.back() == 0 && UsedTwice(number)) {
          return Refuse(static_cast<int>(token.begin), "plan.compartment",
                        "the parameter $" + std::to_string(number) +
                            " bounds a join between compartments, is used twice, and has no declared type",
                        "Declare its type, or give each use a parameter of its own.");
        }
      }
      text += "$" + std::to_string(known - parameters->begin() + 1) + " ";
    }
    text += ")";
  }
  ECLUSE_TRY(auto plan, inner_(text, types));
  if (plan->statistic) plan = plan->fallback;
  if (plan == nullptr || plan->kind != Plan::Kind::rows || plan->visible_columns != 1 || plan->hidden.size() != 1 ||
      plan->hidden.front().kind != HiddenColumn::Kind::subjects || !plan->crossings.empty()) {
    return Refuse(-1, "plan.compartment", "who is to be looked up for this join cannot be told", kCrossHint);
  }
  return plan;
}

void Analyzer::Rank(const pgq::A_Expr& expr, const Scope& scope, Bounds* bounds) {
  const bool equality =
      (expr.kind() == pgq::AEXPR_OP || expr.kind() == pgq::AEXPR_IN || expr.kind() == pgq::AEXPR_OP_ANY) &&
      NameParts(expr.name()).back() == "=";
  if (!equality) return;
  for (const pgq::Node* node : {&expr.lexpr(), &expr.rexpr()}) {
    const auto found = ColumnOf(*node, scope);
    if (!found || !found->column.origin) continue;
    const Origin& origin = *found->column.origin;
    const GuardedView& view = *views_[static_cast<size_t>(origin.table_ref)];
    const bool unique = std::ranges::any_of(
        view.unique, [&](const std::vector<int>& key) { return key.size() == 1 && key.front() == origin.column; });
    bounds->rank = std::max(bounds->rank, IsSubject(origin) ? 3 : unique ? 2 : 1);
  }
}

// A side of such a join that may be looked up, and by which conditions.
std::optional<Analyzer::Bounded> Analyzer::BoundedBy(const SealedSide& side, const Cross& cross,
                                                     const std::vector<Conjunct>& conjuncts, const Scope& scope) {
  const Origin& origin = *side.found.column.origin;
  Bounded bounded{&side, RelationOf(side.found, scope), {}, false, 0};
  if (bounded.relation == nullptr) return std::nullopt;
  // Behind an outer join WHERE may hold of rows that are not there, and what stays of a join beside it is not bounded
  // by its ON.
  const bool missing = std::ranges::any_of(bounded.relation->columns, &Column::nullable);
  const bool inner = cross.join == nullptr || cross.join->jointype() == pgq::JOIN_INNER;
  bool compares = false;
  for (const Conjunct& conjunct : conjuncts) {
    Bounds bounds;
    const bool only = std::ranges::all_of(conjunct.parts,
                                          [&](const pgq::Node* part) { return OnlyOf(*part, scope, origin, &bounds); });
    if (!only || (conjunct.of_join ? !inner && !missing : missing)) continue;
    bounded.everywhere |= !conjunct.of_join;
    compares |= bounds.column && bounds.compares;
    for (const pgq::Node* part : conjunct.parts) {
      if (part->has_a_expr()) Rank(part->a_expr(), scope, &bounds);
    }
    bounded.rank = std::max(bounded.rank, bounds.rank);
    bounded.conjuncts.push_back(conjunct);
  }
  return compares ? std::optional(std::move(bounded)) : std::nullopt;
}

Status Analyzer::FinishCrossings(const pgq::SelectStmt& select, const Scope& scope, const SelectClauses* clauses) {
  const std::vector<Cross> crosses = std::exchange(crosses_, {});
  for (const Cross& cross : crosses) {
    const auto table = [&](const SealedSide& side) {
      return plan_->tables[static_cast<size_t>(side.found.column.origin->table_ref)].table.Text();
    };
    const auto unbounded = [&](std::string_view why) {
      return Refuse(cross.expr->location(), "plan.compartment",
                    "a join between the compartments of " + table(cross.left) + " and " + table(cross.right) +
                        " is for people who are bounded: " + std::string(why),
                    kCrossHint);
    };
    if (clauses == nullptr) return unbounded("this SELECT has no list");
    std::vector<const pgq::Node*> parts;
    Flatten(cross.join != nullptr ? cross.join->quals() : select.where_clause(), parts);
    if (std::ranges::none_of(
            parts, [&](const pgq::Node* part) { return part->has_a_expr() && &part->a_expr() == cross.expr; })) {
      return unbounded("the comparison stands under OR, NOT or in an expression");
    }
    // What holds of every row in which the join matters, as it stands in the text: by the order of their uses
    // PostgreSQL finds the types of parameters.
    std::vector<Conjunct> conjuncts;
    if (cross.join != nullptr)
      conjuncts = ConjunctsOf(clauses_, cross.join->quals(), OnOf(clauses_, *clauses, cross.left.first), true);
    if (select.has_where_clause()) {
      const auto more = ConjunctsOf(clauses_, select.where_clause(), WhereOf(*clauses), false);
      conjuncts.insert(conjuncts.end(), more.begin(), more.end());
    }
    std::optional<Bounded> chosen = BoundedBy(cross.left, cross, conjuncts, scope);
    if (auto right = BoundedBy(cross.right, cross, conjuncts, scope);
        right && (!chosen || std::pair(-right->rank, cross.right.found.column.origin->table_ref) <
                                 std::pair(-chosen->rank, cross.left.found.column.origin->table_ref))) {
      chosen = std::move(right);
    }
    if (!chosen) return unbounded("no constant and no parameter says who, on either side");
    const auto& own = chosen->relation->view->columns;
    for (size_t i = 0; i < own.size(); ++i) {
      if (chosen->relation->columns[i].name != own[i].name)
        return unbounded("the columns of \"" + chosen->relation->alias + "\" are renamed");
    }
    Crossing crossing;
    crossing.table_ref = chosen->side->found.column.origin->table_ref;
    ECLUSE_TRY(crossing.inner, LookUp(*chosen->relation, chosen->conjuncts, &crossing.parameters));
    const auto number = static_cast<unsigned>(plan_->crossings.size());
    const auto type = [&](const SealedSide& side) {
      const ViewColumn& column = ViewColumnOf(side.found.column);
      return column.sealed ? "pg_catalog.bytea" : TypeText({column.type, -1});
    };
    const auto array = [&](const SealedSide& side) {
      const ViewColumn& column = ViewColumnOf(side.found.column);
      SealedParameter parameter{SealedParameter::Kind::crossed, number, -1, {}, {}};
      parameter.value.array = true;
      if (column.sealed) parameter.cell = CellOf(side.found.column.origin->table_ref, column);
      return AddParameter(std::move(parameter)) + "::" + type(side) + "[]";
    };
    const SealedSide& from = *chosen->side;
    const SealedSide& to = &from == &cross.left ? cross.right : cross.left;
    const std::string here = array(from), there = array(to);
    ReplaceTokens(
        from.first, from.last,
        "(" + there + ")[pg_catalog.array_position(" + here + ", " + from.found.sql + "::" + type(from) + ")]");
    // Who came between the look-up and the statement has nobody beside them, and is as if they came behind it.
    if (chosen->everywhere) {
      splices_.Insert(clauses_.tokens()[clauses->where].end,
                      " (" + from.found.sql + "::" + type(from) + " = ANY (" + here + ")) AND (");
      splices_.Insert(clauses_.tokens()[WhereOf(*clauses).second - 1].end, ")");
    }
    plan_->crossings.push_back(std::move(crossing));
  }
  return {};
}

}  // namespace ecluse
