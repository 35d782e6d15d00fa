// SELECT: one query level, whom its rows are about, and the hidden columns that carry them upwards.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {
namespace {

// E'\x1f', which is kSubjectSeparator.
const std::string kAggregateSubjects = "pg_catalog.string_agg(";
const std::string kSeparator = ", E'\\x1f')";

}  // namespace

Result<Output> Analyzer::Query(const pgq::SelectStmt& select, const Scope* parent, Carry carry, bool top) {
  if (select.has_into_clause()) return Refuse(-1, "plan.into", "SELECT INTO is not available here", "Leave INTO out.");
  Scope scope;
  scope.parent = parent;
  if (select.has_with_clause()) ECLUSE_OK(With(select.with_clause(), scope));
  if (select.values_lists_size() > 0) return Values(select, scope);
  if (select.op() != pgq::SETOP_NONE) return SetOperation(select, scope, carry, top);
  return SelectLeaf(select, scope, carry, top);
}

Status Analyzer::With(const pgq::WithClause& with, Scope& scope) {
  for (int number = 0; number < with.ctes_size(); ++number) {
    const pgq::CommonTableExpr& cte = with.ctes(number).common_table_expr();
    if (!cte.ctequery().has_select_stmt()) {
      return Refuse(cte.location(), "plan.cte-write", "a WITH query that writes is not available here",
                    "Send INSERT, UPDATE or DELETE as a statement of its own, with RETURNING.");
    }
    if (cte.has_search_clause() || cte.has_cycle_clause()) {
      return Refuse(cte.location(), "plan.recursive", "SEARCH and CYCLE are not available here", {});
    }
    Scope around;
    around.parent = scope.parent;
    around.ctes = scope.ctes;
    // Under RECURSIVE, a name of the list means its own query from the first one on, before it is known here.
    for (int i = number; with.recursive() && i < with.ctes_size(); ++i) {
      around.ctes.push_back({with.ctes(i).common_table_expr().ctename(), -1});
    }
    const pgq::SelectStmt& select = cte.ctequery().select_stmt();
    if (with.recursive() && select.op() == pgq::SETOP_UNION &&
        (select.has_with_clause() || select.sort_clause_size() > 0 || select.has_limit_count() ||
         select.has_limit_offset() || select.locking_clause_size() > 0)) {
      return Refuse(cte.location(), "plan.recursive",
                    "a recursive UNION takes no WITH, ORDER BY, LIMIT or lock of its own",
                    "Write them around the reference to \"" + cte.ctename() + "\".");
    }
    auto output = with.recursive() && select.op() == pgq::SETOP_UNION ? RecursiveCte(select, cte, around)
                                                                      : Query(select, &around, Carry::hidden, false);
    if (!output) return std::unexpected(std::move(output).error());
    ECLUSE_OK(ApplyLeaves(output->leaves));
    const auto names = NameParts(cte.aliascolnames());
    if (names.size() > output->columns.size()) {
      return Refuse(cte.location(), "plan.alias-list",
                    "WITH query \"" + cte.ctename() + "\" has fewer columns than named", {});
    }
    for (size_t i = 0; i < names.size(); ++i) output->columns[i].name = names[i];
    scope.ctes.push_back({cte.ctename(), static_cast<int>(outputs_.size())});
    outputs_.push_back(std::move(*output));
  }
  return {};
}

Result<Output> Analyzer::RecursiveCte(const pgq::SelectStmt& select, const pgq::CommonTableExpr& cte, Scope& scope) {
  ECLUSE_TRY(Output first, Query(select.larg(), &scope, Carry::hidden, false));
  const auto names = NameParts(cte.aliascolnames());
  for (size_t i = 0; i < names.size() && i < first.columns.size(); ++i) first.columns[i].name = names[i];
  scope.ctes.push_back({cte.ctename(), static_cast<int>(outputs_.size())});
  outputs_.push_back(first);
  ECLUSE_TRY(const Output second, Query(select.rarg(), &scope, Carry::hidden, false));
  if (first.guarded() || second.guarded()) {
    return Refuse(cte.location(), "plan.recursive", "a recursive query over guarded tables cannot be counted",
                  "Follow the links one statement at a time.");
  }
  if (first.columns.size() != second.columns.size()) {
    return Refuse(cte.location(), "plan.recursive",
                  "both queries of a recursive WITH must have the same number of columns", {});
  }
  for (size_t i = 0; i < first.columns.size(); ++i) {
    Column& column = first.columns[i];
    const Column& other = second.columns[i];
    if (column.opaque() || other.opaque()) {
      return RefuseOpaque(column.opaque() ? column : other, cte.location(), "cannot go through a recursive query",
                          "Select it as it is.");
    }
    // What the second query hands to itself was looked at before this was known, and duplicates may be removed.
    if (column.on_aggregate || other.on_aggregate) {
      return Refuse(cte.location(), "plan.aggregate-condition",
                    "an aggregate in a recursive query would tell of people who are not counted",
                    "Show the aggregate beside the recursive query.");
    }
    column.origin.reset();
  }
  return first;
}

Result<Output> Analyzer::Values(const pgq::SelectStmt& select, Scope& scope) {
  Level level;
  level.scope = &scope;
  Output output;
  listed_values_ += std::max(0, select.values_lists_size() - 1);
  for (const pgq::Node& row : select.values_lists()) {
    ECLUSE_OK(Expression(row, level, Place::values));
    for (int i = 0; i < row.list().items_size(); ++i) {
      if (output.columns.size() <= static_cast<size_t>(i)) {
        output.columns.push_back({.name = "column" + std::to_string(i + 1), .origin = {}, .constants = {}});
      }
      if (auto value = ValueOf(row.list().items(i))) {
        output.columns[static_cast<size_t>(i)].constants.push_back(std::move(*value));
      }
    }
  }
  for (Column& column : output.columns) {
    column.on_aggregate = level.saw_on_aggregate;
    column.outer_aggregate = level.saw_outer_aggregate;
  }
  ECLUSE_OK(Sort(select, level, output));
  ECLUSE_OK(Limits(select, level, false, false));
  return output;
}

Result<Output> Analyzer::SelectLeaf(const pgq::SelectStmt& select, Scope& scope, Carry carry, bool top) {
  const bool whole = top && &select == statement_;  // else an arm of a UNION, or further in
  const std::optional<Membership> membership =
      membership_ && membership_->select == &select ? std::exchange(membership_, std::nullopt) : std::nullopt;
  std::vector<Cross> around = std::exchange(crosses_, {});
  const pgq::JoinExpr* join = std::exchange(join_, nullptr);
  std::vector<const FromItem*> before;
  for (const pgq::Node& node : select.from_clause()) {
    ECLUSE_TRY(FromItem * item, From(node, scope, before));
    before.push_back(item);
  }
  scope.items = before;
  scope.nulled = std::ranges::any_of(select.group_clause(), &pgq::Node::has_grouping_set);
  Known known = KnownOf(scope);
  ECLUSE_OK(CheckWidth(0, known.all.nodes.size()));
  const bool guarded = !known.all.nodes.empty();

  Level level;
  level.scope = &scope;
  level.nodes = known.all.nodes;
  const size_t resolves = plan_->resolve.size();
  if (select.has_where_clause()) {
    NoteConjuncts(select.where_clause());
    ECLUSE_OK(Expression(select.where_clause(), level, Place::where));
    ECLUSE_TRY(const auto ties, Ties(select.where_clause(), scope));
    known.all.equal.insert(known.all.equal.end(), ties.begin(), ties.end());
  }
  const SelectClauses* clauses = nullptr;
  if (select.target_list_size() > 0 && select.target_list(0).res_target().location() >= 0) {
    clauses = clauses_.OfTarget(static_cast<size_t>(select.target_list(0).res_target().location()));
  }
  ECLUSE_OK(FinishCrossings(select, scope, clauses));
  crosses_ = std::move(around);
  join_ = join;
  if (guarded && (clauses == nullptr || clauses->list_begin >= clauses->list_end)) {
    return Refuse(-1, "plan.no-list", "a SELECT over guarded tables needs a select list", "Name the columns you need.");
  }

  Output output;
  const bool distinct = select.distinct_clause_size() > 0;
  const bool distinct_on = IsDistinctOn(select);
  level.named = !whole || distinct_on || std::ranges::any_of(select.sort_clause(), [](const auto& n) {
    return n.sort_by().node().has_column_ref() && n.sort_by().node().column_ref().fields_size() == 1;
  });
  ECLUSE_OK(Targets(select.target_list(), clauses == nullptr ? Clauses::npos : clauses->list_end, level,
                    carry == Carry::hidden || membership.has_value(), output));
  Grouping grouping;
  for (const pgq::Node& item : select.group_clause()) ECLUSE_OK(GroupItem(item, select, output, level, grouping));
  if (distinct_on) {
    for (const pgq::Node& item : select.distinct_clause()) ECLUSE_OK(SortKey(item, level, output, Place::group));
  }
  for (const pgq::Node& window : select.window_clause()) {
    const pgq::WindowDef& def = window.window_def();
    if (guarded) {
      return Refuse(def.location(), "plan.window", "named windows are not available over guarded rows",
                    "Write the window out: OVER (PARTITION BY … ORDER BY …).");
    }
    for (const pgq::Node& part : def.partition_clause()) ECLUSE_OK(Expression(part, level, Place::select_list));
    for (const pgq::Node& sort : def.order_clause()) {
      ECLUSE_OK(Expression(sort.sort_by().node(), level, Place::select_list));
    }
    if (def.has_start_offset()) ECLUSE_OK(Expression(def.start_offset(), level, Place::select_list));
    if (def.has_end_offset()) ECLUSE_OK(Expression(def.end_offset(), level, Place::select_list));
  }
  ECLUSE_OK(Sort(select, level, output));
  // What is left out behind the grouping would be left out of somebody else's rows as well.
  if (membership && !level.windows && !level.set_returning && !output.columns.empty() &&
      output.columns.front().origin && !distinct_on && (membership->conjunct || !output.columns.front().nullable) &&
      !select.has_limit_count() && !select.has_limit_offset() && !output.columns.front().on_aggregate) {
    const Origin& own = *output.columns.front().origin;
    const bool keyed =
        select.group_clause_size() == 0 ? !level.aggregates : grouping.keys.contains({own.node, own.column});
    if (keyed && !grouping.sets && SameSubject(membership->origin, own)) {
      known.all.equal.emplace_back(membership->origin.node, own.node);
    }
  }
  if (select.has_having_clause()) {
    ECLUSE_OK(Expression(select.having_clause(), level, Place::having));
    if (guarded && (grouping.sets || !known.Covered(KeyNodes(grouping)))) {
      return Refuse(-1, "plan.having", "HAVING tells of groups of people who are not counted",
                    "Add the subject column to GROUP BY, or show the aggregate instead of filtering by it.");
    }
  }
  const bool grouped = level.aggregates || select.group_clause_size() > 0 || select.has_having_clause();
  output.touches = guarded;
  output.single = guarded && ((grouped && select.group_clause_size() == 0) || grouping.empty_set);

  ECLUSE_OK(Limits(select, level, whole, guarded));
  if (select.locking_clause_size() > 0) ECLUSE_OK(Locking(select, scope));
  ECLUSE_OK(OuterAggregates(select, level.saw_outer_aggregate, output));
  if (!guarded) return output;

  ECLUSE_OK(CompleteGroup(level, clauses, grouping));
  // An aggregate over one person's rows tells of that person alone.
  const bool of_one = !grouping.sets && known.Covered(KeyNodes(grouping));
  if (of_one) {
    for (Column& column : output.columns) column.on_aggregate &= !column.own_aggregate;
  }
  output.ordered = level.sorts_on_aggregate || (level.sorts_own && !of_one) ||
                   std::ranges::any_of(scope.items, [](const FromItem* item) { return item->ordered; });
  ECLUSE_OK(KeepsOrdered(select, output.ordered));
  for (Column& column : output.columns) {
    column.own_aggregate = false;
    if (grouping.sets) column.origin.reset();  // its NULL stands for everybody
  }
  if (output.single && !top) ECLUSE_OK(MustBeTied(known, "an aggregate without GROUP BY below the top level"));
  if (carry == Carry::tied) {
    ECLUSE_OK(MustBeTied(known, "a sub-select"));
    return output;
  }
  ECLUSE_OK(KeepsAll(select, level));

  // An equality on a unique column that is all the statement asks needs no look of its own: the row, or its absence,
  // tells the same. Beside other conditions, whoever it names is looked up first.
  const bool alone = whole && select.from_clause_size() == 1 && select.from_clause(0).has_range_var() && !grouped &&
                     !select.has_limit_count() && !select.has_limit_offset() && select.where_clause().has_a_expr() &&
                     select.where_clause().a_expr().kind() == pgq::AEXPR_OP;
  if (alone && plan_->resolve.size() == resolves + 1 && resolve_exprs_.back() == &select.where_clause().a_expr()) {
    plan_->resolve.pop_back();
    resolve_exprs_.pop_back();
  }

  Leaf& leaf = leaves_.emplace_back();
  leaf.visible = output.columns.size();
  leaf.insert_at = clauses_.tokens()[clauses->list_end - 1].end;
  output.leaves.push_back(&leaf);
  if (distinct && !distinct_on) {
    const auto opaque = std::ranges::find_if(
        output.columns, [&](const Column& column) { return column.opaque() && (column.pseudonym || !Linked(column)); });
    if (opaque != output.columns.end()) {
      return RefuseOpaque(*opaque, -1, "cannot be made distinct", "Select it without DISTINCT.");
    }
    if (grouped || level.windows) {
      return Refuse(-1, "plan.distinct", "DISTINCT over groups or windows cannot be counted",
                    "Put the grouped query into a sub-select and write SELECT DISTINCT around it.");
    }
    const Token& word = clauses_.tokens()[clauses->distinct];
    splices_.Replace(word.begin, word.end, "");
    std::string by = " GROUP BY ";
    for (size_t i = 1; i <= leaf.visible; ++i) by += (i > 1 ? ", " : "") + std::to_string(i);
    const size_t stop = clauses->tail != Clauses::npos ? clauses->tail : clauses->end;
    splices_.Insert(clauses_.tokens()[stop - 1].end, std::move(by));
  }
  ECLUSE_OK(Items(level, known, grouped || (distinct && !distinct_on), leaf, output));
  // Rows cut from one counted person's rows tell of that person alone. What was cut before it was tied stays cut.
  const bool others = distinct_on && (grouping.sets || !known.Covered(PickedBy(select, scope, output)));
  const bool limited = (others || select.has_limit_count() || select.has_limit_offset()) && !known.Covered({});
  output.over_cut = std::ranges::any_of(scope.items, [](const FromItem* item) { return item->cut; });
  output.cut = limited || output.over_cut;
  const std::set<int> tied = Closure(known.outer, known.all.equal);
  for (Output::Hidden& hidden : output.hidden) {
    hidden.limited |= limited || known.all.limited.contains(hidden.node);
    hidden.tied = !hidden.limited && (tied.contains(hidden.node) || known.all.tied.contains(hidden.node));
    hidden.anchored = known.all.anchors.contains(hidden.node);
  }
  if (&select == statement_ && !distinct && StatisticForm(select, scope))
    ECLUSE_OK(StatisticItems(level, leaf, output));
  return output;
}

Status Analyzer::Items(const Level& level, const Known& known, bool grouped, Leaf& leaf, Output& output) {
  for (const int node : known.all.nodes) {
    const NodeInfo& info = nodes_[static_cast<size_t>(node)];
    std::string item = info.expression;
    if (grouped) item = kAggregateSubjects + "DISTINCT " + item + kSeparator;
    bool ranked = false;  // among other people's rows
    if (level.rankings) {
      ECLUSE_TRY(std::string partition, Ranking(level, known, item));
      ranked = partition != item;
      item = std::move(partition);
    }
    leaf.items.push_back(std::move(item));
    output.hidden.push_back({.table_ref = info.table_ref, .node = node, .limited = ranked});
    const auto opened = [&](const Column& column) {
      return column.sealed && column.origin && column.origin->node == node;
    };
    if (!ranked || !std::ranges::any_of(output.columns, opened)) continue;
    // What is opened is opened for the row's own person, who is one of those.
    const std::string own = info.expression;
    const int table_ref = info.table_ref;
    const int alone = NewNode(table_ref, own);
    for (Column& column : output.columns) {
      if (opened(column)) column.origin->node = alone;
    }
    leaf.items.push_back(own);
    output.hidden.push_back({.table_ref = table_ref, .node = alone, .limited = ranked});
  }
  return {};
}

Result<std::string> Analyzer::Ranking(const Level& level, const Known& known, const std::string& item) {
  std::string all;
  for (const Level::Window& window : level.ranking_windows) {
    std::set<std::pair<int, int>> keys;
    std::string by;
    for (const pgq::Node* part : window.partition) {
      const auto column = ColumnOf(*part, *level.scope);
      if (!column) {
        return Refuse(window.over->location(), "plan.window", "PARTITION BY over guarded rows takes plain columns",
                      "Name columns, or compute the value in a sub-select.");
      }
      if (column->column.origin) keys.insert({column->column.origin->node, column->column.origin->column});
      by += (by.empty() ? "PARTITION BY " : ", ") + column->sql;
    }
    Grouping grouping;
    grouping.keys = std::move(keys);
    // Within one person's rows, a rank tells of that person alone.
    if (!level.scope->nulled && known.Covered(KeyNodes(grouping))) continue;
    const std::string whole = kAggregateSubjects + item + kSeparator + " OVER (" + by + ")";
    all = all.empty() ? whole : "pg_catalog.concat_ws(E'\\x1f', " + all + ", " + whole + ")";
  }
  return all.empty() ? item : all;
}

Status Analyzer::Locking(const pgq::SelectStmt& select, const Scope& scope) {
  std::set<std::string> named;  // FOR UPDATE OF these; empty: of all
  bool all = false;
  for (const pgq::Node& node : select.locking_clause()) {
    for (const pgq::Node& of : node.locking_clause().locked_rels()) named.insert(of.range_var().relname());
    all |= node.locking_clause().locked_rels().empty();
    if (node.locking_clause().wait_policy() != pgq::LockWaitBlock) {
      return Refuse(-1, "plan.locking", "SKIP LOCKED and NOWAIT tell of rows that others hold", "Leave them out.");
    }
  }
  std::vector<int> locked;
  for (const FromItem* item : scope.items) {
    for (const auto& relation : item->relations) {
      if (all || named.contains(relation->alias))
        locked.insert(locked.end(), relation->nodes.begin(), relation->nodes.end());
    }
  }
  for (const int node : locked) {
    const GuardedView& view = *views_[static_cast<size_t>(nodes_[static_cast<size_t>(node)].table_ref)];
    const bool writes = view.may_delete || std::ranges::any_of(view.columns, &ViewColumn::updatable);
    if (!writes) {
      return Forbid(-1, "plan.locking", "this role may not lock rows of " + view.table.Text(),
                    "Only roles that may update or delete there can.");
    }
    if (plan_->written_in && *plan_->written_in != view.compartment) {
      return Refuse(-1, "plan.compartment", "rows of different compartments are not locked together",
                    "Name the one table in FOR UPDATE OF.");
    }
    plan_->written_in = view.compartment;  // the transaction's number is left in them
  }
  return {};
}

}  // namespace ecluse
