// People's ids in tables of a compartment: pseudonyms stand there, which are compared with one another inside it, and
// across compartments by way of the gate, for people who are looked up first (docs/decisions/compartments.md).
#include <algorithm>

#include "plan/sealed_parts.h"
#include "policy/masks.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

const std::string kCrossHint =
    "Join them by AND in ON or WHERE, as a.owner_id = o.owner_id, and compare a column of one of the two tables with a "
    "constant or parameter in the same WHERE: o.owner_id = 42.";

void Parts(const pgq::Node& condition, std::vector<const pgq::Node*>& parts) {
  if (condition.has_bool_expr() && condition.bool_expr().boolop() == pgq::AND_EXPR) {
    for (const pgq::Node& part : condition.bool_expr().args()) Parts(part, parts);
  } else {
    parts.push_back(&condition);
  }
}

// What ids of a subject column of that type are read as, as SQL.
std::string_view IdTypeSql(Oid type) {
  switch (type) {
    case oid::kInt2:
    case oid::kInt4:
    case oid::kInt8:
      return "pg_catalog.int8";
    case oid::kUuid:
      return "pg_catalog.uuid";
    case oid::kNumeric:
      return "pg_catalog.numeric";
    default:
      return "pg_catalog.text";
  }
}

// Some part of it says where it stands in the text, and all that do stand there.
bool StandsIn(const google::protobuf::Message& message, size_t begin, size_t end) {
  bool somewhere = false;
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->name() == "location") {
      const int location = reflection->GetInt32(message, field);
      if (location <= 0) continue;
      if (static_cast<size_t>(location) < begin || static_cast<size_t>(location) >= end) return false;
      somewhere = true;
    }
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const auto& child = field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                               : reflection->GetMessage(message, field);
      if (AnyLocation(child) <= 0) continue;
      if (!StandsIn(child, begin, end)) return false;
      somewhere = true;
    }
  }
  return somewhere;
}

}  // namespace

bool Analyzer::Linked(const Column& column) const {
  return column.sealed && column.origin && ViewColumnOf(column).sealed->search.link;
}

bool Analyzer::SameCompartment(const Origin& a, const Origin& b) const {
  return views_[static_cast<size_t>(a.table_ref)]->compartment == views_[static_cast<size_t>(b.table_ref)]->compartment;
}

std::optional<Analyzer::SealedSide> Analyzer::SideOf(const pgq::Node& node, const Scope& scope) {
  const auto found = ColumnOf(node, scope);
  if (!found || !found->column.origin) return std::nullopt;
  SealedSide side;
  side.found = *found;
  side.first = clauses_.TokenAt(static_cast<size_t>(node.column_ref().location()));
  if (side.first == Clauses::npos) return std::nullopt;
  side.last = side.first + 2 * static_cast<size_t>(node.column_ref().fields_size() - 1);
  if (node.column_ref().fields_size() == 3) side.first += 2;  // Resolve() takes the schema out
  return side;
}

Result<bool> Analyzer::LinkedComparison(const pgq::A_Expr& expr, Level& level) {
  if (!expr.has_lexpr() || !expr.has_rexpr()) return false;
  const auto left = SideOf(expr.lexpr(), *level.scope);
  const auto right = SideOf(expr.rexpr(), *level.scope);
  const bool linked_left = left && Linked(left->found.column), linked_right = right && Linked(right->found.column);
  if (!linked_left && !linked_right) return false;
  if (!expr.lexpr().has_column_ref() || !expr.rexpr().has_column_ref()) return false;  // with values: SealedEquals()
  const Column& own = linked_left ? left->found.column : right->found.column;
  const auto alone = [&](const SealedSide& side) {  // not a part of whom its rows are about
    return views_[static_cast<size_t>(side.found.column.origin->table_ref)]->subject.size() == 1;
  };
  if (!left || !right || expr.kind() != pgq::AEXPR_OP || NameParts(expr.name()).back() != "=" ||
      !SameSubject(*left->found.column.origin, *right->found.column.origin) || !alone(*left) || !alone(*right)) {
    return RefuseOpaque(own, expr.location(),
                        "is compared with constants, parameters, and the same people's column of other tables by = "
                        "alone",
                        "Write a.owner_id = b.owner_id, where both say whom their rows are about.");
  }
  const auto mask = [&](const SealedSide& side) { return ViewColumnOf(side.found.column).mask; };
  if (mask(*left) != mask(*right))
    return RefuseOpaque(own, expr.location(), "is not shown as the other is", "Read both alike in the policy.");
  if (SameCompartment(*left->found.column.origin, *right->found.column.origin)) {
    for (const SealedSide* side : {&*left, &*right}) {
      ECLUSE_TRY(const Column used, UseColumn(side->found, expr.location()));
      if (!side->found.outer) level.bare.push_back({*used.origin, side->found.sql});
    }
    return true;
  }
  const auto here = [&](const SealedSide& side) {
    const Column& column = side.found.column;
    return !side.found.outer && std::ranges::any_of(level.scope->items, [&](const FromItem* item) {
      return std::ranges::any_of(item->relations, [&](const auto& relation) {
        return relation->kind == RelationKind::guarded && relation->table_ref == column.origin->table_ref &&
               std::ranges::find(relation->nodes, column.origin->node) != relation->nodes.end();
      });
    });
  };
  if (!here(*left) || !here(*right)) {
    return Refuse(expr.location(), "plan.compartment",
                  "tables of different compartments are joined where both stand in one FROM alone", kCrossHint);
  }
  for (const SealedSide* side : {&*left, &*right}) {
    ECLUSE_TRY(const Column used, UseColumn(side->found, expr.location()));
    level.bare.push_back({*used.origin, side->found.sql});
  }
  crosses_.push_back({&expr, *left, *right, join_});
  return true;
}

bool Analyzer::Keyword(size_t index, std::string_view word) const {
  return clauses_.Word(index, word) && (index == 0 || !clauses_.Symbol(index - 1, "."));
}

// Pieces of `a AND (b AND c)`, as ranges of tokens.
void Analyzer::SplitConjuncts(size_t begin, size_t end, std::vector<Conjunct>& out) const {
  while (begin + 1 < end && clauses_.Symbol(begin, "(") && clauses_.Partner(begin) == end - 1) ++begin, --end;
  if (begin >= end) return;
  const uint32_t depth = clauses_.tokens()[begin].depth;
  const auto here = [&](size_t i) { return clauses_.tokens()[i].depth == depth; };
  std::vector<std::pair<size_t, size_t>> pieces;
  size_t first = begin;
  int between = 0, cases = 0;
  bool either = false;
  for (size_t i = begin; i < end; ++i) {
    if (!here(i)) continue;
    if (Keyword(i, "case")) ++cases;
    if (Keyword(i, "end")) --cases;
    if (cases > 0) continue;
    either |= Keyword(i, "or");
    if (Keyword(i, "between")) ++between;
    if (!Keyword(i, "and") || (between > 0 && between-- > 0)) continue;
    pieces.emplace_back(first, i);
    first = i + 1;
  }
  pieces.emplace_back(first, end);
  if (either || pieces.size() == 1) {
    out.push_back({{begin, end - 1}, {}});
    return;
  }
  for (const auto& [from, to] : pieces) SplitConjuncts(from, to, out);
}

std::vector<Analyzer::Conjunct> Analyzer::ConjunctsOf(const pgq::Node& condition, size_t begin, size_t end) const {
  std::vector<Conjunct> conjuncts;
  SplitConjuncts(begin, end, conjuncts);
  std::vector<const pgq::Node*> parts;
  Parts(condition, parts);
  // Tokens and tree have to tell the same: a part that does not stand in one piece, or a piece without parts, and none
  // of it is used.
  for (const pgq::Node* part : parts) {
    const auto holds = std::ranges::find_if(conjuncts, [&](const Conjunct& conjunct) {
      return StandsIn(*part, clauses_.tokens()[conjunct.tokens.first].begin,
                      clauses_.tokens()[conjunct.tokens.second].end);
    });
    if (holds == conjuncts.end()) return {};
    holds->parts.push_back(part);
  }
  if (std::ranges::any_of(conjuncts, [](const Conjunct& conjunct) { return conjunct.parts.empty(); })) return {};
  return conjuncts;
}

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
  const auto* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (!OnlyOf(field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                       : reflection->GetMessage(message, field),
                  scope, of, bounds)) {
        return false;
      }
    }
  }
  return true;
}

// A parameter is of the type of its first use, which the look-up may not have.
bool Analyzer::UsedElsewhere(int number, const std::vector<Conjunct>& conjuncts) const {
  const std::string text = "$" + std::to_string(number);
  for (size_t i = 0; i < clauses_.tokens().size(); ++i) {
    const bool inside = std::ranges::any_of(
        conjuncts, [&](const Conjunct& one) { return one.tokens.first <= i && i <= one.tokens.second; });
    if (!inside && clauses_.tokens()[i].kind == Token::Kind::parameter && clauses_.TextOf(i) == text) return true;
  }
  return false;
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
    for (size_t i = conjunct.tokens.first; i <= conjunct.tokens.second; ++i) {
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
        if (types.back() == 0 && UsedElsewhere(number, conjuncts)) {
          return Refuse(static_cast<int>(token.begin), "plan.compartment",
                        "the parameter $" + std::to_string(number) +
                            " bounds a join between compartments, is used elsewhere too, and has no declared type",
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

std::vector<Analyzer::Conjunct> Analyzer::ConditionsOf(const Cross& cross, const pgq::SelectStmt& select,
                                                       const SelectClauses& clauses) const {
  std::vector<Conjunct> conjuncts;
  if (select.has_where_clause() && clauses.where != Clauses::npos) {
    size_t end = clauses.end;
    for (const size_t next : {clauses.group, clauses.having, clauses.window, clauses.tail})
      if (next != Clauses::npos) end = std::min(end, next);
    conjuncts = ConjunctsOf(select.where_clause(), clauses.where + 1, end);
  }
  if (cross.join == nullptr) return conjuncts;
  size_t begin = cross.left.first;
  const uint32_t depth = clauses_.tokens()[begin].depth;
  while (begin > 0 && !(Keyword(begin, "on") && clauses_.tokens()[begin].depth <= depth)) --begin;
  const uint32_t outer = clauses_.tokens()[begin].depth;
  static constexpr std::string_view kBehind[] = {"join",   "where",  "group", "having", "order", "limit",     "on",
                                                 "window", "offset", "fetch", "for",    "union", "intersect", "except"};
  size_t end = begin + 1;
  while (end < clauses.end && clauses_.tokens()[end].depth >= outer &&
         !(clauses_.tokens()[end].depth == outer &&
           (clauses_.Symbol(end, ",") ||
            std::ranges::any_of(kBehind, [&](std::string_view word) { return Keyword(end, word); })))) {
    ++end;
  }
  static constexpr std::string_view kBefore[] = {"inner", "left", "right", "full", "outer", "cross", "natural"};
  while (end > begin && Keyword(end, "join") &&
         std::ranges::any_of(kBefore, [&](std::string_view word) { return Keyword(end - 1, word); })) {
    do {
      --end;
    } while (std::ranges::any_of(kBefore, [&](std::string_view word) { return Keyword(end - 1, word); }));
  }
  for (Conjunct& conjunct : ConjunctsOf(cross.join->quals(), begin + 1, end)) {
    conjunct.of_join = true;
    conjuncts.push_back(std::move(conjunct));
  }
  // As they stand in the text: by the order of their uses PostgreSQL finds the types of parameters.
  std::ranges::sort(conjuncts, {}, &Conjunct::tokens);
  return conjuncts;
}

std::optional<Analyzer::Bounded> Analyzer::BoundedBy(const SealedSide& side, const Cross& cross,
                                                     const std::vector<Conjunct>& conjuncts, const Scope& scope) {
  const Origin& origin = *side.found.column.origin;
  Bounded bounded{&side, nullptr, {}, false, 0};
  for (const FromItem* item : scope.items) {
    for (const auto& one : item->relations) {
      if (one->table_ref == origin.table_ref && one->kind == RelationKind::guarded) bounded.relation = one.get();
    }
  }
  if (bounded.relation == nullptr) return std::nullopt;
  // Behind an outer join WHERE may hold of rows that are not there, and what stays of a join beside it is not bounded
  // by its ON.
  const bool missing = std::ranges::any_of(bounded.relation->columns, &Column::nullable);
  const bool inner = cross.join == nullptr || cross.join->jointype() == pgq::JOIN_INNER;
  bool compares = false;
  for (const Conjunct& conjunct : conjuncts) {
    Bounds bounds;
    const bool only = !conjunct.parts.empty() && std::ranges::all_of(conjunct.parts, [&](const pgq::Node* part) {
      return OnlyOf(*part, scope, origin, &bounds);
    });
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
    Parts(cross.join != nullptr ? cross.join->quals() : select.where_clause(), parts);
    if (std::ranges::none_of(
            parts, [&](const pgq::Node* part) { return part->has_a_expr() && &part->a_expr() == cross.expr; })) {
      return unbounded("the comparison stands under OR, NOT or in an expression");
    }
    const std::vector<Conjunct> conjuncts = ConditionsOf(cross, select, *clauses);
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
      return column.sealed ? std::string("pg_catalog.bytea") : std::string(IdTypeSql(column.type));
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
      size_t end = clauses->end;
      for (const size_t next : {clauses->group, clauses->having, clauses->window, clauses->tail})
        if (next != Clauses::npos) end = std::min(end, next);
      splices_.Insert(clauses_.tokens()[clauses->where].end,
                      " (" + from.found.sql + "::" + type(from) + " = ANY (" + here + ")) AND (");
      splices_.Insert(clauses_.tokens()[end - 1].end, ")");
    }
    plan_->crossings.push_back(std::move(crossing));
  }
  return {};
}

}  // namespace ecluse
