// UNION, INTERSECT, EXCEPT: each arm keeps its own people, in columns of its own.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {

Result<Output> Analyzer::SetOperation(const pgq::SelectStmt& select, Scope& scope, Carry carry, bool top) {
  membership_.reset();
  // Duplicates are removed once, by the outermost UNION; arms with an order or limit of their own stay as they are.
  if (!select.all()) {
    for (const pgq::SelectStmt* arm : {&select.larg(), &select.rarg()}) {
      if (arm->op() == pgq::SETOP_UNION && arm->sort_clause_size() == 0 && !arm->has_limit_count() &&
          !arm->has_limit_offset() && !arm->has_with_clause()) {
        merged_unions_.insert(arm);
      }
    }
  }
  const auto side = [&](const pgq::SelectStmt& arm) -> Result<Output> {
    ECLUSE_TRY(Output output, Query(arm, &scope, carry, top));
    if (arm.op() == pgq::SETOP_NONE && !output.hidden.empty()) {
      // Arms further in keep their numbers where there are several; what is one arm gets one of its own.
      const int first = output.hidden.front().arm;
      const bool several = std::ranges::any_of(output.hidden, [&](const auto& hidden) { return hidden.arm != first; });
      const int arm_number = ++arms_;
      for (Output::Hidden& hidden : output.hidden) hidden.arm = several ? hidden.arm : arm_number;
    }
    return output;
  };
  ECLUSE_TRY(Output left, side(select.larg()));
  ECLUSE_TRY(Output right, side(select.rarg()));
  ECLUSE_OK(CheckWidth(0, left.hidden.size() + right.hidden.size()));
  Output output;
  output.touches = left.touches || right.touches;
  if (output.guarded() && select.op() != pgq::SETOP_UNION) {
    return Refuse(-1, "plan.set-operation", "INTERSECT and EXCEPT over guarded tables cannot be counted",
                  "Write it as a join, or with EXISTS tied by the subject column.");
  }
  if (left.columns.size() != right.columns.size()) {
    return Refuse(-1, "plan.set-operation", "each query of a UNION must have the same number of columns", {});
  }
  output.columns = left.columns;
  for (size_t i = 0; i < output.columns.size(); ++i) {
    Column& column = output.columns[i];
    const Column& other = right.columns[i];
    if (column.sealed || other.sealed) {
      return RefuseOpaque(column.sealed ? column : other, -1, "cannot go through a UNION",
                          "Send the queries one by one.");
    }
    if (column.pseudonym || other.pseudonym) {
      const auto space = [&](const Column& c) {
        return c.origin ? plan_->tables[static_cast<size_t>(c.origin->table_ref)].space : std::string();
      };
      if (!column.pseudonym || !other.pseudonym || space(column) != space(other)) {
        return Refuse(-1, "plan.pseudonym", "a pseudonym can only be united with the same people's pseudonym", {});
      }
    } else {
      column.origin.reset();
    }
    column.on_aggregate |= other.on_aggregate;
    column.outer_aggregate |= other.outer_aggregate;
    column.constants.clear();
  }
  Level level;
  level.scope = &scope;
  for (const pgq::Node& node : select.sort_clause()) {
    const pgq::Node& key = node.sort_by().node();
    if (!key.has_a_const() && !(key.has_column_ref() && key.column_ref().fields_size() == 1)) {
      return Refuse(-1, "plan.set-operation", "ORDER BY behind a UNION takes output names and positions", {});
    }
  }
  ECLUSE_OK(Sort(select, level, output));
  ECLUSE_OK(Limits(select, level, top && &select == statement_, output.guarded()));
  output.ordered = left.ordered || right.ordered || level.sorts_own || level.sorts_on_aggregate;
  output.single = left.single || right.single;
  if (output.guarded()) ECLUSE_OK(KeepsOrdered(select, output.ordered || output.single));
  output.over_cut = left.cut || right.cut;
  if (output.over_cut && (select.has_limit_count() || select.has_limit_offset())) return CutAgain("a second LIMIT");
  if (select.locking_clause_size() > 0) return Refuse(-1, "plan.locking", "a UNION cannot lock rows", {});
  ECLUSE_OK(OuterAggregates(select, level.saw_outer_aggregate, output));
  if (carry == Carry::tied || !output.guarded()) return output;

  if (left.leaves.empty() || right.leaves.empty()) {
    // One arm is about nobody: it still needs columns of the others' shape.
    const pgq::SelectStmt* arm = left.leaves.empty() ? &select.larg() : &select.rarg();
    if (arm->op() != pgq::SETOP_NONE || arm->target_list_size() == 0 ||
        arm->target_list(0).res_target().location() < 0) {
      return Refuse(-1, "plan.set-operation", "VALUES cannot be united with guarded rows",
                    "Write SELECT for each row.");
    }
    const SelectClauses* clauses = clauses_.OfTarget(static_cast<size_t>(arm->target_list(0).res_target().location()));
    if (clauses == nullptr || clauses->list_begin >= clauses->list_end || arm->distinct_clause_size() > 0) {
      return Refuse(-1, "plan.set-operation", "this arm of the UNION cannot be rewritten", "Put it into a sub-select.");
    }
    Leaf& leaf = leaves_.emplace_back();
    leaf.visible = output.columns.size();
    leaf.insert_at = clauses_.tokens()[clauses->list_end - 1].end;
    (left.leaves.empty() ? left : right).leaves.push_back(&leaf);
  }
  for (Leaf* leaf : left.leaves) leaf->items.insert(leaf->items.end(), right.hidden.size(), "NULL::pg_catalog.text");
  for (Leaf* leaf : right.leaves) leaf->items.insert(leaf->items.begin(), left.hidden.size(), "NULL::pg_catalog.text");
  output.hidden = left.hidden;
  output.hidden.insert(output.hidden.end(), right.hidden.begin(), right.hidden.end());
  for (Output::Hidden& hidden : output.hidden) hidden.limited |= !hidden.tied;
  output.cut = output.over_cut || select.has_limit_count() || select.has_limit_offset();
  output.leaves = left.leaves;
  output.leaves.insert(output.leaves.end(), right.leaves.begin(), right.leaves.end());
  if (!select.all() && std::ranges::any_of(output.columns, &Column::pseudonym)) {
    return Refuse(-1, "plan.pseudonym", "UNION of pseudonyms would put rows in the order of what they hide",
                  "Write UNION ALL.");
  }
  if (!select.all() && !merged_unions_.contains(&select)) ECLUSE_OK(WrapUnion(select, output));
  return output;
}

namespace {

const pgq::SelectStmt& First(const pgq::SelectStmt& select) {
  const pgq::SelectStmt* leaf = &select;
  while (leaf->op() != pgq::SETOP_NONE) leaf = &leaf->larg();
  return *leaf;
}
const pgq::SelectStmt& Last(const pgq::SelectStmt& select) {
  const pgq::SelectStmt* leaf = &select;
  while (leaf->op() != pgq::SETOP_NONE) leaf = &leaf->rarg();
  return *leaf;
}

}  // namespace

// UNION removes duplicates, and what it removes is still about somebody: it becomes UNION ALL inside a sub-select that
// is grouped by all of its output columns.
Status Analyzer::WrapUnion(const pgq::SelectStmt& select, Output& output) {
  const auto refuse = [&] {
    return Refuse(-1, "plan.set-operation", "this UNION cannot be rewritten",
                  "Use UNION ALL, or put the UNION into a sub-select of its own.");
  };
  const auto clauses_of = [&](const pgq::SelectStmt& leaf) -> const SelectClauses* {
    if (leaf.target_list_size() == 0 || leaf.target_list(0).res_target().location() < 0) return nullptr;
    return clauses_.OfTarget(static_cast<size_t>(leaf.target_list(0).res_target().location()));
  };
  const SelectClauses* first = clauses_of(First(select));
  const SelectClauses* before = clauses_of(Last(select.larg()));
  const SelectClauses* after = clauses_of(First(select.rarg()));
  if (first == nullptr || before == nullptr || after == nullptr) return refuse();
  // The word UNION of this node: the outermost one between its two sides.
  size_t word = Clauses::npos;
  for (size_t i = before->select; i < after->select; ++i) {
    if (clauses_.Word(i, "union") &&
        (word == Clauses::npos || clauses_.tokens()[i].depth <= clauses_.tokens()[word].depth)) {
      word = i;
    }
  }
  if (word == Clauses::npos) return refuse();
  const uint32_t depth = clauses_.tokens()[word].depth;
  size_t begin = first->select;
  while (begin > 0 && clauses_.Symbol(begin - 1, "(") && clauses_.tokens()[begin - 1].depth >= depth) --begin;
  if (clauses_.tokens()[begin].depth != depth) return refuse();
  const size_t enclosing = clauses_.Enclosing(word);
  const size_t stop = enclosing == Clauses::npos ? clauses_.tokens().size() : clauses_.Partner(enclosing);
  size_t end = word + 1;
  for (; end < stop; ++end) {
    if (clauses_.tokens()[end].depth != depth) continue;
    if (clauses_.Word(end, "order") || clauses_.Word(end, "limit") || clauses_.Word(end, "offset") ||
        clauses_.Word(end, "fetch") || clauses_.Symbol(end, ";")) {
      break;
    }
    // A further arm of the same level would belong to an outer node whose duplicates are kept.
    if (clauses_.Word(end, "union")) return refuse();
  }
  for (size_t i = begin; i < end; ++i) {
    if (clauses_.tokens()[i].depth != depth || !clauses_.Word(i, "union")) continue;
    if (clauses_.Word(i + 1, "distinct")) {
      splices_.Replace(clauses_.tokens()[i + 1].begin, clauses_.tokens()[i + 1].end, "ALL");
    } else if (!clauses_.Word(i + 1, "all")) {
      splices_.Insert(clauses_.tokens()[i].end, " ALL");
    }
  }
  std::string list, names, by, hidden;
  for (size_t i = 0; i < output.columns.size(); ++i) {
    const std::string name = "\"__ecluse_c" + std::to_string(i + 1) + '"';
    list += (i > 0 ? ", " : "") + ("\"__ecluse_u\"." + name) + " AS " + QuoteIdentifier(output.columns[i].name);
    names += (i > 0 ? ", " : "") + name;
    by += (i > 0 ? ", " : "") + std::to_string(i + 1);
  }
  for (size_t i = 0; i < output.hidden.size(); ++i) {
    const std::string column = "\"__ecluse_s" + std::to_string(i + 1) + '"';
    hidden += ", pg_catalog.string_agg(DISTINCT \"__ecluse_u\"." + column + ", E'\\x1f') AS " + column;
    names += ", " + column;
  }
  ECLUSE_OK(ApplyLeaves(output.leaves));
  output.leaves.clear();
  splices_.Insert(clauses_.tokens()[begin].begin, "SELECT " + list + hidden + " FROM (");
  splices_.Insert(clauses_.tokens()[end - 1].end, ") AS \"__ecluse_u\" (" + names + ") GROUP BY " + by);
  return {};
}

}  // namespace ecluse
