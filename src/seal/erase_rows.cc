#include "seal/erase_rows.h"

#include <algorithm>

#include "policy/applied.h"
#include "policy/catalog.h"
#include "policy/role_schema.h"
#include "policy/sealed_columns.h"
#include "seal/table_rows.h"

namespace ecluse {
namespace {

// The values of the subject columns; none where that is no id of the table's.
std::vector<std::string> PartsOf(std::string_view id, size_t columns) {
  std::vector<std::string> parts;
  while (parts.size() + 1 < columns) {
    const size_t end = id.find(kSubjectColumnSeparator);
    if (end == std::string_view::npos) return {};
    parts.emplace_back(id.substr(0, end));
    id.remove_prefix(end + 1);
  }
  if (id.contains(kSubjectColumnSeparator)) return {};
  parts.emplace_back(id);
  return parts;
}

// What is set to NULL.
Result<std::vector<std::string>> ColumnsOf(const PolicyTable& policy, const CatalogTable& real) {
  std::vector<std::string> columns = policy.erased_clear;
  for (const PolicyColumn& column : policy.columns) {
    if (!column.sealed) continue;
    const CatalogColumn* own = real.Find(column.name);
    if (own == nullptr || own->type_schema != kSealedSchema)
      return CannotMove(policy.name.Text() + "." + column.name + " is not sealed in the database",
                        "run `ecluse seal`, then erase");
    if (!own->not_null) columns.push_back(column.name);
    for (const CatalogColumn& other : real.columns) {
      if (IsTokenColumn(column.name, other.name)) columns.push_back(other.name);
    }
  }
  return columns;
}

}  // namespace

Result<ErasedRows> ErasedRows::Find(Database& owner, const Policy& policy, const std::string& subject) {
  const size_t colon = std::min(subject.find(':'), subject.size());
  ErasedRows rows(owner);
  ECLUSE_TRY(const Catalog catalog, ReadTableCatalog(owner, policy));
  for (const auto& [name, table] : policy.tables) {
    if (!table.own_keys || table.space != subject.substr(0, colon)) continue;
    const auto real = catalog.tables.find(name);
    if (real == catalog.tables.end()) return CannotMove(name.Text() + " is not in the database", "create it");
    Part part;
    part.table = QuoteTable(name);
    part.id =
        PartsOf(std::string_view(subject).substr(std::min(colon + 1, subject.size())), table.subject_columns.size());
    if (part.id.empty()) continue;
    ECLUSE_TRY(const auto columns, ColumnsOf(table, real->second));
    std::string any;
    for (const std::string& column : columns) {
      part.set += (part.set.empty() ? "" : ", ") + QuoteName(column) + " = NULL";
      any += (any.empty() ? "" : " OR ") + QuoteName(column) + " IS NOT NULL";
    }
    for (size_t i = 0; i < table.subject_columns.size(); ++i) {
      const CatalogColumn* own = real->second.Find(table.subject_columns[i]);
      if (own == nullptr) return CannotMove(name.Text() + " has no column " + table.subject_columns[i], "create it");
      const std::string column = QuoteName(own->name), value = "$" + std::to_string(i + 1);
      // By its index, and as people are named: 042 is nobody where ids are numbers.
      part.where += column + " = (" + value + "::text)::" + own->type_name + " AND " + column + "::text = " + value +
                    "::text AND ";
    }
    part.where += "(" + any + ")";
    const auto found =
        owner.Query("SELECT count(*) FROM " + part.table + " WHERE " + part.where, {part.id.begin(), part.id.end()});
    if (!found && found.error().sqlstate.starts_with("22")) continue;  // no id of this table
    if (!found) return std::unexpected(found.error());
    rows.count_ += static_cast<uint64_t>(std::atoll(found->Text(0, 0).c_str()));
    rows.parts_.push_back(std::move(part));
  }
  return rows;
}

Result<uint64_t> ErasedRows::Clear() {
  uint64_t cleared = 0;
  ECLUSE_OK(owner_->Run("BEGIN"));
  for (const Part& part : parts_) {
    auto done = owner_->Query("WITH done AS (UPDATE " + part.table + " SET " + part.set + " WHERE " + part.where +
                                  " RETURNING 1) SELECT count(*) FROM done",
                              {part.id.begin(), part.id.end()});
    if (!done) {
      (void)owner_->Run("ROLLBACK");
      return std::unexpected(std::move(done).error());
    }
    cleared += static_cast<uint64_t>(std::atoll(done->Text(0, 0).c_str()));
  }
  ECLUSE_OK(owner_->Run("COMMIT"));
  return cleared;
}

}  // namespace ecluse
