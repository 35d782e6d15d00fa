#include "policy/objects.h"

#include <algorithm>

#include "policy/database.h"
#include "policy/sealed_columns.h"
#include "policy/shadow.h"

namespace ecluse {
namespace {

std::string ObjectText(const Privilege& privilege) {
  if (privilege.kind == "schema") return "SCHEMA " + QuoteName(privilege.name);
  if (privilege.kind == "database") return "DATABASE " + QuoteName(privilege.name);
  const std::string named = QuoteName(privilege.schema) + "." + QuoteName(privilege.name);
  return (privilege.kind == "sequence" ? "SEQUENCE " : "TABLE ") + named;
}

std::string RightText(const Privilege& privilege) {
  return privilege.column.empty() ? privilege.right : privilege.right + " (" + QuoteName(privilege.column) + ")";
}

void AddView(std::set<Privilege>& wanted, const RoleSchema& schema, const GuardedView& view) {
  auto add = [&](const std::string& column, const std::string& right) {
    wanted.insert({column.empty() ? "table" : "column", schema.login, view.view, column, right});
  };
  // Tokens may be written by a role that must not compare them.
  const bool whole = std::ranges::all_of(view.columns, [](const ViewColumn& column) {
    return column.readable && (!column.sealed || column.sealed->searched || !(column.insertable || column.updatable));
  });
  if (whole) add("", "SELECT");
  if (!whole) add("__subject", "SELECT");
  for (const ViewColumn& column : view.columns) {
    if (!whole && column.readable) add(column.name, "SELECT");
    if (column.insertable) add(column.name, "INSERT");
    if (column.updatable) add(column.name, "UPDATE");
    if (!column.sealed) continue;
    for (const TokenColumn& index : TokenColumns(column.name, column.sealed->type, column.sealed->search)) {
      if (!whole && column.sealed->searched) add(index.name, "SELECT");
      if (column.insertable) add(index.name, "INSERT");
      if (column.updatable) add(index.name, "UPDATE");
    }
  }
  if (view.may_delete) add("", "DELETE");
}

}  // namespace

std::vector<SqlObject> RoleObjects(const RoleSchema& schema, const Catalog& catalog) {
  std::vector<SqlObject> objects;
  for (const auto& [name, view] : schema.guarded) objects.push_back(GuardedViewSql(schema, view, catalog));
  for (SqlObject& object : ShadowObjects(schema, catalog)) objects.push_back(std::move(object));
  return objects;
}

std::string Privilege::Grant(const std::string& login) const {
  return "GRANT " + RightText(*this) + " ON " + ObjectText(*this) + " TO " + QuoteName(login);
}

std::string Privilege::Revoke(const std::string& login) const {
  return "REVOKE " + RightText(*this) + " ON " + ObjectText(*this) + " FROM " + QuoteName(login);
}

std::set<Privilege> WantedPrivileges(const RoleSchema& schema, const Catalog& catalog,
                                     const std::string& notes_schema) {
  std::set<Privilege> wanted;
  auto use = [&](const std::string& name) { wanted.insert({"schema", "", name, "", "USAGE"}); };
  use(schema.login);
  use(notes_schema);
  wanted.insert({"table", notes_schema, "applied", "", "SELECT"});
  for (const auto& [name, view] : schema.guarded) AddView(wanted, schema, view);
  for (const SqlObject& object : ShadowObjects(schema, catalog)) {
    if (object.kind == SqlObject::Kind::view) wanted.insert({"table", schema.login, object.name, "", "SELECT"});
  }
  for (const auto& [name, open] : schema.open) {
    use(name.schema);
    // Column by column, so that a column added later stays closed until somebody applied the policy over it.
    for (const OpenColumn& column : open.columns)
      wanted.insert({"column", name.schema, name.name, column.name, "SELECT"});
  }
  for (const TableName& sequence : schema.sequences) {
    use(sequence.schema);
    wanted.insert({"sequence", sequence.schema, sequence.name, "", "USAGE"});
  }
  for (const std::string& type : schema.types) use(type.substr(0, type.find('.')));
  for (const std::string& function : schema.policy->functions) use(function.substr(0, function.find('.')));
  return wanted;
}

}  // namespace ecluse
