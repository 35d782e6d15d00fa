// A table as rows of a file are loaded into it.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/catalog.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"
#include "seal/load_file.h"
#include "vault/keys.h"
#include "vault/sealed_value.h"

namespace ecluse {

// Not thread-safe; `policy` and `keys` must outlive it.
class LoadTarget {
 public:
  // Refuses what LoadTable() says of tables. Connects as the gate's login as well, to see that the policy is applied.
  static Result<LoadTarget> Read(Database& owner, KeyRing& keys, std::shared_ptr<const Policy> policy,
                                 const TableName& name);

  const TableName& table() const { return policy_->name; }
  // What a file may have values for.
  const std::vector<FileColumn>& columns() const { return columns_; }
  // Refuses a header without the columns that say for whom sealed values are sealed.
  Status CheckHeader(const std::vector<int>& header) const;

  // A row's subject column is left to its sequence, and has to be drawn before the row is sealed.
  bool Draws(const RowValues& row) const;
  Result<std::vector<std::string>> Draw(Database& owner, size_t count) const;
  void SetDrawn(RowValues* row, std::string number) const;

  // `space:id` of whom a row is about, whose parts stand in it behind this as the columns will hold them; empty where a
  // default says it. An Error of class 22, 23 or 54 is about the row, and `column` then says which column it is about,
  // if one: here and of Seal().
  Result<std::string> SubjectOf(RowValues* row, std::string* column) const;
  // The own keys that rows of these people are sealed under; none where the table has no such.
  Result<OwnKeys> TakeOwnKeys(std::span<const std::string> subjects) const;
  // A row as it is written: envelopes in the place of sealed values, and behind all values the tokens.
  Status Seal(RowValues* row, const std::string& subject, const OwnKeys& own, std::string* column) const;
  // The names of the columns of such a row.
  std::vector<std::string> Names(const std::vector<int>& columns) const;

 private:
  struct Sealed {
    ValueType type;
    Sealing search;
    std::vector<TokenColumn> tokens;
    BlindIndex index;
    std::optional<Links> links;  // where pseudonyms stand
  };
  struct Subject {
    int column = 0;
    ValueType type;
  };

  LoadTarget(std::shared_ptr<const Policy> policy, const PolicyTable& table)
      : whole_(std::move(policy)), policy_(&table), name_(table.name.Text()) {}
  Status ReadColumns(Database& owner, const CatalogTable& real, const KeyRing& keys);
  Status ReadSubject(Database& owner, const CatalogTable& real);

  std::shared_ptr<const Policy> whole_;
  const PolicyTable* policy_;
  std::string name_;
  const KeyRing* ring_ = nullptr;
  std::vector<FileColumn> columns_;
  std::vector<std::unique_ptr<const Sealed>> sealed_;  // for each column; null where it is not
  std::shared_ptr<const CompartmentKeys> keys_;        // null where nothing is sealed
  std::vector<Subject> subject_;  // the columns that say whom a row is about, in the policy's order
  std::string draws_;             // the sequence that the one subject column draws from, as text of a regclass
};

}  // namespace ecluse
