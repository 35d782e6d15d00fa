#include "seal/search_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "policy/catalog.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"
#include "seal/gathering.h"

namespace ecluse {
namespace {

std::unexpected<Error> Differ(const TableName& table) {
  return CannotMove("policy and database differ in what is sealed of " + table.Text() + ", or in how it is searched",
                    "run `ecluse seal` or `ecluse seal --undo` first");
}

std::vector<std::string> TokenNames(const SearchedTable& table) {
  std::vector<std::string> names;
  for (const SearchedColumn& column : table.columns) {
    for (const TokenColumn& token : column.tokens) names.push_back(token.name);
  }
  return names;
}

class TokenMaker {
 public:
  TokenMaker(Database& owner, const SearchedTable& of, const KeyRing& ring, const CompartmentKeys& keys,
             const Policy& policy)
      : owner_(owner), of_(of), name_(of.table->name.Text()), ring_(ring), keys_(keys), policy_(policy) {
    for (const SearchedColumn& column : of.columns)
      indexes_.emplace_back(keys.search, policy.register_name, column.name);
  }

  Result<uint64_t> All(const MovingProgress& progress) {
    std::vector<std::string> values;
    std::string where;
    for (const SearchedColumn& column : of_.columns) {
      values.push_back("t." + QuoteName(column.name) + "::bytea::text");
      where += (where.empty() ? "" : " OR ") + ("t." + QuoteName(column.name)) + " IS NOT NULL";
    }
    RowBatches rows(owner_, *of_.table, values, where);
    uint64_t done = 0;
    while (true) {
      ECLUSE_TRY(const int count, rows.Next());
      if (count == 0) return done;
      ECLUSE_TRY(const auto made, TokensOf(rows, count));
      ECLUSE_TRY(const uint64_t written, rows.Write(made));
      if (written != static_cast<uint64_t>(count))
        return CannotMove("rows of " + name_ + " changed while the table was locked", "report this");
      done += written;
      if (progress) progress("making tokens anew of " + name_, done, of_.table->rows);
    }
  }

 private:
  Result<std::vector<RowBatches::Written>> TokensOf(const RowBatches& rows, int count) const {
    std::vector<RowBatches::Written> made;
    for (const std::string& token : TokenNames(of_)) made.push_back({token, "bytea[]", "", {}});
    std::vector<std::string> subjects;
    for (int row = 0; row < count; ++row) {
      ECLUSE_TRY(subjects.emplace_back(), rows.Subject(row));
    }
    ECLUSE_TRY(const OwnKeys own, OwnKeys::Find(ring_, subjects));
    for (int row = 0; row < count; ++row) {
      const std::string& subject = subjects[static_cast<size_t>(row)];
      auto next = made.begin();
      for (size_t c = 0; c < of_.columns.size(); ++c) {
        const SearchedColumn& column = of_.columns[c];
        std::optional<std::string> value;
        if (!rows.Null(row, c)) {
          ECLUSE_TRY(const std::string envelope, ByteaOf(rows.Value(row, c)));
          const Cell cell{policy_.register_name, name_, column.name, subject, own.Of(subject)};
          auto opened = OpenLeft(keys_, cell, own.Erased(subject), envelope);
          if (!opened) {
            Error error = std::move(opened).error();
            error.operator_detail += fmt::format("; it is in the row WHERE ctid = '{}'", rows.Place(row));
            return std::unexpected(std::move(error));
          }
          value = *std::move(opened);
        }
        for (const TokenColumn& token : column.tokens) {
          std::optional<std::string> bytes;
          if (value) {
            ECLUSE_TRY(bytes, TokenOf(indexes_[c], column.type, column.search, token.kind, token.level, *value));
          }
          (next++)->values.push_back(bytes ? std::optional(ByteaText(*bytes)) : std::nullopt);
        }
      }
    }
    return made;
  }

  Database& owner_;
  const SearchedTable& of_;
  const std::string name_;
  const KeyRing& ring_;
  const CompartmentKeys& keys_;
  const Policy& policy_;
  std::vector<BlindIndex> indexes_;
};

// Whether every one of the columns says that it is under that key.
Result<bool> AllNoted(Database& owner, const SearchedTable& table, const CompartmentKeys& keys) {
  const std::vector<std::string> names = TokenNames(table);
  ECLUSE_TRY(const Rows rows, owner.Query("SELECT count(*) FROM pg_attribute a WHERE a.attrelid = $1::regclass AND "
                                          "a.attname = ANY ($2::text[]) AND NOT a.attisdropped AND "
                                          "col_description(a.attrelid, a.attnum) = $3",
                                          {table.table->Sql(), TextArray(names),
                                           SearchKeyNote(HexEncode(keys.search_id))}));
  return rows.Text(0, 0) == std::to_string(names.size());
}

}  // namespace

Result<std::vector<SearchedTable>> TablesToSearchAnew(Database& owner, const Policy& policy,
                                                      const std::vector<SealedTable>& tables) {
  ECLUSE_TRY(const Catalog catalog, ReadTableCatalog(owner, policy));
  std::vector<SearchedTable> searched;
  for (const SealedTable& sealed : tables) {
    const TableName& name = sealed.table.name;
    const CatalogTable& real = catalog.tables.at(name);
    SearchedTable one{&sealed.table, {}};
    std::vector<std::string> known;
    for (const std::string& column : sealed.columns) {
      const PolicyColumn* in_policy = sealed.table.policy->Find(column);
      const auto type = SealedType(real.Find(column)->type_element);
      if (in_policy == nullptr || !in_policy->sealed || !type) return Differ(name);
      SearchedColumn searched_column{column, *type, *in_policy->sealed,
                                     TokenColumns(column, *type, *in_policy->sealed)};
      for (const TokenColumn& token : searched_column.tokens) known.push_back(token.name);
      if (!searched_column.tokens.empty()) one.columns.push_back(std::move(searched_column));
    }
    // All tokens that stand, and no other.
    std::vector<std::string> standing;
    for (const CatalogColumn& column : real.columns) {
      if (column.name.starts_with(kTokenPrefix)) standing.push_back(column.name);
    }
    std::ranges::sort(known);
    std::ranges::sort(standing);
    if (known != standing) return Differ(name);
    if (!one.columns.empty()) searched.push_back(std::move(one));
  }
  return searched;
}

Result<std::vector<std::string>> UnlinkedCompartments(Database& owner, const Policy& policy) {
  ECLUSE_TRY(const Rows rows,
             owner.Query("SELECT DISTINCT t.typname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN "
                         "pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE "
                         "n.nspname = $1 AND c.relkind IN ('r', 'm', 'p') AND a.attnum > 0 AND NOT a.attisdropped",
                         {std::string(kSealedSchema)}));
  std::vector<std::string> unlinked = policy.Compartments();
  for (int row = 0; row < rows.size(); ++row) {
    const std::string domain = rows.Text(row, 0);
    if (domain == kGatheredLinks) return std::vector<std::string>();  // of a run that is not through
    if (const auto linked = LinkedAs(domain)) std::erase(unlinked, linked->compartment);
  }
  return unlinked;
}

Result<uint64_t> MakeTokensAnew(Database& owner, const KeyRing& keys, const Policy& policy,
                                const std::vector<SearchedTable>& tables, const MovingProgress& progress) {
  uint64_t done = 0;
  for (const SearchedTable& table : tables) {
    ECLUSE_TRY(const auto compartment, SealingKeys(keys, table.table->compartment));
    ECLUSE_TRY(const bool noted, AllNoted(owner, table, *compartment));
    if (noted) continue;
    ECLUSE_OK(AtOnce(owner, [&]() -> Status {
      ECLUSE_OK(owner.Run("LOCK TABLE " + table.table->Sql() + " IN SHARE ROW EXCLUSIVE MODE"));
      ECLUSE_TRY(const uint64_t rows, TokenMaker(owner, table, keys, *compartment, policy).All(progress));
      ECLUSE_OK(NoteSearchKey(owner, table.table->name, TokenNames(table), *compartment));
      done += rows;
      return {};
    }));
  }
  return done;
}

}  // namespace ecluse
