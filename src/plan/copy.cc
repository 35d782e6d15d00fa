// COPY: out of a query that is planned like any other, into a table as batched INSERTs.
#include <algorithm>

#include "plan/analyzer.h"
#include "policy/masks.h"
#include "policy/sealed_columns.h"

namespace ecluse {

Result<Plan::Copy> Analyzer::CopyOptions(const pgq::CopyStmt& statement) {
  Plan::Copy copy;
  bool delimiter = false, null = false;
  const auto text_of = [](const pgq::DefElem& option) {
    if (option.arg().has_string()) return option.arg().string().sval();
    if (option.arg().has_boolean()) return std::string(option.arg().boolean().boolval() ? "true" : "false");
    if (option.arg().has_integer()) return std::to_string(option.arg().integer().ival());
    return std::string();
  };
  for (const pgq::Node& node : statement.options()) {
    const pgq::DefElem& option = node.def_elem();
    const std::string value = text_of(option);
    const auto one = [&](char* out) -> Status {
      if (value.size() != 1)
        return Refuse(option.location(), "plan.copy", "COPY " + option.defname() + " takes one character", {});
      *out = value[0];
      return {};
    };
    if (option.defname() == "format") {
      if (value == "csv") {
        copy.format = Plan::Copy::Format::csv;
      } else if (value != "text") {
        return Refuse(option.location(), "plan.copy", "COPY format \"" + value + "\" is not available here",
                      "Use text or csv.");
      }
    } else if (option.defname() == "delimiter") {
      ECLUSE_OK(one(&copy.delimiter));
      delimiter = true;
    } else if (option.defname() == "null") {
      copy.null = value;
      null = true;
    } else if (option.defname() == "header") {
      copy.header = value.empty() || value == "true" || value == "on" || value == "1";
    } else if (option.defname() == "quote") {
      ECLUSE_OK(one(&copy.quote));
      copy.escape = copy.quote;
    } else if (option.defname() == "escape") {
      ECLUSE_OK(one(&copy.escape));
    } else if (option.defname() != "encoding") {
      return Refuse(option.location(), "plan.copy", "COPY option \"" + option.defname() + "\" is not available here",
                    "FORMAT, DELIMITER, NULL, HEADER, QUOTE and ESCAPE are.");
    } else if (value != "UTF8" && value != "utf8" && value != "UTF-8" && value != "utf-8") {
      return Refuse(option.location(), "plan.copy", "COPY takes UTF8 only", {});
    }
  }
  if (copy.format == Plan::Copy::Format::csv) {
    if (!delimiter) copy.delimiter = ',';
    if (!null) copy.null.clear();
  }
  return copy;
}

Result<std::shared_ptr<Plan>> Analyzer::Copy(const pgq::CopyStmt& statement) {
  if (!statement.filename().empty() || statement.is_program()) {
    return Forbid(-1, "plan.copy-file", "COPY with a file or program of the server does not pass the gate",
                  "Use COPY … TO STDOUT and FROM STDIN (\\copy in psql).");
  }
  ECLUSE_TRY(Plan::Copy copy, CopyOptions(statement));
  if (statement.is_from()) return CopyIn(statement, std::move(copy));
  std::string text;
  if (statement.has_query()) {
    // COPY ( query ) TO …
    const size_t open = clauses_.Symbol(1, "(") ? 1 : Clauses::npos;
    const size_t close = clauses_.Partner(open);
    if (open == Clauses::npos || close == Clauses::npos)
      return Refuse(-1, "plan.copy", "this COPY is not understood", {});
    text = text_.substr(clauses_.tokens()[open].end, clauses_.tokens()[close].begin - clauses_.tokens()[open].end);
  } else {
    const pgq::RangeVar& range = statement.relation();
    for (const pgq::Node& column : statement.attlist()) {
      text += (text.empty() ? "SELECT " : ", ") + QuoteIdentifier(column.string().sval());
    }
    if (text.empty()) text = "SELECT *";
    text += " FROM " + (range.schemaname().empty() ? "" : QuoteIdentifier(range.schemaname()) + ".") +
            QuoteIdentifier(range.relname());
  }
  ECLUSE_TRY(plan_->inner, inner_(text, {}));
  if (plan_->inner->statistic) plan_->inner = plan_->inner->fallback;
  if (plan_->inner->kind != Plan::Kind::rows) return Refuse(-1, "plan.copy", "COPY … TO takes a SELECT", {});
  if (plan_->inner->guarded && !schema_.role->may_export) {
    return Forbid(-1, "plan.export", "this role may not export",
                  "COPY … TO needs `export: true` in the policy; SELECT does not.");
  }
  plan_->kind = Plan::Kind::copy_out;
  plan_->command_tag = "COPY";
  plan_->copy = std::move(copy);
  return plan_;
}

Result<std::shared_ptr<Plan>> Analyzer::CopyIn(const pgq::CopyStmt& statement, Plan::Copy copy) {
  if (statement.has_where_clause()) return Refuse(-1, "plan.copy", "COPY … FROM takes no WHERE here", {});
  ECLUSE_TRY(FromItem * target, WriteTarget(statement.relation(), "INSERT"));
  const GuardedView& view = *target->relations.front()->view;
  std::vector<int> columns;
  for (const pgq::Node& node : statement.attlist()) columns.push_back(view.Find(node.string().sval()));
  if (columns.empty()) {
    for (size_t i = 0; i < view.columns.size(); ++i) columns.push_back(static_cast<int>(i));
  }
  copy.table = view.table;
  copy.insert_prefix = "INSERT INTO " + QuoteIdentifier(schema_.login) + "." + QuoteIdentifier(view.view) + " (";
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] < 0) {
      return NameError(-1, sqlstate::kUndefinedColumn,
                       "a column of COPY does not exist in \"" + view.table.name + "\"");
    }
    const ViewColumn& column = view.columns[static_cast<size_t>(columns[i])];
    if (!column.insertable) {
      return Forbid(-1, "plan.write-column",
                    "this role may not write column \"" + column.name + "\" of " + view.table.Text(),
                    "Name the columns you write: COPY t (a, b) FROM STDIN.");
    }
    copy.columns.push_back(column.name);
    copy.types.push_back(column.sealed ? oid::kBytea : column.type);
    copy.insert_prefix += (i > 0 ? ", " : "") + QuoteIdentifier(column.name);
    plan_->tables[0].fields[column.name] = column.mask;
  }
  copy.width = columns.size();
  if (Seals(view, columns)) {
    // Behind the client's columns stand the tokens, in the order of the columns they are of.
    copy.insert_prefix += TokenNames(view, columns);
    for (const int index : columns) {
      const ViewColumn& column = view.columns[static_cast<size_t>(index)];
      copy.cells.push_back(column.sealed ? CellOf(0, column) : -1);
      if (column.sealed) copy.width += TokenColumns(column.name, column.sealed->type, column.sealed->search).size();
    }
    for (const int subject : view.subject) {
      const auto at = std::ranges::find(columns, subject);
      if (at == columns.end()) {
        return Refuse(-1, "plan.sealed-subject",
                      "columns that are sealed for a person are copied in beside the column that says for whom",
                      "Name " + view.columns[static_cast<size_t>(subject)].name + " among the columns of COPY.");
      }
      copy.subject.push_back(static_cast<int>(at - columns.begin()));
    }
  }
  copy.insert_prefix += ") VALUES ";
  copy.insert_suffix = " RETURNING \"__subject\" AS \"__ecluse_s1\"";
  plan_->kind = Plan::Kind::copy_in;
  plan_->written_in = view.compartment;
  plan_->command_tag = "COPY";
  plan_->guarded = true;
  plan_->hidden.push_back({HiddenColumn::Kind::subjects, 0, 0});
  plan_->visible_columns = 0;
  plan_->arms = 1;
  plan_->copy = std::move(copy);
  return plan_;
}

}  // namespace ecluse
