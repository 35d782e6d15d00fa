// Names: what a column reference means at its place, by PostgreSQL's own rules of scope (manual chapters 4.2 and 7.2).
#include <algorithm>

#include "plan/analyzer.h"

namespace ecluse {

std::vector<std::string> NameParts(const google::protobuf::RepeatedPtrField<pgq::Node>& names) {
  std::vector<std::string> parts;
  for (const pgq::Node& node : names) {
    parts.push_back(node.has_string() ? node.string().sval() : std::string());
  }
  return parts;
}

std::set<int> Closure(std::set<int> start, const std::vector<std::pair<int, int>>& edges) {
  bool grew = true;
  while (grew) {
    grew = false;
    for (const auto& [a, b] : edges) {
      if (start.contains(a) != start.contains(b)) {
        start.insert(a);
        start.insert(b);
        grew = true;
      }
    }
  }
  return start;
}

namespace {

// Columns that every table has beside its own (manual 5.5); views have none.
bool SystemColumn(std::string_view name) {
  return name == "tableoid" || name == "ctid" || name == "xmin" || name == "xmax" || name == "cmin" || name == "cmax";
}

}  // namespace

std::optional<Analyzer::Found> Analyzer::TryUnqualified(const std::string& name, const Scope& scope,
                                                        bool* ambiguous) const {
  bool outer = false;
  for (const Scope* level = &scope; level != nullptr; level = level->parent, outer = true) {
    std::vector<Found> matches;
    bool system = false;
    for (const FromItem* item : level->items) {
      for (const StarColumn& candidate : item->star) {
        if (candidate.column.name == name) matches.push_back({candidate.column, candidate.sql, outer, level});
      }
      for (const auto& relation : item->relations) {
        system |= relation->kind == RelationKind::open && SystemColumn(name);
        for (const Column& candidate : relation->columns) {
          if (!candidate.readable && candidate.name == name) matches.push_back({candidate, {}, outer, level});
        }
      }
    }
    *ambiguous = matches.size() > 1;
    if (matches.size() == 1) return matches.front();
    // PostgreSQL would find the table's own before it looks further out.
    if (*ambiguous || system) return std::nullopt;
  }
  return std::nullopt;
}

Result<Analyzer::Table_> Analyzer::NamedTable(const std::vector<std::string>& parts, const Scope& scope, int location) {
  const std::string& table = parts.back();
  bool outer = false;
  for (const Scope* level = &scope; level != nullptr; level = level->parent, outer = true) {
    std::vector<const Relation*> matches;
    for (const FromItem* item : level->items) {
      for (const auto& relation : item->relations) {
        if (relation->alias == table) matches.push_back(relation.get());
      }
    }
    if (matches.size() > 1) {
      return NameError(location, "42P09", "table reference \"" + table + "\" is ambiguous");
    }
    if (matches.empty()) continue;
    if (parts.size() == 1 || matches.front()->schema == parts.front()) return Table_{matches.front(), outer, level};
    // The table goes by its alias alone once it is rewritten, and this one is nearer.
    return Refuse(location, "plan.name",
                  "\"" + parts.front() + "." + table + "\" stands where \"" + table + "\" is another table",
                  "Give the tables aliases and write alias.column.");
  }
  return NameError(location, sqlstate::kUndefinedTable, "missing FROM-clause entry for table \"" + table + "\"");
}

Result<Analyzer::Found> Analyzer::Resolve(const pgq::ColumnRef& ref, const Scope& scope) {
  std::vector<std::string> parts;
  for (const pgq::Node& field : ref.fields()) {
    if (!field.has_string()) {
      return Refuse(ref.location(), "plan.star", "* can stand only in a select list", "Name the columns you need.");
    }
    parts.push_back(field.string().sval());
  }
  if (parts.size() == 1) {
    bool ambiguous = false;
    if (auto found = TryUnqualified(parts[0], scope, &ambiguous)) {
      if (levels_seen_ != nullptr) levels_seen_->push_back(found->scope);
      return *found;
    }
    if (ambiguous) {
      return NameError(ref.location(), sqlstate::kAmbiguousColumn,
                       "column reference \"" + parts[0] + "\" is ambiguous");
    }
    if (const auto table = NamedTable(parts, scope, ref.location())) {
      // The row of a function that returns no composite value is that value.
      if (table->relation->kind == RelationKind::function && table->relation->columns.size() == 1) {
        const Column& value = table->relation->columns.front();
        if (levels_seen_ != nullptr) levels_seen_->push_back(table->scope);
        return Found{value, QuoteIdentifier(parts[0]) + "." + QuoteIdentifier(value.name), table->outer, table->scope};
      }
      return Refuse(ref.location(), "plan.whole-row", "a whole row cannot be used as a value",
                    "Name the columns of " + parts[0] + " that you need.");
    }
    return NameError(ref.location(), sqlstate::kUndefinedColumn, "column \"" + parts[0] + "\" does not exist");
  }
  if (parts.size() > 3) {
    return Refuse(ref.location(), "plan.name", "names of more than three parts are not understood",
                  "Give the table an alias and write alias.column.");
  }
  const std::string column = std::move(parts.back());
  parts.pop_back();
  ECLUSE_TRY(const Table_ table, NamedTable(parts, scope, ref.location()));
  std::vector<const Column*> matches;
  for (const Column& candidate : table.relation->columns) {
    if (candidate.name == column) matches.push_back(&candidate);
  }
  if (matches.size() != 1) {
    const std::string name = parts.back() + "." + column;
    return matches.empty() ? NameError(ref.location(), sqlstate::kUndefinedColumn, "column " + name + " does not exist")
                           : NameError(ref.location(), sqlstate::kAmbiguousColumn,
                                       "column reference \"" + name + "\" is ambiguous");
  }
  if (parts.size() == 2) {
    // The table now goes by its alias alone.
    const size_t first = clauses_.TokenAt(static_cast<size_t>(ref.location()));
    if (first == Clauses::npos || !clauses_.Symbol(first + 1, ".")) {
      return Refuse(ref.location(), "plan.name", "this name cannot be rewritten", "Give the table an alias.");
    }
    splices_.Replace(clauses_.tokens()[first].begin, clauses_.tokens()[first + 1].end, "");
  }
  if (levels_seen_ != nullptr) levels_seen_->push_back(table.scope);
  return Found{*matches.front(), QuoteIdentifier(parts.back()) + "." + QuoteIdentifier(column), table.outer,
               table.scope};
}

Result<Column> Analyzer::UseColumn(const Found& found, int location) {
  if (!found.column.readable) {
    return Forbid(location, "plan.write-only", "column \"" + found.column.name + "\" can be written but not read",
                  "Leave it out of what is read; RETURNING and conditions read too.");
  }
  if (found.column.origin) {
    const Origin& origin = *found.column.origin;
    const ViewColumn& column =
        views_[static_cast<size_t>(origin.table_ref)]->columns[static_cast<size_t>(origin.column)];
    plan_->tables[static_cast<size_t>(origin.table_ref)].fields[column.name] = column.mask;
  }
  return found.column;
}

template <typename T>
const T* Analyzer::FindTable(const std::map<TableName, T>& tables, const std::string& schema,
                             const std::string& name) const {
  if (!schema.empty()) {
    const auto it = tables.find({schema, name});
    return it == tables.end() ? nullptr : &it->second;
  }
  for (const std::string& path : context_.search_path) {
    const auto it = tables.find({path, name});
    if (it != tables.end()) return &it->second;
  }
  return nullptr;
}
template const OpenTable* Analyzer::FindTable(const std::map<TableName, OpenTable>&, const std::string&,
                                              const std::string&) const;
template const GuardedView* Analyzer::FindTable(const std::map<TableName, GuardedView>&, const std::string&,
                                                const std::string&) const;

template const ShadowRelation* Analyzer::FindTable(const std::map<TableName, ShadowRelation>&, const std::string&,
                                                   const std::string&) const;

const GuardedView* Analyzer::FindGuarded(const std::string& schema, const std::string& name) const {
  return FindTable(schema_.guarded, schema, name);
}

int Analyzer::CharacterOf(int location) const {
  if (location < 0) return 0;
  int characters = 1;
  for (size_t i = 0; i < static_cast<size_t>(location) && i < text_.size(); ++i) {
    if ((static_cast<unsigned char>(text_[i]) & 0xc0) != 0x80) ++characters;
  }
  return characters;
}

std::unexpected<Error> Analyzer::Refuse(int location, std::string_view rule, std::string message,
                                        std::string hint) const {
  auto error = Fail(sqlstate::kNotSupported, std::move(message), std::move(hint), std::string(rule));
  error.error().position = CharacterOf(location);
  return error;
}

std::unexpected<Error> Analyzer::Forbid(int location, std::string_view rule, std::string message,
                                        std::string hint) const {
  auto error = Fail(sqlstate::kNotAllowed, std::move(message), std::move(hint), std::string(rule));
  error.error().position = CharacterOf(location);
  return error;
}

std::unexpected<Error> Analyzer::NameError(int location, std::string_view state, std::string message) const {
  auto error = Fail(state, std::move(message), {}, "plan.name");
  error.error().position = CharacterOf(location);
  return error;
}

}  // namespace ecluse
