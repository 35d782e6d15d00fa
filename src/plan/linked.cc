// People's ids in tables of a compartment: pseudonyms stand there, which are compared with one another inside it, and
// across compartments by way of the gate (crossing.cc).
#include <algorithm>

#include "plan/sealed_parts.h"

namespace ecluse {

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

const Relation* Analyzer::RelationOf(const Found& found, const Scope& scope) const {
  if (found.outer || !found.column.origin) return nullptr;
  for (const FromItem* item : scope.items) {
    for (const auto& relation : item->relations) {
      if (relation->kind == RelationKind::guarded && relation->table_ref == found.column.origin->table_ref &&
          std::ranges::find(relation->nodes, found.column.origin->node) != relation->nodes.end())
        return relation.get();
    }
  }
  return nullptr;
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
  if (RelationOf(left->found, *level.scope) == nullptr || RelationOf(right->found, *level.scope) == nullptr) {
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

}  // namespace ecluse
