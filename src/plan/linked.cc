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

// The array type, as SQL, of ids of a subject column of that type, and what the column is read as beside it.
std::string_view ArraySql(Oid type) {
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
  if (!left || !right || expr.kind() != pgq::AEXPR_OP || NameParts(expr.name()).back() != "=" ||
      !SameSubject(*left->found.column.origin, *right->found.column.origin)) {
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
  crosses_.push_back({&expr, *left, *right, on_});
  return true;
}

std::vector<Analyzer::Conjunct> Analyzer::ConjunctsOf(const pgq::Node& condition, size_t begin, size_t end) const {
  std::vector<Conjunct> conjuncts;
  if (begin >= end) return conjuncts;
  const uint32_t depth = clauses_.tokens()[begin].depth;
  size_t first = begin;
  int between = 0, cases = 0;
  for (size_t i = begin; i <= end; ++i) {
    const bool inside = i < end && clauses_.tokens()[i].depth > depth;
    if (inside) continue;
    if (clauses_.Word(i, "case")) ++cases;
    if (i < end && clauses_.Word(i, "end")) --cases;
    if (i < end && cases > 0) continue;
    if (i < end && clauses_.Word(i, "or")) return {};
    if (i < end && clauses_.Word(i, "between")) ++between;
    const bool joins = i < end && clauses_.Word(i, "and");
    if (joins && between > 0) {
      --between;
      continue;
    }
    if (i < end && !joins) continue;
    if (i == first) return {};
    conjuncts.push_back({{first, i - 1}, {}});
    first = i + 1;
  }
  std::vector<const pgq::Node*> parts;
  Parts(condition, parts);
  for (const pgq::Node* part : parts) {
    const int location = AnyLocation(*part);
    const auto holds = std::ranges::find_if(conjuncts, [&](const Conjunct& conjunct) {
      return location >= 0 && clauses_.tokens()[conjunct.tokens.first].begin <= static_cast<size_t>(location) &&
             static_cast<size_t>(location) < clauses_.tokens()[conjunct.tokens.second].end;
    });
    if (holds == conjuncts.end()) return {};
    holds->parts.push_back(part);
  }
  return conjuncts;
}

// Nothing but columns of one table reference, constants and parameters; `bounds` becomes true where it compares.
bool Analyzer::OnlyOf(const google::protobuf::Message& message, const Scope& scope, const Origin& of, bool* bounds) {
  const std::string& kind = message.GetDescriptor()->name();
  if (kind == "SubLink") return false;
  if (kind == "Node" && static_cast<const pgq::Node&>(message).has_column_ref()) {
    const auto found = ColumnOf(static_cast<const pgq::Node&>(message), scope);
    return found && !found->outer && found->column.origin && found->column.origin->node == of.node &&
           found->column.origin->table_ref == of.table_ref;
  }
  if (kind == "A_Expr") {
    const auto& expr = static_cast<const pgq::A_Expr&>(message);
    for (const pgq::Node* side : {&expr.lexpr(), &expr.rexpr()}) {
      *bounds |= ConstantOf(*side).has_value() || side->has_list() || side->has_a_array_expr() ||
                 (side->has_type_cast() && side->type_cast().arg().has_a_array_expr());
    }
  }
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
      }
      text += "$" + std::to_string(known - parameters->begin() + 1) + " ";
    }
    text += ")";
  }
  ECLUSE_TRY(auto plan, inner_(text, types));
  if (plan->statistic) plan = plan->fallback;
  return plan;
}

Status Analyzer::FinishCrossings(const pgq::SelectStmt& select, const Scope& scope, const SelectClauses* clauses) {
  const std::vector<Cross> crosses = std::exchange(crosses_, {});
  for (const Cross& cross : crosses) {
    const auto unbounded = [&](std::string_view why) {
      return Refuse(cross.expr->location(), "plan.compartment",
                    "a join between the compartments of " +
                        plan_->tables[static_cast<size_t>(cross.left.found.column.origin->table_ref)].table.Text() +
                        " and " +
                        plan_->tables[static_cast<size_t>(cross.right.found.column.origin->table_ref)].table.Text() +
                        " is for people who are bounded: " + std::string(why),
                    kCrossHint);
    };
    if (clauses == nullptr) return unbounded("this SELECT has no list");
    const pgq::Node* condition = cross.on != nullptr ? cross.on : &select.where_clause();
    std::vector<const pgq::Node*> parts;
    Parts(*condition, parts);
    if (std::ranges::none_of(
            parts, [&](const pgq::Node* part) { return part->has_a_expr() && &part->a_expr() == cross.expr; })) {
      return unbounded("the comparison stands under OR, NOT or in an expression");
    }
    // What holds of every row in which the join matters: WHERE, and the join's own condition.
    std::vector<Conjunct> conjuncts;
    if (select.has_where_clause() && clauses->where != Clauses::npos) {
      size_t end = clauses->end;
      for (const size_t next : {clauses->group, clauses->having, clauses->window, clauses->tail})
        if (next != Clauses::npos) end = std::min(end, next);
      conjuncts = ConjunctsOf(select.where_clause(), clauses->where + 1, end);
    }
    if (cross.on != nullptr) {
      size_t begin = cross.left.first;
      const uint32_t depth = clauses_.tokens()[begin].depth;
      while (begin > 0 && !(clauses_.Word(begin, "on") && clauses_.tokens()[begin].depth <= depth)) --begin;
      const uint32_t outer = clauses_.tokens()[begin].depth;
      size_t end = begin + 1;
      static constexpr std::string_view kBehind[] = {"join",    "inner",  "left",   "right",  "full",  "cross",
                                                     "natural", "where",  "group",  "having", "order", "limit",
                                                     "on",      "window", "offset", "fetch",  "for",   "union"};
      while (end < clauses->end && clauses_.tokens()[end].depth >= outer &&
             !(clauses_.tokens()[end].depth == outer &&
               (clauses_.Symbol(end, ",") || clauses_.Symbol(end, ")") ||
                std::ranges::any_of(kBehind, [&](std::string_view word) { return clauses_.Word(end, word); })))) {
        ++end;
      }
      for (Conjunct& conjunct : ConjunctsOf(*cross.on, begin + 1, end)) conjuncts.push_back(std::move(conjunct));
    }
    const SealedSide* looked_up = nullptr;
    std::vector<Conjunct> of_it;
    for (const SealedSide* side : {&cross.left, &cross.right}) {
      const Origin& origin = *side->found.column.origin;
      std::vector<Conjunct> own;
      bool bounded = false;
      for (const Conjunct& conjunct : conjuncts) {
        bool bounds = false;
        const bool only = !conjunct.parts.empty() && std::ranges::all_of(conjunct.parts, [&](const pgq::Node* part) {
          return OnlyOf(*part, scope, origin, &bounds);
        });
        if (!only) continue;
        bounded |= bounds;
        own.push_back(conjunct);
      }
      if (!bounded || looked_up != nullptr) continue;
      looked_up = side;
      of_it = std::move(own);
    }
    if (looked_up == nullptr) return unbounded("no constant and no parameter says who, on either side");
    const SealedSide* other = looked_up == &cross.left ? &cross.right : &cross.left;
    const Origin& from = *looked_up->found.column.origin;
    const Relation* relation = nullptr;
    for (const FromItem* item : scope.items) {
      for (const auto& one : item->relations) {
        if (one->table_ref == from.table_ref && one->kind == RelationKind::guarded) relation = one.get();
      }
    }
    if (relation == nullptr) return unbounded("its table does not stand in this FROM");
    for (size_t i = 0; i < relation->columns.size(); ++i) {
      if (relation->columns[i].name != relation->view->columns[i].name)
        return unbounded("the columns of \"" + relation->alias + "\" are renamed");
    }
    Crossing crossing;
    crossing.table_ref = from.table_ref;
    ECLUSE_TRY(crossing.inner, LookUp(*relation, of_it, &crossing.parameters));
    const auto number = static_cast<unsigned>(plan_->crossings.size());
    const auto array = [&](const SealedSide& side) {
      const ViewColumn& column = ViewColumnOf(side.found.column);
      SealedParameter parameter{SealedParameter::Kind::crossed, number, 0, {}, {}};
      parameter.value.array = true;
      if (column.sealed) {
        parameter.cell = CellOf(side.found.column.origin->table_ref, column);
        parameter.value.type = oid::kBytea;
        return AddParameter(std::move(parameter)) + "::pg_catalog.bytea[]";
      }
      parameter.cell = -1;
      parameter.value.type = oid::kText;
      return AddParameter(std::move(parameter)) + "::" + std::string(ArraySql(column.type)) + "[]";
    };
    const std::string from_array = array(*looked_up);
    const std::string to_array = array(*other);
    const ViewColumn& column = ViewColumnOf(looked_up->found.column);
    const std::string read = column.sealed ? "pg_catalog.bytea" : std::string(ArraySql(column.type));
    ReplaceTokens(looked_up->first, looked_up->last,
                  "(" + to_array + ")[pg_catalog.array_position(" + from_array + ", " + looked_up->found.sql +
                      "::" + read + ")]");
    plan_->crossings.push_back(std::move(crossing));
  }
  return {};
}

}  // namespace ecluse
