#include "seal/erase_rows.h"

#include <algorithm>
#include <set>

#include "execute/values.h"
#include "policy/applied.h"
#include "policy/catalog.h"
#include "policy/role_schema.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"
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

struct Cleared {
  std::vector<std::string> nulls;      // columns that are set to NULL
  std::vector<std::string> envelopes;  // to an envelope of nobody's
};

Result<Cleared> ColumnsOf(const PolicyTable& policy, const CatalogTable& real) {
  Cleared cleared;
  cleared.nulls = policy.erased_clear;
  for (const PolicyColumn& column : policy.columns) {
    if (!column.sealed || column.sealed->link) continue;
    const CatalogColumn* own = real.Find(column.name);
    if (own == nullptr || own->type_schema != kSealedSchema)
      return CannotMove(policy.name.Text() + "." + column.name + " is not sealed in the database",
                        "run `ecluse seal`, then erase");
    (own->not_null ? cleared.envelopes : cleared.nulls).push_back(column.name);
    for (const CatalogColumn& other : real.columns) {
      if (IsTokenColumn(column.name, other.name)) cleared.nulls.push_back(other.name);
    }
  }
  return cleared;
}

}  // namespace

Result<ErasedRows> ErasedRows::Find(Database& owner, const KeyRing& keys, const Policy& policy,
                                    const std::string& subject) {
  const size_t colon = std::min(subject.find(':'), subject.size());
  ErasedRows rows(owner);
  ECLUSE_TRY(const Catalog catalog, ReadTableCatalog(owner, policy));
  for (const auto& [name, table] : policy.tables) {
    if (!table.own_keys || table.space != subject.substr(0, colon)) continue;
    const auto real = catalog.tables.find(name);
    if (real == catalog.tables.end()) return CannotMove(name.Text() + " is not in the database", "create it");
    Part part;
    part.compartment = table.compartment;
    part.table = QuoteTable(name);
    const auto id =
        PartsOf(std::string_view(subject).substr(std::min(colon + 1, subject.size())), table.subject_columns.size());
    if (id.empty()) continue;
    ECLUSE_TRY(const auto compartment, SealingKeys(keys, table.compartment));
    ECLUSE_TRY(const auto links, LinksOf(keys, policy, table, real->second));
    if ((links != nullptr) != table.linked())
      return CannotMove(name.Text() + " does not stand in the database as the policy's `compartment` has it",
                        "run `ecluse seal`, then erase");
    part.id.assign(id.begin(), id.end());
    if (links) {
      if (!MayBeId(id.front())) continue;
      part.id = {ByteaText(links->Of(id.front()))};
      part.where = QuoteName(table.subject_columns.front()) + " = $1::bytea";
    }
    for (size_t i = 0; !links && i < table.subject_columns.size(); ++i) {
      const CatalogColumn* own = real->second.Find(table.subject_columns[i]);
      if (own == nullptr) return CannotMove(name.Text() + " has no column " + table.subject_columns[i], "create it");
      const std::string column = QuoteName(own->name), value = "$" + std::to_string(i + 1);
      // By its index, and as people are named: 042 is nobody where ids are numbers.
      part.where += (i > 0 ? " AND " : "") + column + " = (" + value + "::text)::" + own->type_name + " AND " + column +
                    "::text = " + value + "::text";
    }
    ECLUSE_TRY(const Cleared columns, ColumnsOf(table, real->second));
    const std::string shown = name.Text();
    const auto add = [&](const std::string& column, const std::string& value, const std::string& left) {
      part.set += (part.set.empty() ? "" : ", ") + QuoteName(column) + " = " + value;
      part.left += (part.left.empty() ? "" : " OR ") + left;
    };
    for (const std::string& column : columns.nulls) add(column, "NULL", QuoteName(column) + " IS NOT NULL");
    for (const std::string& column : columns.envelopes) {
      const Cell cell{policy.register_name, shown, column, subject};
      part.cleared.emplace_back(ByteaText(NobodysEnvelope(*compartment, cell)));
      // What is under the data key alone opens without the person's key.
      add(column, "$" + std::to_string(part.id.size() + part.cleared.size()) + "::bytea",
          "get_byte(" + QuoteName(column) + "::bytea, 0) = 1");
    }
    const auto found = owner.Query(
        "SELECT count(*) FROM " + part.table + " WHERE " + part.where + " AND (" + part.left + ")", part.id);
    if (!found && found.error().sqlstate.starts_with("22")) continue;  // no id of this table
    if (!found) return std::unexpected(found.error());
    ECLUSE_OK(CheckUpdateTriggers(owner, name));
    rows.count_ += static_cast<uint64_t>(std::atoll(found->Text(0, 0).c_str()));
    rows.parts_.push_back(std::move(part));
  }
  // What cannot be done is to be known before a key is gone.
  if (auto tried = rows.Run("ROLLBACK"); !tried) return std::unexpected(std::move(tried).error());
  return rows;
}

// A transaction's number in rows of two compartments would join them.
Result<uint64_t> ErasedRows::Run(const char* end) {
  std::set<std::string> compartments;
  for (const Part& part : parts_) compartments.insert(part.compartment);
  uint64_t cleared = 0;
  for (const std::string& compartment : compartments) {
    ECLUSE_TRY(const uint64_t rows, RunIn(compartment, end));
    cleared += rows;
  }
  return cleared;
}

Result<uint64_t> ErasedRows::RunIn(const std::string& compartment, const char* end) {
  uint64_t cleared = 0;
  ECLUSE_OK(owner_->Run("BEGIN"));
  Status done;
  for (const Part& part : parts_) {
    if (part.compartment != compartment) continue;
    done = [&]() -> Status {
      ECLUSE_OK(owner_->Run("LOCK TABLE " + part.table + " IN SHARE ROW EXCLUSIVE MODE"));
      std::vector<std::optional<std::string>> parameters = part.id;
      parameters.insert(parameters.end(), part.cleared.begin(), part.cleared.end());
      ECLUSE_TRY(const Rows updated,
                 owner_->Query("WITH done AS (UPDATE " + part.table + " SET " + part.set + " WHERE " + part.where +
                                   " RETURNING 1) SELECT count(*) FROM done",
                               parameters));
      cleared += static_cast<uint64_t>(std::atoll(updated.Text(0, 0).c_str()));
      ECLUSE_TRY(const Rows left, owner_->Query("SELECT count(*) FROM " + part.table + " WHERE " + part.where +
                                                    " AND (" + part.left + ")",
                                                part.id));
      if (left.Text(0, 0) == "0") return {};
      return CannotMove("rows of " + part.table + " do not let themselves be cleared",
                        "look for rules and triggers that keep them, then run this again");
    }();
    if (!done) break;
  }
  if (!done) {
    (void)owner_->Run("ROLLBACK");
    return std::unexpected(std::move(done).error());
  }
  ECLUSE_OK(owner_->Run(end));
  return cleared;
}

}  // namespace ecluse
