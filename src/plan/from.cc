// FROM: tables, joins and sub-selects become items with columns, hidden sources and ties.
#include <algorithm>

#include "base/limits.h"
#include "plan/analyzer.h"

namespace ecluse {
namespace {

const std::string kTieHint =
    "Join the table that may be missing on its subject column with the subject column of a table that is not, as in "
    "`LEFT JOIN involvement i ON i.person_id = p.person_id`.";

}  // namespace

int Analyzer::NewNode(int table_ref, std::string expression) {
  nodes_.push_back({table_ref, std::move(expression)});
  return static_cast<int>(nodes_.size()) - 1;
}

std::vector<std::string> Analyzer::AliasColumns(const pgq::Alias& alias) const { return NameParts(alias.colnames()); }

Status Analyzer::Rename(Relation& relation, const pgq::Alias& alias) {
  const std::vector<std::string> names = AliasColumns(alias);
  if (names.size() > relation.columns.size()) {
    return Refuse(-1, "plan.alias-list",
                  "table \"" + relation.alias + "\" has " + std::to_string(relation.columns.size()) +
                      " columns available but " + std::to_string(names.size()) + " columns specified",
                  "Name at most the columns you may see.");
  }
  for (size_t i = 0; i < names.size(); ++i) relation.columns[i].name = names[i];
  return {};
}

Result<FromItem*> Analyzer::From(const pgq::Node& node, Scope& scope, std::vector<const FromItem*>& before) {
  if (items_.size() > limits::kRelationsPerStatement) {
    return Refuse(-1, "plan.too-complex", "the statement uses too many tables", "Send it in smaller statements.");
  }
  switch (node.node_case()) {
    case pgq::Node::kRangeVar:
      return Table(node.range_var(), scope);
    case pgq::Node::kJoinExpr:
      return Join(node.join_expr(), scope, before);
    case pgq::Node::kRangeSubselect:
      return SubSelect(node.range_subselect(), scope, before);
    case pgq::Node::kRangeFunction:
      return Function(node.range_function(), scope, before);
    case pgq::Node::kRangeTableSample:
      return Refuse(-1, "plan.tablesample", "TABLESAMPLE is not available here: who is left out cannot be counted",
                    "Use LIMIT.");
    default:
      return Refuse(-1, "plan.from", "this kind of FROM item is not understood", "Use tables, joins and sub-selects.");
  }
}

Result<FromItem*> Analyzer::Table(const pgq::RangeVar& range, const Scope& scope) {
  const std::string& name = range.relname();
  seen_.insert(&range);
  if (!range.catalogname().empty()) {
    return Refuse(range.location(), "plan.name", "names with a database in front are not understood",
                  "Write schema.table.");
  }
  if (!range.inh()) return Refuse(range.location(), "plan.only", "ONLY is not available here", "Leave ONLY out.");
  const std::string alias = range.has_alias() ? range.alias().aliasname() : name;
  const size_t first = clauses_.TokenAt(static_cast<size_t>(range.location()));
  if (first == Clauses::npos)
    return Refuse(range.location(), "plan.name", "this table name cannot be found in the text", {});
  const size_t last = range.schemaname().empty() ? first : first + 2;
  const size_t begin = clauses_.tokens()[first].begin;
  const size_t end = clauses_.tokens()[std::min(last, clauses_.tokens().size() - 1)].end;

  if (range.schemaname().empty()) {
    for (const Scope* level = &scope; level != nullptr; level = level->parent) {
      for (auto cte = level->ctes.rbegin(); cte != level->ctes.rend(); ++cte) {
        if (cte->name != name) continue;
        if (cte->output < 0) {
          return Refuse(range.location(), "plan.recursive",
                        "\"" + name + "\" stands before the WITH query it means, or inside its own first arm",
                        "Write the WITH queries in the order of their use; leave RECURSIVE out where none is.");
        }
        return Derived(outputs_[static_cast<size_t>(cte->output)], alias, range.has_alias() ? &range.alias() : nullptr,
                       {});
      }
    }
  }
  FromItem* item = NewItem();
  auto relation = std::make_shared<Relation>();
  relation->alias = alias;
  if (!range.has_alias()) relation->schema = range.schemaname();
  item->relations.push_back(relation);

  const ShadowRelation* shadow = nullptr;
  if (const auto it = schema_.shadows.find({range.schemaname().empty() ? "pg_catalog" : range.schemaname(), name});
      it != schema_.shadows.end()) {
    shadow = &it->second;
  }
  if (shadow == nullptr && range.schemaname().empty()) shadow = FindTable(schema_.shadows, {}, name);
  if (shadow != nullptr) {
    relation->kind = RelationKind::shadow;
    system_ = true;
    for (const OpenColumn& column : shadow->columns) {
      relation->columns.push_back({.name = column.name, .origin = {}, .type = column.type, .constants = {}});
    }
    std::string sql = QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(shadow->view);
    if (!range.has_alias()) sql += " AS " + QuoteIdentifier(name);
    splices_.Replace(begin, end, std::move(sql));
  } else if (const GuardedView* view = FindGuarded(range.schemaname(), name)) {
    relation->kind = RelationKind::guarded;
    relation->view = view;
    unsystem_ = true;
    if (!range.has_alias()) relation->schema = view->table.schema;
    relation->table_ref = static_cast<int>(plan_->tables.size());
    plan_->tables.push_back({view->table, view->space, {}, view->own_keys, view->compartment});
    views_.push_back(view);
    const int node = NewNode(relation->table_ref, QuoteIdentifier(alias) + ".\"__subject\"");
    item->nodes.push_back(node);
    relation->nodes.push_back(node);
    for (size_t i = 0; i < view->columns.size(); ++i) {
      const ViewColumn& column = view->columns[i];
      relation->columns.push_back({.name = column.name,
                                   .origin = Origin{node, relation->table_ref, static_cast<int>(i)},
                                   .pseudonym = column.mask.kind == Mask::Kind::pseudonym,
                                   .sealed = column.sealed.has_value(),
                                   .tokens = column.sealed ? QuoteIdentifier(alias) + "." : std::string(),
                                   .readable = column.readable,
                                   .type = column.type,
                                   .constants = {}});
    }
    std::string sql = QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(view->view);
    if (!range.has_alias()) sql += " AS " + QuoteIdentifier(name);
    splices_.Replace(begin, end, std::move(sql));
  } else if (const OpenTable* open = FindTable(schema_.open, range.schemaname(), name)) {
    relation->kind = RelationKind::open;
    unsystem_ = true;
    if (!range.has_alias()) relation->schema = open->table.schema;
    for (const OpenColumn& column : open->columns) {
      relation->columns.push_back({.name = column.name, .origin = {}, .type = column.type, .constants = {}});
    }
    if (range.schemaname().empty()) {
      splices_.Replace(begin, end, QuoteIdentifier(open->table.schema) + "." + QuoteIdentifier(name));
    }
  } else {
    return NameError(
        range.location(), sqlstate::kUndefinedTable,
        "relation \"" + (range.schemaname().empty() ? name : range.schemaname() + "." + name) + "\" does not exist");
  }
  if (range.has_alias()) ECLUSE_OK(Rename(*relation, range.alias()));
  for (const Column& column : relation->columns) {
    if (column.readable) {
      item->star.push_back({QuoteIdentifier(alias) + "." + QuoteIdentifier(column.name), column});
    }
  }
  return item;
}

Result<FromItem*> Analyzer::Derived(const Output& output, std::string alias, const pgq::Alias* alias_node,
                                    const std::vector<std::string>& renamed) {
  FromItem* item = NewItem();
  auto relation = std::make_shared<Relation>();
  relation->kind = RelationKind::subquery;
  relation->alias = std::move(alias);
  std::map<int, int> carried;  // the query's own node -> the node this level sees
  for (size_t i = 0; i < output.hidden.size(); ++i) {
    const Output::Hidden& hidden = output.hidden[i];
    const int node =
        NewNode(hidden.table_ref, QuoteIdentifier(relation->alias) + ".\"__ecluse_s" + std::to_string(i + 1) + '"');
    carried[hidden.node] = node;
    item->nodes.push_back(node);
    relation->nodes.push_back(node);
    if (hidden.limited) item->limited.insert(node);
    item->cut = output.cut;
    item->ordered = output.ordered;
    if (hidden.tied) item->tied.insert(node);
  }
  for (const Output::Hidden& hidden : output.hidden) {
    // What hung on another table inside still hangs on it.
    if (hidden.anchored) item->anchors[carried[hidden.node]] = carried[output.hidden.front().node];
  }
  relation->columns = output.columns;
  for (size_t i = 0; i < renamed.size() && i < relation->columns.size(); ++i) relation->columns[i].name = renamed[i];
  for (Column& column : relation->columns) {
    column.tokens.clear();
    if (!column.origin) continue;
    const auto it = carried.find(column.origin->node);
    if (it == carried.end()) {
      column.origin.reset();
    } else {
      column.origin->node = it->second;
    }
  }
  if (alias_node != nullptr) ECLUSE_OK(Rename(*relation, *alias_node));
  for (const Column& column : relation->columns) {
    item->star.push_back({QuoteIdentifier(relation->alias) + "." + QuoteIdentifier(column.name), column});
  }
  item->relations.push_back(std::move(relation));
  return item;
}

Result<FromItem*> Analyzer::SubSelect(const pgq::RangeSubselect& sub, const Scope& scope,
                                      std::vector<const FromItem*>& before) {
  if (!sub.subquery().has_select_stmt() || !sub.has_alias()) {
    return Refuse(-1, "plan.from", "a sub-select in FROM must have an alias", "Write (SELECT …) AS name.");
  }
  // Siblings are visible under LATERAL alone; names of WITH always are.
  Scope outer;
  outer.parent = scope.parent;
  outer.ctes = scope.ctes;
  if (sub.lateral()) outer.items = before;
  ECLUSE_TRY(Output output, Query(sub.subquery().select_stmt(), &outer, Carry::hidden, false));
  ECLUSE_OK(ApplyLeaves(output.leaves));
  return Derived(output, sub.alias().aliasname(), &sub.alias(), {});
}

Status Analyzer::OuterTie(const FromItem& counted, const FromItem& missing, const std::vector<std::pair<int, int>>& on,
                          int location) {
  if (missing.nodes.empty()) return {};
  std::set<int> start(counted.nodes.begin(), counted.nodes.end());
  std::vector<std::pair<int, int>> edges = on;
  edges.insert(edges.end(), counted.equal.begin(), counted.equal.end());
  edges.insert(edges.end(), missing.equal.begin(), missing.equal.end());
  const std::set<int> reached = Closure(std::move(start), edges);
  for (const int node : missing.nodes) {
    const bool limited = missing.limited.contains(node);
    const bool hangs = missing.tied.contains(node) || missing.anchors.contains(node);
    if (hangs && !limited) continue;
    const std::string table =
        plan_->tables[static_cast<size_t>(nodes_[static_cast<size_t>(node)].table_ref)].table.Text();
    if (!reached.contains(node) && !hangs) {
      return Refuse(location, "plan.outer-join",
                    "a missing row of " + table + " would tell of somebody who is not counted", kTieHint);
    }
    if (limited) {
      return Refuse(location, "plan.outer-join",
                    "which row of " + table + " is missing depends on people who are not counted",
                    "Put the subject equality inside the sub-select with LEFT JOIN LATERAL.");
    }
  }
  return {};
}

Result<FromItem*> Analyzer::Join(const pgq::JoinExpr& join, Scope& scope, std::vector<const FromItem*>& before) {
  if (join.has_alias() || join.has_join_using_alias()) {
    return Refuse(-1, "plan.join-alias", "an alias of a whole join, or of USING, is not available",
                  "Give the joined tables their own aliases.");
  }
  ECLUSE_TRY(FromItem * left, From(join.larg(), scope, before));
  std::vector<const FromItem*> beside = before;
  beside.push_back(left);
  ECLUSE_TRY(FromItem * right, From(join.rarg(), scope, beside));

  std::vector<std::string> common = NameParts(join.using_clause());
  const auto find = [](const FromItem& item, const std::string& name) -> const StarColumn* {
    const auto it = std::ranges::find(item.star, name, [](const StarColumn& star) { return star.column.name; });
    return it == item.star.end() ? nullptr : &*it;
  };
  if (join.is_natural()) {
    for (const StarColumn& column : left->star) {
      if (find(*right, column.column.name) != nullptr) common.push_back(column.column.name);
    }
    if (!left->nodes.empty() || !right->nodes.empty()) {
      // PostgreSQL would join on the hidden columns as well.
      if (!join.rarg().has_range_var() || common.empty()) {
        return Refuse(-1, "plan.natural", "NATURAL JOIN is not available here", "Write JOIN … USING (columns).");
      }
      const pgq::RangeVar& range = join.rarg().range_var();
      size_t natural = clauses_.TokenAt(static_cast<size_t>(range.location()));
      size_t after = natural + (range.schemaname().empty() ? 1 : 3);
      if (range.has_alias()) {
        after += clauses_.Word(after, "as") ? 2 : 1;
        if (clauses_.Symbol(after, "(")) after = clauses_.Partner(after) + 1;
      }
      for (int steps = 0; steps < 4 && natural != Clauses::npos && !clauses_.Word(natural, "natural"); ++steps)
        --natural;
      if (!clauses_.Word(natural, "natural")) {
        return Refuse(range.location(), "plan.natural", "NATURAL JOIN is not available here",
                      "Write JOIN … USING (columns).");
      }
      splices_.Replace(clauses_.tokens()[natural].begin, clauses_.tokens()[natural].end, "");
      std::string sql = " USING (";
      for (const std::string& name : common) sql += (sql.back() == '(' ? "" : ", ") + QuoteIdentifier(name);
      splices_.Insert(clauses_.tokens()[after - 1].end, sql + ")");
    }
  }

  FromItem* item = NewItem();
  item->relations = left->relations;
  item->relations.insert(item->relations.end(), right->relations.begin(), right->relations.end());
  item->nodes = left->nodes;
  item->nodes.insert(item->nodes.end(), right->nodes.begin(), right->nodes.end());
  item->limited.insert(left->limited.begin(), left->limited.end());
  item->limited.insert(right->limited.begin(), right->limited.end());
  item->cut = left->cut || right->cut;
  item->ordered = left->ordered || right->ordered;
  item->tied.insert(left->tied.begin(), left->tied.end());
  item->tied.insert(right->tied.begin(), right->tied.end());
  item->anchors.insert(left->anchors.begin(), left->anchors.end());
  item->anchors.insert(right->anchors.begin(), right->anchors.end());

  // The condition sees both sides and what is around the query, not its siblings.
  Scope inside;
  inside.parent = scope.parent;
  inside.ctes = scope.ctes;
  inside.items = {left, right};
  std::vector<std::pair<int, int>> ties;
  if (join.has_quals()) {
    NoteConjuncts(join.quals());
    Level level;
    level.scope = &inside;
    level.nodes = item->nodes;
    const pgq::JoinExpr* around = std::exchange(join_, &join);
    ECLUSE_OK(Expression(join.quals(), level, Place::on));
    join_ = around;
    ECLUSE_TRY(ties, Ties(join.quals(), inside));
  }
  for (const std::string& name : common) {
    const StarColumn* a = find(*left, name);
    const StarColumn* b = find(*right, name);
    if (a == nullptr || b == nullptr) {
      return NameError(-1, sqlstate::kUndefinedColumn,
                       "column \"" + name + "\" specified in USING clause does not exist on both sides");
    }
    ECLUSE_TRY(const Column l, UseColumn({a->column, a->sql, false}, -1));
    ECLUSE_TRY(const Column r, UseColumn({b->column, b->sql, false}, -1));
    if (l.on_aggregate || r.on_aggregate) {
      return Refuse(-1, "plan.aggregate-condition", "a join on an aggregate would tell of people who are not counted",
                    "Group by the subject column inside the sub-select.");
    }
    for (const auto& [subject, listed] : {std::pair{&l, &r}, std::pair{&r, &l}}) {
      if (!subject->origin || !IsSubject(*subject->origin)) continue;
      for (const ValueSource& constant : listed->constants) Ask(*subject->origin, {constant});
    }
    const bool linked = Linked(l) && Linked(r) && SameSubject(*l.origin, *r.origin) &&
                        SameCompartment(*l.origin, *r.origin) && l.pseudonym == r.pseudonym;
    if ((l.sealed || r.sealed) && !linked) {
      return RefuseOpaque(l.sealed ? l : r, -1, "cannot be joined by USING", "Write ON a.column = b.column.");
    }
    const bool subjects = l.origin && r.origin && IsSubject(*l.origin) && IsSubject(*r.origin);
    if ((l.pseudonym || r.pseudonym) && !(l.pseudonym && r.pseudonym && subjects)) {
      return Refuse(-1, "plan.pseudonym", "a pseudonym can only be joined with the same people's pseudonym", {});
    }
    if (subjects && l.type == r.type &&
        plan_->tables[static_cast<size_t>(l.origin->table_ref)].space ==
            plan_->tables[static_cast<size_t>(r.origin->table_ref)].space &&
        views_[static_cast<size_t>(l.origin->table_ref)]->subject.size() == 1 &&
        views_[static_cast<size_t>(r.origin->table_ref)]->subject.size() == 1) {
      ties.emplace_back(l.origin->node, r.origin->node);
    }
  }
  for (const std::string& name : common) {
    const bool from_right = join.jointype() == pgq::JOIN_RIGHT;
    StarColumn merged = from_right ? *find(*right, name) : *find(*left, name);
    if (join.jointype() == pgq::JOIN_FULL) merged.column.origin.reset();
    if (merged.column.pseudonym && join.jointype() == pgq::JOIN_FULL) {
      return Refuse(-1, "plan.pseudonym", "a pseudonym cannot be merged by FULL JOIN", "Name one side's column.");
    }
    merged.sql = QuoteIdentifier(name);
    item->star.push_back(std::move(merged));
  }
  for (const FromItem* side : {left, right}) {
    for (const StarColumn& column : side->star) {
      if (std::ranges::find(common, column.column.name) == common.end()) item->star.push_back(column);
    }
  }

  const auto hang = [&](const FromItem& missing, const FromItem& counted) {
    for (const auto& relation : missing.relations) {
      for (Column& column : relation->columns) column.nullable = true;
    }
    for (StarColumn& shown : item->star) {
      if (std::ranges::find(missing.star, shown.sql, &StarColumn::sql) != missing.star.end())
        shown.column.nullable = true;
    }
    for (const int node : missing.nodes) {
      if (!counted.nodes.empty()) item->anchors.emplace(node, counted.nodes.front());
    }
  };
  switch (join.jointype()) {
    case pgq::JOIN_INNER:
      if (item->cut) return CutAgain("a join");
      item->equal = ties;
      item->equal.insert(item->equal.end(), left->equal.begin(), left->equal.end());
      item->equal.insert(item->equal.end(), right->equal.begin(), right->equal.end());
      return item;
    case pgq::JOIN_LEFT:
      ECLUSE_OK(OuterTie(*left, *right, ties, -1));
      item->equal = left->equal;
      hang(*right, *left);
      return item;
    case pgq::JOIN_RIGHT:
      ECLUSE_OK(OuterTie(*right, *left, ties, -1));
      item->equal = right->equal;
      hang(*left, *right);
      return item;
    case pgq::JOIN_FULL:
      ECLUSE_OK(OuterTie(*left, *right, ties, -1));
      ECLUSE_OK(OuterTie(*right, *left, ties, -1));
      for (const auto& relation : item->relations) {
        for (Column& column : relation->columns) column.nullable = true;
      }
      for (StarColumn& shown : item->star) shown.column.nullable = true;
      return item;
    default:
      return Refuse(-1, "plan.join", "this kind of join is not understood", "Use INNER, LEFT, RIGHT or FULL JOIN.");
  }
}

}  // namespace ecluse
