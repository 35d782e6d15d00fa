// INSERT, UPDATE, DELETE: which columns may be written, by what, and who is touched.
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {
namespace {

// In place of a subject: several rows, each with its own.
const ValueSource kSeveral = [] {
  ValueSource several;
  several.null = true;
  return several;
}();

}  // namespace

Result<FromItem*> Analyzer::WriteTarget(const pgq::RangeVar& range, std::string_view what) {
  writes_ = true;
  const GuardedView* view = FindGuarded(range.schemaname(), range.relname());
  if (view == nullptr && FindTable(schema_.open, range.schemaname(), range.relname()) != nullptr) {
    return Forbid(range.location(), "plan.write-open", "open tables are read only here",
                  "Write to " + range.relname() + " with the owner's own connection.");
  }
  const Scope none;
  ECLUSE_TRY(FromItem * target, Table(range, none));
  if (target->nodes.size() != 1 || target->relations.front()->kind != RelationKind::guarded) {
    return Forbid(range.location(), "plan.write", "this cannot be written to", "Name a table of the policy.");
  }
  const bool may = what == "DELETE" ? view->may_delete
                                    : std::ranges::any_of(view->columns, what == "INSERT" ? &ViewColumn::insertable
                                                                                          : &ViewColumn::updatable);
  if (!may) {
    return Forbid(range.location(), "plan.write",
                  "this role may not " + std::string(what) + " in " + view->table.Text(),
                  "The policy's `write` for the role says what it may.");
  }
  return target;
}

Result<std::vector<int>> Analyzer::InsertColumns(const pgq::InsertStmt& insert, const FromItem& target) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  std::vector<int> columns;
  for (const pgq::Node& node : insert.cols()) {
    const pgq::ResTarget& column = node.res_target();
    const int index = view.Find(column.name());
    if (index < 0 || column.indirection_size() > 0) {
      return NameError(column.location(), sqlstate::kUndefinedColumn,
                       "column \"" + column.name() + "\" of relation \"" + view.table.name + "\" does not exist");
    }
    columns.push_back(index);
  }
  const bool listed = insert.cols_size() > 0;
  if (!listed && insert.has_select_stmt()) {
    const pgq::SelectStmt& select = insert.select_stmt().select_stmt();
    const int width =
        select.values_lists_size() > 0 ? select.values_lists(0).list().items_size() : select.target_list_size();
    if (width > static_cast<int>(view.columns.size())) {
      return NameError(-1, sqlstate::kSyntax, "INSERT has more expressions than target columns");
    }
    std::string sql = " (";
    for (int i = 0; i < width; ++i) {
      columns.push_back(i);
      sql += (i > 0 ? ", " : "") + QuoteIdentifier(view.columns[static_cast<size_t>(i)].name);
    }
    draws_subject_ = DrawnSubject(view, columns);
    // Behind the table's name and alias.
    const pgq::RangeVar& range = insert.relation();
    size_t end = clauses_.TokenAt(static_cast<size_t>(range.location())) + (range.schemaname().empty() ? 1 : 3);
    if (range.has_alias()) end += 2;
    splices_.Insert(clauses_.tokens()[end - 1].end, sql + TokenNames(view, columns) + ")");
  } else if (listed && Seals(view, columns)) {
    const size_t first = clauses_.TokenAt(static_cast<size_t>(insert.cols(0).res_target().location()));
    const size_t open = first == Clauses::npos ? Clauses::npos : clauses_.Enclosing(first);
    const size_t close = open == Clauses::npos ? Clauses::npos : clauses_.Partner(open);
    if (close == Clauses::npos) return Refuse(-1, "plan.sealed", "this column list cannot be rewritten", {});
    draws_subject_ = DrawnSubject(view, columns);
    splices_.Insert(clauses_.tokens()[close - 1].end, TokenNames(view, columns));
  }
  for (const int index : columns) {
    const ViewColumn& column = view.columns[static_cast<size_t>(index)];
    if (!column.insertable) {
      return Forbid(insert.relation().location(), "plan.write-column",
                    "this role may not write column \"" + column.name + "\" of " + view.table.Text(),
                    listed ? "Leave it out." : "Name the columns you write: INSERT INTO t (a, b) VALUES …");
    }
    plan_->tables[static_cast<size_t>(relation.table_ref)].fields[column.name] = column.mask;
  }
  return columns;
}

Result<std::map<int, ValueSource>> Analyzer::InsertRow(const RowItems& row, const ItemRanges* items,
                                                       const FromItem& target, const std::vector<int>& columns,
                                                       Level& level) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  std::map<int, ValueSource> named;
  for (size_t i = 0; i < row.size(); ++i) {
    const int index = i < columns.size() ? columns[i] : -1;
    const auto& sealed = index >= 0 ? view.columns[static_cast<size_t>(index)].sealed : std::nullopt;
    if (sealed && !sealed->search.link) continue;
    if (!sealed) ECLUSE_OK(Expression(*row[i], level, Place::values));
    if (index < 0) continue;
    auto value = ValueOf(*row[i]);
    if (value) value = Fit(std::move(*value), view.columns[static_cast<size_t>(index)].type);
    if (value) named[index] = *value;
  }
  std::vector<ValueSource> subject;
  for (const int column : view.subject) {
    if (named.contains(column)) subject.push_back(named[column]);
  }
  if (subject.size() != view.subject.size()) subject.clear();
  if (!subject.empty()) row_subject_ = subject;
  if (items != nullptr) ECLUSE_OK(SealRow(row, *items, target, columns, subject));
  if (!subject.empty()) Ask({target.nodes.front(), relation.table_ref, view.subject.front()}, std::move(subject));
  return named;
}

Status Analyzer::InsertValues(const pgq::SelectStmt& values, const FromItem& target, const std::vector<int>& columns,
                              Level& level, bool conflict) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  std::vector<ItemRanges> rows;
  const bool seals = Seals(view, columns);
  if (seals) {
    ECLUSE_TRY(rows, RowsOfValues(values));
  }
  size_t number = 0;
  const bool one = values.values_lists_size() == 1;
  for (const pgq::Node& row : values.values_lists()) {
    const auto& list = row.list().items();
    const RowItems items(list.pointer_begin(), list.pointer_end());
    ECLUSE_TRY(const auto named, InsertRow(items, seals ? &rows[number++] : nullptr, target, columns, level));
    if (!one && !row_subject_.empty()) row_subject_ = {kSeveral};
    if (!conflict) continue;
    // ON CONFLICT tells whether the key is taken: whoever holds it is asked for.
    for (const std::vector<int>& key : view.unique) {
      const auto listed = [&](int column) { return std::ranges::find(columns, column) != columns.end(); };
      const auto sealed = [&](int column) { return view.columns[static_cast<size_t>(column)].sealed.has_value(); };
      const auto known = [&](int column) { return sealed(column) || named.contains(column); };
      // What is left out is NULL, or the next number of a sequence, and meets nothing; but not with a default.
      const auto has_default = [&](int column) { return view.columns[static_cast<size_t>(column)].has_default; };
      if (!std::ranges::all_of(key, [&](int column) { return listed(column) || has_default(column); })) continue;
      if (!std::ranges::all_of(key, listed)) {
        return Refuse(-1, "plan.on-conflict", "with ON CONFLICT, unique columns that have a default are written out",
                      "Name every column of the table's keys, and give each a value.");
      }
      if (!std::ranges::all_of(key, known)) {
        return Refuse(-1, "plan.on-conflict", "with ON CONFLICT, unique columns take constants and parameters", {});
      }
      if (std::ranges::any_of(key, sealed)) {
        AskInserted(target, key, named);
      } else if (key.size() != 1) {
        AskKey(relation.table_ref, key, named, true);
      } else if (const Origin origin{target.nodes.front(), relation.table_ref, key.front()};
                 !IsSubject(origin) ||
                 !StoredAsNamed(view.columns[static_cast<size_t>(key.front())], named.at(key.front()))) {
        AskUnique(origin, named.at(key.front()), nullptr, true);
      }
    }
  }
  return {};
}

Status Analyzer::Assignments(const google::protobuf::RepeatedPtrField<pgq::Node>& list, const FromItem& target,
                             Level& level, bool conflict) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  for (const pgq::Node& node : list) {
    const pgq::ResTarget& assignment = node.res_target();
    const int index = view.Find(assignment.name());
    if (index < 0 || assignment.indirection_size() > 0) {
      return NameError(assignment.location(), sqlstate::kUndefinedColumn,
                       "column \"" + assignment.name() + "\" of relation \"" + view.table.name + "\" does not exist");
    }
    const ViewColumn& column = view.columns[static_cast<size_t>(index)];
    if (!column.updatable || std::ranges::find(view.subject, index) != view.subject.end()) {
      return Forbid(assignment.location(), "plan.write-column",
                    "this role may not change column \"" + column.name + "\" of " + view.table.Text(),
                    "Leave it out; a subject column is never changed.");
    }
    plan_->tables[static_cast<size_t>(relation.table_ref)].fields[column.name] = column.mask;
    if (assignment.val().has_set_to_default()) {
      return Refuse(assignment.location(), "plan.default", "SET … = DEFAULT is not available: a view has no defaults",
                    "Write the value.");
    }
    if (column.sealed) {
      ECLUSE_OK(SealAssignment(assignment, target, index, conflict));
      continue;
    }
    const pgq::Node& value =
        assignment.val().has_multi_assign_ref() ? assignment.val().multi_assign_ref().source() : assignment.val();
    ECLUSE_OK(Expression(value, level, Place::assignment));
  }
  return {};
}

Status Analyzer::OnConflict(const pgq::InsertStmt& insert, const FromItem& target, Scope& scope) {
  const pgq::OnConflictClause& conflict = insert.on_conflict_clause();
  const Relation& relation = *target.relations.front();
  if (relation.view->row_condition) {
    return Refuse(conflict.location(), "plan.on-conflict",
                  "ON CONFLICT would tell of rows that the role's row condition hides",
                  "Send INSERT and UPDATE separately.");
  }
  if (!conflict.infer().conname().empty()) {
    return Refuse(conflict.location(), "plan.on-conflict", "ON CONFLICT ON CONSTRAINT is not available",
                  "Name the columns: ON CONFLICT (column).");
  }
  // Beside the row's own columns, `excluded` holds the values that were to be inserted.
  FromItem* excluded = NewItem();
  auto copy = std::make_shared<Relation>(relation);
  copy->alias = "excluded";
  for (Column& column : copy->columns) column.origin.reset();
  excluded->relations.push_back(copy);
  scope.items.push_back(excluded);
  Level level;
  level.scope = &scope;
  level.nodes = target.nodes;
  for (const pgq::Node& element : conflict.infer().index_elems()) {
    const pgq::IndexElem& index = element.index_elem();
    if (index.name().empty() || relation.view->Find(index.name()) < 0 || index.opclass_size() > 0 ||
        index.collation_size() > 0) {
      return Refuse(conflict.location(), "plan.on-conflict", "ON CONFLICT takes plain columns", {});
    }
  }
  if (conflict.infer().has_where_clause()) {
    return Refuse(conflict.location(), "plan.on-conflict", "ON CONFLICT takes plain columns without WHERE", {});
  }
  ECLUSE_OK(SealConflict(conflict, *relation.view));
  // The row that is there is about the same person where the whole subject is what conflicts.
  const bool same = std::ranges::all_of(relation.view->subject, [&](int subject) {
    return std::ranges::any_of(conflict.infer().index_elems(), [&](const pgq::Node& element) {
      return element.index_elem().name() == relation.view->columns[static_cast<size_t>(subject)].name;
    });
  });
  if (!same) row_subject_.clear();
  ECLUSE_OK(Assignments(conflict.target_list(), target, level, true));
  if (conflict.has_where_clause()) ECLUSE_OK(Expression(conflict.where_clause(), level, Place::where));
  return {};
}

Status Analyzer::FinishWrite(const google::protobuf::RepeatedPtrField<pgq::Node>& returning, const FromItem& target,
                             Scope& scope, std::string tag) {
  scope.items.resize(1);
  Level level;
  level.scope = &scope;
  level.nodes = target.nodes;
  Output output;
  ECLUSE_OK(Targets(returning, clauses_.tokens().size(), level, false, output));
  if (level.aggregates || level.windows) return Refuse(-1, "plan.returning", "RETURNING takes no aggregates", {});
  if (plan_->tables.size() != 1) {
    return Refuse(-1, "plan.write-reads", "a statement that writes may not read guarded rows of other tables",
                  "Read them first, and pass the values as parameters.");
  }
  const std::string hidden = nodes_[static_cast<size_t>(target.nodes.front())].expression + " AS \"__ecluse_s1\"";
  splices_.Insert(clauses_.tokens().back().end, (returning.empty() ? " RETURNING " : ", ") + hidden);
  plan_->kind = Plan::Kind::write;
  plan_->guarded = true;
  plan_->written_in = plan_->tables.front().compartment;
  plan_->command_tag = std::move(tag);
  plan_->visible_columns = static_cast<int>(output.columns.size());
  plan_->hidden.push_back({HiddenColumn::Kind::subjects, 0, 0});
  output.hidden.push_back({.table_ref = 0, .node = target.nodes.front()});
  ECLUSE_OK(FollowSealed(output));
  plan_->arms = 1;
  plan_->swallow = returning.empty();
  return {};
}

// INSERT … SELECT of one row of constants, as some programs write it.
Status Analyzer::InsertSelected(const pgq::SelectStmt& select, const FromItem& target,
                                const std::vector<int>& columns) {
  const SelectClauses* clauses =
      select.target_list_size() == 0
          ? nullptr
          : clauses_.OfTarget(static_cast<size_t>(select.target_list(0).res_target().location()));
  const auto items = clauses == nullptr ? std::nullopt : SplitItems(clauses->list_begin, clauses->list_end);
  if (!HasOnly(select, {"target_list", "limit_option", "op"}) || select.op() != pgq::SETOP_NONE || !items) {
    return Refuse(-1, "plan.sealed", "INSERT … SELECT into sealed columns takes one row of constants and parameters",
                  "Write VALUES.");
  }
  const Scope none;
  Scope scope;
  Level level;
  level.scope = &scope;
  RowItems row;
  for (const pgq::Node& item : select.target_list()) row.push_back(&item.res_target().val());
  auto named = InsertRow(row, &*items, target, columns, level);
  if (!named) return std::unexpected(std::move(named).error());
  return {};
}

// Whoever holds a unique key with sealed columns in it: ON CONFLICT tells whether there is one.
void Analyzer::AskInserted(const FromItem& target, const std::vector<int>& key, std::map<int, ValueSource> values) {
  // A person's id is named as well, and is not what stands there.
  for (const auto& [column, token] : row_tokens_) values.insert_or_assign(column, token);
  // NULL, which has no token, conflicts with nothing.
  if (!std::ranges::all_of(key, [&](int column) { return values.contains(column); })) return;
  AskKey(target.relations.front()->table_ref, key, values, true);
}

Result<std::shared_ptr<Plan>> Analyzer::Insert(const pgq::InsertStmt& insert) {
  if (insert.has_with_clause()) {
    return Refuse(-1, "plan.write-with", "WITH in front of INSERT is not available", "Pass the values as parameters.");
  }
  ECLUSE_TRY(FromItem * target, WriteTarget(insert.relation(), "INSERT"));
  ECLUSE_TRY(const std::vector<int> columns, InsertColumns(insert, *target));
  const bool conflict = insert.has_on_conflict_clause();
  if (insert.has_select_stmt()) {
    const pgq::SelectStmt& select = insert.select_stmt().select_stmt();
    if (select.values_lists_size() > 0) {
      if (select.has_with_clause()) return Refuse(-1, "plan.write-with", "WITH in INSERT is not available", {});
      if (select.sort_clause_size() > 0 || select.has_limit_count() || select.has_limit_offset() ||
          select.locking_clause_size() > 0) {
        return Refuse(-1, "plan.write-values", "VALUES of an INSERT take no ORDER BY, LIMIT, OFFSET or lock",
                      "Send only the rows to insert.");
      }
      const Scope none;
      Scope scope;
      Level level;
      level.scope = &scope;
      inserting_ = true;
      ECLUSE_OK(InsertValues(select, *target, columns, level, conflict));
      inserting_ = false;
    } else {
      if (conflict)
        return Refuse(-1, "plan.on-conflict", "ON CONFLICT behind INSERT … SELECT is not available", "Use VALUES.");
      inserting_ = true;
      if (Seals(*target->relations.front()->view, columns)) {
        ECLUSE_OK(InsertSelected(select, *target, columns));
      } else {
        ECLUSE_TRY(const Output output, Query(select, nullptr, Carry::hidden, false));
        if (output.guarded()) {
          return Refuse(-1, "plan.write-reads", "INSERT … SELECT may not read guarded rows",
                        "Read them first, and insert the values as parameters.");
        }
      }
      inserting_ = false;
    }
  }
  FinishDraw(*target->relations.front()->view);
  Scope scope;
  scope.items.push_back(target);
  if (conflict) ECLUSE_OK(OnConflict(insert, *target, scope));
  ECLUSE_OK(FinishWrite(insert.returning_list(), *target, scope, "INSERT"));
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Update(const pgq::UpdateStmt& update) {
  if (update.has_with_clause() || update.from_clause_size() > 0) {
    return Refuse(-1, "plan.write-reads",
                  "UPDATE … FROM and WITH are not available: what they join would tell of others",
                  "Read first, and pass the values as parameters.");
  }
  ECLUSE_TRY(FromItem * target, WriteTarget(update.relation(), "UPDATE"));
  Scope scope;
  scope.items.push_back(target);
  Level level;
  level.scope = &scope;
  level.nodes = target->nodes;
  if (update.has_where_clause()) row_subject_ = SubjectNamed(update.where_clause(), scope, *target);
  ECLUSE_OK(Assignments(update.target_list(), *target, level, false));
  if (update.has_where_clause()) {
    ECLUSE_OK(Expression(update.where_clause(), level, Place::where));
    ECLUSE_OK(Ties(update.where_clause(), scope));
  }
  ECLUSE_OK(FinishWrite(update.returning_list(), *target, scope, "UPDATE"));
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::Delete(const pgq::DeleteStmt& remove) {
  if (remove.has_with_clause() || remove.using_clause_size() > 0) {
    return Refuse(-1, "plan.write-reads",
                  "DELETE … USING and WITH are not available: what they join would tell of others",
                  "Read first, and pass the keys as parameters.");
  }
  ECLUSE_TRY(FromItem * target, WriteTarget(remove.relation(), "DELETE"));
  Scope scope;
  scope.items.push_back(target);
  Level level;
  level.scope = &scope;
  level.nodes = target->nodes;
  if (remove.has_where_clause()) {
    ECLUSE_OK(Expression(remove.where_clause(), level, Place::where));
    ECLUSE_OK(Ties(remove.where_clause(), scope));
  }
  ECLUSE_OK(FinishWrite(remove.returning_list(), *target, scope, "DELETE"));
  return plan_;
}

}  // namespace ecluse
