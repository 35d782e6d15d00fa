#include "seal/load_target.h"

#include <algorithm>

#include "base/limits.h"
#include "execute/values.h"
#include "policy/applied.h"
#include "seal/cell.h"
#include "seal/table_rows.h"

namespace ecluse {
namespace {

// Bits of pg_trigger.tgtype (PostgreSQL, catalog/pg_trigger.h): for each row 1, before 2, insert 4.
Status CheckTriggers(Database& owner, const TableName& table) {
  ECLUSE_TRY(const Rows triggers,
             owner.Query("SELECT tgname FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal AND "
                         "tgenabled IN ('O', 'A') AND (tgtype & 7) = 7 ORDER BY 1",
                         {QuoteTable(table)}));
  if (triggers.size() == 0) return {};
  return CannotMove(
      "the trigger " + triggers.Text(0, 0) + " of " + table.Text() +
          " would run before every row is written, and may change what it was sealed for",
      "disable it for the time (ALTER TABLE … DISABLE TRIGGER) and run `ecluse apply`; afterwards enable it and "
      "run that again");
}

}  // namespace

Result<LoadTarget> LoadTarget::Read(Database& owner, KeyRing& keys, std::shared_ptr<const Policy> policy,
                                    const TableName& name) {
  const auto table = policy->tables.find(name);
  if (table == policy->tables.end())
    return CannotMove(name.Text() + " is not among the policy's tables",
                      "name one of them; into others, load with COPY");
  LoadTarget target(policy, table->second);
  target.ring_ = &keys;
  ECLUSE_TRY(const Catalog catalog, ReadCatalog(owner, *policy));
  const auto real = catalog.tables.find(name);
  if (real != catalog.tables.end()) {
    for (const CatalogColumn& column : real->second.columns)
      if (column.name.starts_with("__sealed_") || column.name.starts_with("__clear_"))
        return CannotMove("`ecluse seal` is not through with " + name.Text(), "run it again first");
  }
  // As the gate looks at its start: what is sealed under another policy than the one applied would open for nobody.
  ECLUSE_TRY(const RoleSchemas applied, OpenRoleSchemas(policy, keys));
  if (real == catalog.tables.end()) return CannotMove(name.Text() + " is not in the database", "create it");
  ECLUSE_OK(target.ReadColumns(owner, real->second, keys));
  ECLUSE_OK(target.ReadSubject(owner, real->second));
  return target;
}

Status LoadTarget::ReadColumns(Database& owner, const CatalogTable& real, const KeyRing& keys) {
  for (const CatalogColumn& column : real.columns) {
    if (column.generated || column.name.starts_with(kTokenPrefix)) continue;
    const PolicyColumn* in_policy = policy_->Find(column.name);
    std::unique_ptr<const Sealed> sealed;
    Oid type = column.base_type;
    if (in_policy != nullptr && in_policy->sealed) {
      const ValueType declared = *StandingType(column.type_element, *in_policy->sealed);
      if (!keys_) {
        ECLUSE_TRY(keys_, SealingKeys(keys, policy_->compartment));
      }
      std::optional<Links> links;
      if (in_policy->sealed->link) links.emplace(keys_->link, whole_->register_name, policy_->space);
      sealed = std::make_unique<const Sealed>(
          declared, *in_policy->sealed, TokenColumns(column.name, declared, *in_policy->sealed),
          BlindIndex(keys_->search, whole_->register_name, column.name), std::move(links));
      type = declared.oid;
    }
    constexpr Oid kJson = 114;
    columns_.push_back({column.name, type == kJson || type == type_oid::kJsonb});
    sealed_.push_back(std::move(sealed));
  }
  return keys_ ? CheckTriggers(owner, real.name) : Status();
}

Status LoadTarget::ReadSubject(Database& owner, const CatalogTable& real) {
  for (const std::string& name : policy_->subject_columns) {
    const auto at = std::ranges::find(columns_, name, &FileColumn::name);
    if (at == columns_.end())
      return CannotMove(name_ + "." + name + " is computed by the table",
                        "values are sealed for the person that a column of the table's own names");
    ECLUSE_TRY(const Rows row,
               owner.Query("SELECT atttypmod, CASE WHEN attidentity <> '' THEN pg_get_serial_sequence($1, $2) END FROM "
                           "pg_attribute WHERE attrelid = $1::regclass AND attname = $2",
                           {QuoteTable(real.name), name}));
    const auto& sealed = sealed_[static_cast<size_t>(at - columns_.begin())];
    subject_.push_back({static_cast<int>(at - columns_.begin()),
                        sealed ? sealed->type : ValueType{real.Find(name)->type, std::atoi(row.Text(0, 0).c_str())}});
    if (!keys_ || policy_->subject_columns.size() != 1) continue;
    const auto sequence = real.sequences.find(name);
    draws_ = sequence != real.sequences.end() ? QuoteTable(sequence->second) : row.Text(0, 1);
  }
  return {};
}

Status LoadTarget::CheckHeader(const std::vector<int>& header) const {
  if (!keys_ || !draws_.empty()) return {};
  for (const Subject& subject : subject_) {
    if (std::ranges::find(header, subject.column) != header.end()) continue;
    return Fail(sqlstate::kInvalidParameter,
                "the file has no column " + columns_[static_cast<size_t>(subject.column)].name +
                    ", which says whom a row of " + name_ + " is about",
                "sealed values are sealed for that person: give the file the column", "load.header");
  }
  return {};
}

bool LoadTarget::Draws(const RowValues& row) const {
  return !draws_.empty() && std::ranges::find(row.columns, subject_.front().column) == row.columns.end();
}

Result<std::vector<std::string>> LoadTarget::Draw(Database& owner, size_t count) const {
  ECLUSE_TRY(const Rows rows, owner.Query("SELECT nextval($1::regclass)::text FROM generate_series(1, $2::int8)",
                                          {draws_, std::to_string(count)}));
  std::vector<std::string> numbers;
  for (int i = 0; i < rows.size(); ++i) numbers.push_back(rows.Text(i, 0));
  return numbers;
}

void LoadTarget::SetDrawn(RowValues* row, std::string number) const {
  row->columns.push_back(subject_.front().column);
  row->values.emplace_back(std::move(number));
}

Result<std::string> LoadTarget::SubjectOf(RowValues* row, std::string* column) const {
  std::string id;
  for (const Subject& subject : subject_) {
    *column = columns_[static_cast<size_t>(subject.column)].name;
    const auto at = std::ranges::find(row->columns, subject.column);
    if (at == row->columns.end() && !keys_) return std::string();  // a default says it
    if (at == row->columns.end()) return NoSubject();
    auto& value = row->values[static_cast<size_t>(at - row->columns.begin())];
    if (!value) return NoSubject();
    ECLUSE_TRY(value, CanonicalValue(subject.type, *value, false));
    ECLUSE_TRY(const auto part, CanonicalId(subject.type.oid, *value, false));
    id += (&subject == subject_.data() ? "" : std::string(1, kSubjectColumnSeparator)) + part.value_or("");
    // What every reader of the table would be refused for.
    if (!part || !MayBeId(*part) || id.size() > limits::kSubjectId) return Fail("22023", "that is nobody's id");
  }
  column->clear();
  return policy_->space + ":" + id;
}

Result<OwnKeys> LoadTarget::TakeOwnKeys(std::span<const std::string> subjects) const {
  if (!policy_->own_keys || !keys_) return OwnKeys();
  return OwnKeys::Take(*ring_, subjects);
}

Status LoadTarget::Seal(RowValues* row, const std::string& subject, const OwnKeys& own, std::string* column) const {
  std::vector<std::optional<std::string>> tokens;
  for (size_t i = 0; i < row->columns.size(); ++i) {
    const auto at = static_cast<size_t>(row->columns[i]);
    if (!sealed_[at]) continue;
    const Sealed& sealed = *sealed_[at];
    *column = columns_[at].name;
    if (sealed.links) {
      row->values[i] = ByteaText(sealed.links->Of(std::string_view(subject).substr(policy_->space.size() + 1)));
      continue;
    }
    const Cell cell{whole_->register_name, name_, *column, subject, own.Of(subject)};
    if (policy_->own_keys && cell.own == nullptr)
      return Fail(sqlstate::kInternal, "a person's own key was not taken", "report this", "seal.own-keys");
    ECLUSE_OK(
        SealText(*keys_, sealed.index, cell, sealed.type, sealed.search, sealed.tokens, &row->values[i], &tokens));
  }
  row->values.insert(row->values.end(), std::make_move_iterator(tokens.begin()), std::make_move_iterator(tokens.end()));
  return {};
}

std::vector<std::string> LoadTarget::Names(const std::vector<int>& columns) const {
  std::vector<std::string> names, tokens;
  for (const int index : columns) {
    const auto at = static_cast<size_t>(index);
    names.push_back(columns_[at].name);
    if (!sealed_[at]) continue;
    for (const TokenColumn& token : sealed_[at]->tokens) tokens.push_back(token.name);
  }
  names.insert(names.end(), tokens.begin(), tokens.end());
  return names;
}

}  // namespace ecluse
