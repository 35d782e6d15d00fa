// Values that are written into sealed columns: each becomes an envelope for the person that its row names, and the
// tokens it is found by.
#include <algorithm>

#include "plan/sealed_parts.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

SealedParameter::Kind MadeOf(TokenColumn::Kind kind) {
  switch (kind) {
    case TokenColumn::Kind::equality:
      return SealedParameter::Kind::equality;
    case TokenColumn::Kind::prefix:
      return SealedParameter::Kind::prefix;
    case TokenColumn::Kind::sound:
      return SealedParameter::Kind::sound;
    case TokenColumn::Kind::block:
      break;
  }
  return SealedParameter::Kind::block;
}

// Any of the sealed ones.
const ViewColumn& SealedColumnOf(const GuardedView& view, const std::vector<int>& columns) {
  const auto at = std::ranges::find_if(
      columns, [&](int index) { return view.columns[static_cast<size_t>(index)].sealed.has_value(); });
  return view.columns[static_cast<size_t>(*at)];
}

}  // namespace

bool Analyzer::Seals(const GuardedView& view, const std::vector<int>& columns) const {
  return std::ranges::any_of(columns,
                             [&](int index) { return view.columns[static_cast<size_t>(index)].sealed.has_value(); });
}

int Analyzer::DrawnSubject(const GuardedView& view, const std::vector<int>& columns) const {
  if (view.subject.size() != 1 || !Seals(view, columns) || !view.draws.contains(view.subject.front())) return -1;
  const bool listed = std::ranges::find(columns, view.subject.front()) != columns.end();
  return listed ? -1 : view.subject.front();
}

void Analyzer::FinishDraw(const GuardedView& view) {
  if (drawn_ == 0) return;
  const TableName& sequence = view.draws.at(view.subject.front());
  const std::string name = QuoteIdentifier(sequence.schema) + "." + QuoteIdentifier(sequence.name);
  plan_->draw = "SELECT pg_catalog.nextval(" + QuoteLiteral(name) +
                ")::pg_catalog.text FROM pg_catalog.generate_series(1, " + std::to_string(drawn_) + ")";
  plan_->draws_sequence = true;
}

std::string Analyzer::TokenNames(const GuardedView& view, const std::vector<int>& columns) const {
  std::string names;
  for (const int index : columns) {
    const ViewColumn& column = view.columns[static_cast<size_t>(index)];
    if (!column.sealed) continue;
    for (const TokenColumn& tokens : TokenColumns(column.name, column.sealed->type, column.sealed->search))
      names += ", " + QuoteIdentifier(tokens.name);
  }
  if (draws_subject_ >= 0) names += ", " + QuoteIdentifier(view.columns[static_cast<size_t>(draws_subject_)].name);
  return names;
}

std::optional<Analyzer::ItemRanges> Analyzer::SplitItems(size_t begin, size_t end) const {
  ItemRanges items;
  if (begin >= end) return std::nullopt;
  const uint32_t depth = clauses_.tokens()[begin].depth;
  size_t first = begin;
  for (size_t i = begin; i <= end; ++i) {
    if (i < end && !(clauses_.Symbol(i, ",") && clauses_.tokens()[i].depth == depth)) continue;
    if (i == first) return std::nullopt;
    items.emplace_back(first, i - 1);
    first = i + 1;
  }
  return items;
}

Result<std::vector<Analyzer::ItemRanges>> Analyzer::RowsOfValues(const pgq::SelectStmt& values) const {
  const int inside = AnyLocation(values.values_lists(0));
  for (size_t word = 0; word < clauses_.tokens().size(); ++word) {
    if (clauses_.tokens()[word].depth != 0 || !clauses_.Word(word, "values")) continue;
    std::vector<ItemRanges> rows;
    size_t open = word + 1;
    while (clauses_.Symbol(open, "(")) {
      const size_t close = clauses_.Partner(open);
      const auto items = close == Clauses::npos ? std::nullopt : SplitItems(open + 1, close);
      if (!items) break;
      rows.push_back(*items);
      open = clauses_.Symbol(close + 1, ",") ? close + 2 : Clauses::npos;
    }
    const bool there = !rows.empty() && inside >= 0 &&
                       clauses_.tokens()[rows[0].front().first].begin <= static_cast<size_t>(inside) &&
                       static_cast<size_t>(inside) < clauses_.tokens()[rows[0].back().second].end;
    if (there && rows.size() == static_cast<size_t>(values.values_lists_size())) return rows;
  }
  return Refuse(-1, "plan.sealed", "these VALUES cannot be rewritten", "Send the rows one by one.");
}

Status Analyzer::SealRow(const RowItems& row, const ItemRanges& items, const FromItem& target,
                         const std::vector<int>& columns, std::vector<ValueSource> subject) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  if (items.size() != row.size()) {
    return Refuse(-1, "plan.sealed", "a row of this INSERT cannot be rewritten", "Send it alone.");
  }
  std::string more;
  row_tokens_.clear();
  // A subject that is left to its sequence is drawn first: values are sealed for it.
  std::string drawn;
  const auto draw = [&]() -> std::string {
    ValueSource source;
    source.kind = ValueSource::Kind::drawn;
    source.parameter = drawn_++;
    source.type = view.columns[static_cast<size_t>(view.subject.front())].type;
    subject = {source};
    return AddParameter(
        {SealedParameter::Kind::drawn, 0, CellOf(relation.table_ref, SealedColumnOf(view, columns)), source, {}});
  };
  if (draws_subject_ >= 0) drawn = ", " + draw();
  for (size_t i = 0; i < columns.size() && i < items.size(); ++i) {
    const bool left = view.subject.size() == 1 && columns[i] == view.subject.front() && row[i]->has_set_to_default();
    if (left && view.draws.contains(columns[i])) ReplaceTokens(items[i].first, items[i].second, draw());
  }
  for (size_t i = 0; i < columns.size() && i < items.size(); ++i) {
    const ViewColumn& column = view.columns[static_cast<size_t>(columns[i])];
    if (!column.sealed) continue;
    const pgq::Node& item = *row[i];
    const auto indexes = TokenColumns(column.name, column.sealed->type, column.sealed->search);
    const auto value = SealedValue(item, column.sealed->type);
    if (item.has_set_to_default() || (value && value->null)) {
      ReplaceTokens(items[i].first, items[i].second, "NULL");
      for (size_t k = 0; k < indexes.size(); ++k) more += ", NULL";
      continue;
    }
    if (!value || value->array) {
      return Refuse(
          AnyLocation(item), "plan.sealed",
          "column \"" + column.name + "\" is sealed, and what is written into it cannot be sealed for certain",
          std::string(kSealedValueHint));
    }
    if (subject.empty()) {
      return Refuse(
          AnyLocation(item), "plan.sealed-subject",
          "column \"" + column.name + "\" is sealed for a person, whom this row does not name",
          "Write the subject column of " + view.table.Text() + " in the same row, as a constant or parameter.");
    }
    const int cell = CellOf(relation.table_ref, column);
    const std::string made = AddParameter({SealedParameter::Kind::envelope, 0, cell, *value, subject});
    ReplaceTokens(items[i].first, items[i].second, made);
    if (column.sealed->search.link) row_tokens_[columns[i]] = TokenSource(made);
    for (const TokenColumn& index : indexes) {
      const auto kind = MadeOf(index.kind);
      const std::string parameter = AddParameter({kind, index.level, cell, *value, {}, true});
      more += ", " + parameter;
      if (kind == SealedParameter::Kind::equality) row_tokens_[columns[i]] = TokenSource(parameter);
    }
  }
  splices_.Insert(clauses_.tokens()[items.back().second].end, more + drawn);
  return {};
}

Status Analyzer::SealAssignment(const pgq::ResTarget& assignment, const FromItem& target, int index, bool conflict) {
  const Relation& relation = *target.relations.front();
  const GuardedView& view = *relation.view;
  const ViewColumn& column = view.columns[static_cast<size_t>(index)];
  const auto indexes = TokenColumns(column.name, column.sealed->type, column.sealed->search);
  const pgq::Node& node = assignment.val();
  if (conflict && node.has_column_ref()) {
    // excluded.column: what was to be inserted, for the same person.
    const pgq::ColumnRef& ref = node.column_ref();
    const auto parts = NameParts(ref.fields());
    const size_t first = clauses_.TokenAt(static_cast<size_t>(ref.location()));
    if (parts.size() == 2 && parts[0] == "excluded" && parts[1] == column.name && first != Clauses::npos &&
        !row_subject_.empty()) {
      std::string more;
      for (const TokenColumn& tokens : indexes) {
        more += ", " + QuoteIdentifier(tokens.name) + " = excluded." + QuoteIdentifier(tokens.name);
      }
      splices_.Insert(clauses_.tokens()[first + 2].end, std::move(more));
      return {};
    }
  }
  const auto value = SealedValue(node, column.sealed->type);
  auto extent = Extent(node);
  if (extent) extent = Widened(*extent);
  if (!value || !extent || value->array) {
    return Refuse(assignment.location(), "plan.sealed",
                  "column \"" + column.name + "\" is sealed, and what is written into it cannot be sealed for certain",
                  std::string(kSealedValueHint));
  }
  std::string more;
  if (value->null) {
    for (const TokenColumn& tokens : indexes) more += ", " + QuoteIdentifier(tokens.name) + " = NULL";
    ReplaceTokens(extent->first, extent->second, "NULL" + more);
    return {};
  }
  if (row_subject_.empty() || (conflict && row_subject_.front().null)) {
    return Refuse(assignment.location(), "plan.sealed-subject",
                  "column \"" + column.name + "\" is sealed for a person, whom this statement does not name",
                  conflict ? "ON CONFLICT on the subject's own column, of one row, or take the value from excluded."
                           : "Name the one person in WHERE, by the subject column of " + view.table.Text() +
                                 " = a constant or parameter.");
  }
  const int cell = CellOf(relation.table_ref, column);
  std::string sql = AddParameter({SealedParameter::Kind::envelope, 0, cell, *value, row_subject_});
  for (const TokenColumn& tokens : indexes) {
    const auto kind = MadeOf(tokens.kind);
    sql += ", " + QuoteIdentifier(tokens.name) + " = " + AddParameter({kind, tokens.level, cell, *value, {}, true});
  }
  ReplaceTokens(extent->first, extent->second, std::move(sql));
  return {};
}

// ON CONFLICT (column): of a sealed one by its tokens.
Status Analyzer::SealConflict(const pgq::OnConflictClause& conflict, const GuardedView& view) {
  size_t word = 0;
  while (word < clauses_.tokens().size() && !(clauses_.tokens()[word].depth == 0 && clauses_.Word(word, "conflict")))
    ++word;
  const auto& elements = conflict.infer().index_elems();
  for (int i = 0; i < elements.size(); ++i) {
    const ViewColumn& column = view.columns[static_cast<size_t>(view.Find(elements.Get(i).index_elem().name()))];
    if (!column.sealed) continue;
    const size_t close = clauses_.Symbol(word + 1, "(") ? clauses_.Partner(word + 1) : Clauses::npos;
    const auto items = close == Clauses::npos ? std::nullopt : SplitItems(word + 2, close);
    if (!items || items->size() != static_cast<size_t>(elements.size()) || !column.sealed->search.equality ||
        !column.sealed->searched) {
      return Refuse(conflict.location(), "plan.sealed",
                    "ON CONFLICT on the sealed column \"" + column.name + "\" needs its equality index", {});
    }
    const auto& [first, last] = (*items)[static_cast<size_t>(i)];
    ReplaceTokens(first, last, QuoteIdentifier(EqualityColumn(column.name, column.sealed->search)));
  }
  return {};
}

}  // namespace ecluse
