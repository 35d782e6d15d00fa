#include "seal/table_rows.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/file.h"
#include "base/limits.h"
#include "execute/values.h"
#include "policy/applied.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"

namespace ecluse {
namespace {

// A text[] as text; nullopt is NULL.
std::string ArrayText(const std::vector<std::optional<std::string>>& values) {
  std::string out = "{";
  for (const auto& value : values) {
    if (out.size() > 1) out += ',';
    if (!value) {
      out += "NULL";
      continue;
    }
    out += '"';
    for (const char c : *value) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

// A lock that is held in the policy's database is not to be had there again.
Status CheckSameDatabase(const Policy& policy, KeyRing& keys, Register which, const std::string& lock) {
  const auto unseen = [&]() -> Status {
    if (which == Register::may_be_new) return {};
    return CannotMove("there is no login of the gate's to the register, by which --owner could be seen to lead there",
                      "run `ecluse apply`, which makes it");
  };
  const std::string login = policy.GateLogin();
  ECLUSE_TRY(const auto applied, RealFiles().Find(policy.data_dir + "/logins/" + login));
  if (!applied) return unseen();
  ECLUSE_TRY(const LoginCredentials credentials, LoadLogin(policy.data_dir, keys, login));
  bool unknown = false;
  auto gate = Database::ConnectAs(policy.database, credentials, &unknown);
  if (!gate && unknown) return unseen();  // a register that is new, under a data folder that is not
  if (!gate) return std::unexpected(std::move(gate).error());
  ECLUSE_TRY(const Rows free, gate->Query("SELECT pg_try_advisory_lock($1)", {lock}));
  if (!free.True(0, 0)) return {};
  return CannotMove("--owner leads to another database than the policy's gate.database",
                    "give the owner's connection to the register itself: server, port and database");
}

}  // namespace

Status CheckAlone(Database& owner, const CatalogTable& real) {
  const std::string name = real.name.Text();
  if (real.kind != 'r')
    return CannotMove(name + " is partitioned or foreign, which this version does not write anew", "seal its source");
  ECLUSE_TRY(const Rows family, owner.Query("SELECT FROM pg_inherits WHERE $1::regclass IN (inhrelid, inhparent)",
                                            {QuoteTable(real.name)}));
  if (family.size() > 0)
    return CannotMove(name + " inherits from another table, or is inherited from", "seal tables of their own");
  return {};
}

Status CheckUpdateTriggers(Database& owner, const TableName& table) {
  ECLUSE_TRY(const Rows triggers,
             owner.Query("SELECT tgname FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal AND "
                         "tgenabled <> 'D' AND (tgtype & 16) <> 0 AND tgname <> $2",
                         {QuoteTable(table), std::string(kMarkTrigger)}));
  if (triggers.size() == 0) return {};
  return CannotMove("the trigger " + triggers.Text(0, 0) + " of " + table.Text() +
                        " would run for every row, and see its clear values",
                    "disable it for the time (ALTER TABLE … DISABLE TRIGGER) and run `ecluse apply`; afterwards enable "
                    "it and run that again");
}

std::unexpected<Error> CannotMove(std::string what, std::string hint) {
  return Fail(sqlstate::kNotSupported, std::move(what), std::move(hint), "seal.table");
}

Result<std::string> ByteaOf(std::string_view text) {
  const auto bytes = text.starts_with("\\x") ? HexDecode(text.substr(2)) : std::nullopt;
  if (!bytes) return CannotMove("a sealed value is no bytea", "report this");
  return std::string(bytes->begin(), bytes->end());
}

Result<std::shared_ptr<const Links>> LinksOf(const KeyRing& keys, const Policy& policy, const PolicyTable& table,
                                             const CatalogTable& real) {
  if (table.subject_columns.size() != 1) return nullptr;
  const CatalogColumn* own = real.Find(table.subject_columns.front());
  const auto linked = own != nullptr && own->type_schema == kSealedSchema ? LinkedAs(own->type_element) : std::nullopt;
  if (!linked) return nullptr;
  if (table.linked() && linked->compartment != table.compartment)
    return CannotMove(table.name.Text() + " is in the compartment " + linked->compartment +
                          " in the database, and the policy has it in " + table.compartment,
                      "put that back, or open the table and seal it anew");
  ECLUSE_TRY(const auto compartment, SealingKeys(keys, linked->compartment));
  return std::make_shared<const Links>(compartment->link, policy.register_name, table.space);
}

Result<BatchedTable> DescribeTable(Database& owner, const KeyRing& keys, const Policy& whole, const PolicyTable& policy,
                                   const CatalogTable& real) {
  const TableName& name = policy.name;
  BatchedTable table;
  table.name = name;
  table.policy = &policy;
  table.compartment = policy.compartment;
  ECLUSE_TRY(table.links, LinksOf(keys, whole, policy, real));
  ECLUSE_OK(CheckAlone(owner, real));
  ECLUSE_OK(CheckUpdateTriggers(owner, name));
  ECLUSE_TRY(
      const Rows size,
      owner.Query("SELECT reltuples::int8, pg_table_size(oid) FROM pg_class WHERE oid = $1::regclass", {table.Sql()}));
  table.rows = static_cast<uint64_t>(std::max<int64_t>(std::atoll(size.Text(0, 0).c_str()), 0));
  const auto bytes = static_cast<uint64_t>(std::atoll(size.Text(0, 1).c_str()));
  table.batch = static_cast<int64_t>(std::clamp<uint64_t>(
      limits::kSealBatchBytes / (bytes / std::max<uint64_t>(table.rows, 1) + 1), 1, limits::kSealBatchRows));
  for (const CatalogKey& key : real.keys) {
    if (!key.primary) continue;
    for (const std::string& column : key.columns) table.key.emplace_back(column, real.Find(column)->type_name);
  }
  if (table.key.empty())
    return CannotMove(name.Text() + " has no primary key, by which its rows could be sealed one after the other",
                      "give it one: ALTER TABLE … ADD PRIMARY KEY");
  for (const std::string& subject : policy.subject_columns) {
    const CatalogColumn* own = real.Find(subject);
    if (own == nullptr || own->generated)
      return CannotMove(name.Text() + "." + subject + " is not in the table, or computed by it",
                        "values are sealed for the person that a column of the table's own names");
    const auto linked = table.links ? LinkedAs(own->type_element) : std::nullopt;
    if (linked) table.compartment = linked->compartment;
    table.subject_types.push_back(linked ? linked->type.oid : own->base_type);
  }
  return table;
}

Status BeginMoving(Database& owner, const Policy& policy, KeyRing& keys, Register which) {
  // Rows that a policy of the table hides from its owner must be an error, and not be left out.
  ECLUSE_OK(
      owner.Run("SET DateStyle TO 'ISO, YMD'; SET TimeZone TO 'UTC'; SET bytea_output TO hex; "
                "SET extra_float_digits TO 1; SET client_min_messages TO warning; SET row_security TO off; "
                "SET default_transaction_isolation TO 'read committed'; SET idle_in_transaction_session_timeout TO 0; "
                "SET idle_session_timeout TO 0; SET statement_timeout TO 0; SET lock_timeout TO '" +
                std::to_string(limits::kSealLock.count()) + "s'"));
  if (owner.server_version() >= 170000) ECLUSE_OK(owner.Run("SET transaction_timeout TO 0"));
  const std::string lock = std::to_string(GateLockKey(policy) ^ 2);
  ECLUSE_TRY(const Rows alone, owner.Query("SELECT pg_try_advisory_lock($1)", {lock}));
  if (!alone.True(0, 0))
    return CannotMove("another command that moves sealed values works on this register", "wait for it, or stop it");
  ECLUSE_OK(CheckSameDatabase(policy, keys, which, lock));
  if (auto taken = keys.TakeRing(); !taken) return std::unexpected(std::move(taken).error());
  return {};
}

RowBatches::RowBatches(Database& owner, const BatchedTable& table, const std::vector<std::string>& values,
                       std::string where)
    : owner_(owner), table_(table), where_(std::move(where)) {
  for (const auto& [name, type] : table.key) {
    select_ += "t." + QuoteName(name) + "::text, ";
    order_ += (order_.empty() ? "t." : ", t.") + QuoteName(name);
  }
  select_ += "t.ctid::text, t.xmin::text";
  for (const std::string& subject : table.policy->subject_columns) select_ += ", t." + QuoteName(subject) + "::text";
  for (const std::string& value : values) select_ += ", " + value;
}

Result<int> RowBatches::Next() {
  std::string after;
  std::vector<std::optional<std::string>> parameters;
  for (size_t i = 0; i < last_.size(); ++i) {
    parameters.emplace_back(last_[i]);
    after += (i > 0 ? ", $" : "$") + std::to_string(i + 1) + "::" + table_.key[i].second;
  }
  ECLUSE_TRY(rows_, owner_.Query("SELECT " + select_ + " FROM " + table_.Sql() + " AS t WHERE (" + where_ + ")" +
                                     (after.empty() ? "" : " AND (" + order_ + ") > (" + after + ")") + " ORDER BY " +
                                     order_ + " LIMIT " + std::to_string(table_.batch),
                                 parameters));
  if (rows_->size() == 0) return 0;
  last_.clear();
  for (size_t i = 0; i < table_.key.size(); ++i) last_.push_back(rows_->Text(rows_->size() - 1, static_cast<int>(i)));
  return rows_->size();
}

Result<std::string> RowBatches::Subject(int row) const {
  const size_t first = table_.key.size() + 2;
  std::string id;
  if (table_.links) {
    ECLUSE_TRY(const std::string pseudonym, ByteaOf(rows_->At(row, static_cast<int>(first))));
    ECLUSE_TRY(id, OpenLink(*table_.links, table_.name.Text(), pseudonym));
    return table_.policy->space + ":" + id;
  }
  for (size_t i = 0; i < table_.subject_types.size(); ++i) {
    ECLUSE_TRY(const auto part,
               CanonicalId(table_.subject_types[i], rows_->At(row, static_cast<int>(first + i)), false));
    if (!part)
      return CannotMove("a row of " + table_.name.Text() + " is about nobody", "give its subject column a value");
    id += (i > 0 ? std::string(1, kSubjectColumnSeparator) : "") + *part;
  }
  return table_.policy->space + ":" + id;
}

Result<uint64_t> RowBatches::Write(const std::vector<Written>& columns) {
  std::vector<std::optional<std::string>> places, versions;
  for (int row = 0; row < rows_->size(); ++row) {
    const int at = static_cast<int>(table_.key.size());
    places.emplace_back(rows_->Text(row, at));
    versions.emplace_back(rows_->Text(row, at + 1));
  }
  std::string set, names, arrays;
  std::vector<std::optional<std::string>> parameters{ArrayText(places), ArrayText(versions)};
  for (const Written& column : columns) {
    parameters.emplace_back(ArrayText(column.values));
    const std::string n = std::to_string(parameters.size());
    set += (set.empty() ? "" : ", ") + QuoteName(column.name) + " = v.c" + n + column.cast;
    names += ", c" + n;
    arrays += ", $" + n + "::" + column.array;
  }
  ECLUSE_TRY(const Rows done,
             owner_.Query("WITH done AS (UPDATE " + table_.Sql() + " AS t SET " + set +
                              " FROM unnest($1::tid[], "
                              "$2::xid[]" +
                              arrays + ") AS v(place, version" + names +
                              ") WHERE t.ctid = v.place AND t.xmin = v.version RETURNING 1) SELECT count(*) FROM done",
                          parameters));
  return static_cast<uint64_t>(std::atoll(done.Text(0, 0).c_str()));
}

}  // namespace ecluse
