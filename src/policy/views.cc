#include "policy/views.h"

#include "base/check.h"
#include "base/limits.h"
#include "policy/database.h"
#include "policy/masks.h"
#include "policy/sealed_columns.h"

namespace ecluse {
namespace {

// Escapes of the separators of role_schema.h.
constexpr std::string_view kBetweenPeople = "E'\\x1F'";
constexpr std::string_view kBetweenColumns = "E'\\x1E'";

// One subject column as text. A text id that is empty, holds a separator or is too long would be counted as other
// people than it is: reading it fails, with words that reach the operator's log.
std::string SubjectText(const CatalogColumn& column, const TableName& table, const std::string& qualifier) {
  const std::string name = qualifier + "." + QuoteName(column.name);
  if (column.type == oid::kNumeric) return "trim_scale(" + name + ")::text";  // 1.0 and 1.00 are one person
  if (column.type != oid::kText && column.type != oid::kVarchar) return name + "::text";
  const std::string text = name + "::text";
  const std::string complaint =
      QuoteText("ids in " + table.Text() + "." + column.name + " must have 1 to " + std::to_string(limits::kSubjectId) +
                " bytes and no control characters 1E and 1F; correct the row");
  // The id's own first zero letters keep PostgreSQL from computing the error while it plans.
  return "CASE WHEN " + text + " = '' OR strpos(" + text + ", " + std::string(kBetweenPeople) + ") > 0 OR strpos(" +
         text + ", " + std::string(kBetweenColumns) + ") > 0 OR octet_length(" + text + ") > " +
         std::to_string(limits::kSubjectId) + " THEN (" + complaint + " || left(" + text +
         ", 0))::integer::text ELSE " + text + " END";
}

std::string SubjectOf(const PolicyTable& table, const CatalogTable& real, const std::string& qualifier) {
  std::string out;
  for (const std::string& name : table.subject_columns) {
    const CatalogColumn* column = real.Find(name);
    CHECK(column != nullptr);
    if (table.linked()) return "encode(" + qualifier + "." + QuoteName(name) + "::bytea, 'hex')";
    if (!out.empty()) out += " || " + std::string(kBetweenColumns) + " || ";
    out += SubjectText(*column, table.name, qualifier);
  }
  return out;
}

// The rows of the other table that speak of people, as far as the role may see them: rows that its row condition hides
// must not show in who is charged, nor in whether this row is there.
std::string ViaRows(const Role& role, const PolicyTable& table, const std::string& own) {
  const std::string key = QuoteName(table.via_key);
  std::string source = QuoteTable(*table.via);
  if (auto rows = role.rows.find(*table.via); rows != role.rows.end()) {
    // In a select of its own, where the condition's names mean what they mean in the other table's view.
    source = "(SELECT * FROM " + source + " AS " + QuoteName(table.via->name) + " WHERE (" + rows->second + "\n))";
  }
  return " FROM " + source + " AS \"__via\" WHERE \"__via\"." + key + " = " + own + "." + key;
}

}  // namespace

std::vector<std::string> HiddenTokens(const GuardedView& view) {
  std::vector<std::string> names;
  for (const ViewColumn& column : view.columns) {
    if (!column.sealed || !(column.sealed->searched || column.insertable || column.updatable)) continue;
    for (TokenColumn& index : TokenColumns(column.name, column.sealed->type, column.sealed->search))
      names.push_back(std::move(index.name));
  }
  return names;
}

SqlObject GuardedViewSql(const RoleSchema& schema, const GuardedView& view, const Catalog& catalog) {
  const Policy& policy = *schema.policy;
  const PolicyTable& table = policy.tables.at(view.table);
  const CatalogTable& real = catalog.tables.at(view.table);
  const std::string own = QuoteName(view.table.name);
  std::string columns;
  for (const ViewColumn& column : view.columns) {
    const CatalogColumn* declared = real.Find(column.name);
    CHECK(declared != nullptr);
    if (declared->type_schema == kSealedSchema) {
      const auto type = column.sealed ? StandingType(declared->type_element, column.sealed->search) : std::nullopt;
      CHECK(type.has_value());
      columns +=
          "  " +
          (column.sealed && column.sealed->stands ? QuoteName(column.name) : SealedConstant(*type, column.mask)) +
          " AS " + QuoteName(column.name) + ",\n";
      continue;
    }
    auto masked =
        MaskColumn(*declared, column.readable ? column.mask : Mask{Mask::Kind::clear, 0}, schema.role->hours.time_zone);
    CHECK(masked.has_value());  // compiled before
    columns += "  " + masked->expression + " AS " + QuoteName(column.name) + ",\n";
  }
  for (const std::string& tokens : HiddenTokens(view)) columns += "  " + QuoteName(tokens) + ",\n";
  std::vector<std::string> conditions;
  if (auto rows = schema.role->rows.find(view.table); rows != schema.role->rows.end()) {
    conditions.push_back("(" + rows->second + "\n)");  // a comment at its end must not swallow the parenthesis
  }
  if (table.via) {
    const PolicyTable& via = policy.tables.at(*table.via);
    columns += "  (SELECT string_agg(DISTINCT " + SubjectOf(via, catalog.tables.at(via.name), "\"__via\"") + ", " +
               std::string(kBetweenPeople) + ")" + ViaRows(*schema.role, table, own) + ") AS \"__subject\"\n";
    conditions.push_back("EXISTS (SELECT 1" + ViaRows(*schema.role, table, own) + ")");
  } else {
    columns += "  " + SubjectOf(table, real, own) + " AS \"__subject\"\n";
  }
  std::string sql = "CREATE VIEW " + QuoteName(schema.login) + "." + QuoteName(view.view);
  if (!conditions.empty()) sql += " WITH (security_barrier = true)";
  sql += " AS SELECT\n" + columns + "FROM " + QuoteTable(view.table) + " AS " + own;
  for (size_t i = 0; i < conditions.size(); ++i) sql += (i == 0 ? "\nWHERE " : "\nAND ") + conditions[i];
  if (!conditions.empty() && schema.role->write.contains(view.table)) sql += "\nWITH CASCADED CHECK OPTION";
  return {SqlObject::Kind::view, view.view, sql};
}

}  // namespace ecluse
