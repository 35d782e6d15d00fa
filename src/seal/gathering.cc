#include "seal/gathering.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/sha.h>

#include "base/bytes.h"
#include "policy/sealed_columns.h"
#include "vault/link.h"
#include "vault/xaes.h"

namespace ecluse {
namespace {

// What envelopes and tokens are made of: an interrupted run's are of use where it is the same.
std::string MadeOf(const MovingTable& table, const Policy& policy) {
  std::string of = policy.register_name + " " + table.policy->space + (table.policy->own_keys ? " own keys" : "") +
                   " " + table.compartment;
  for (const std::string& subject : table.policy->subject_columns) of += " " + subject;
  for (const Moving& column : table.columns) {
    of += fmt::format("|{} {} {} {} {} {} {} {}", column.name, column.Domain(), column.undo, column.search.equality,
                      column.search.prefix, column.search.phonetic, column.search.range, column.search.range_of_time);
  }
  uint8_t hash[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(of.data()), of.size(), hash);
  return HexEncode(hash);
}

// It tells what is gathered, and in which of the table's files: values that are written anew in bulk pass no trigger.
Result<std::string> TriggerBody(Database& owner, const MovingTable& table, const Policy& policy) {
  ECLUSE_TRY(const Rows file, owner.Query("SELECT pg_relation_filenode($1::regclass)", {table.Sql()}));
  // As written: values that a type or collation calls equal may still differ.
  const auto differs = [](const std::string& name) {
    return "NEW." + QuoteName(name) + "::text COLLATE \"C\" IS DISTINCT FROM OLD." + QuoteName(name) +
           "::text COLLATE \"C\"";
  };
  std::string changed, all;
  for (const Moving& column : table.columns) {
    std::string clear = "NEW." + QuoteName(column.moved()) + " := NULL; ";
    for (const TokenColumn& tokens : TokenColumns(column.name, column.type, column.search))
      clear += "NEW." + QuoteName(tokens.name) + " := NULL; ";
    all += clear;
    std::string any = differs(column.name);
    for (const std::string& subject : table.policy->subject_columns) any += " OR " + differs(subject);
    changed += "IF " + any + " THEN " + clear + "END IF; ";
  }
  return "/* " + MadeOf(table, policy) + " in " + file.Text(0, 0) + " */ BEGIN IF TG_OP = 'INSERT' THEN " + all +
         "ELSE " + changed + "END IF; RETURN NEW; END";
}

// In the owner's schema of domains over bytea.
Status MakeDomain(Database& owner, std::string_view name, const std::string& check) {
  ECLUSE_TRY(const Rows known, owner.Query("SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
                                           "WHERE n.nspname = $1 AND t.typname = $2",
                                           {std::string(kSealedSchema), std::string(name)}));
  if (known.size() > 0) return {};
  return RunOne(owner, "CREATE DOMAIN " + InSealedSchema(name) + " AS bytea" + check);
}

// One of columns that are added to a table in use. PostgreSQL writes a table anew, under an exclusive lock, where one
// of a domain with constraints is added to it, though none of its rows has a value there: these have none.
Status MakeOpenDomain(Database& owner, std::string_view name) {
  ECLUSE_OK(MakeDomain(owner, name, ""));
  ECLUSE_TRY(const Rows checks, owner.Query("SELECT conname FROM pg_constraint WHERE contypid = $1::regtype",
                                            {InSealedSchema(name)}));  // of versions that had one
  for (int i = 0; i < checks.size(); ++i)
    ECLUSE_OK(RunOne(owner, "ALTER DOMAIN " + InSealedSchema(name) + " DROP CONSTRAINT " + QuoteName(checks.At(i, 0))));
  return {};
}

std::string EnvelopeCheck() {
  return " CHECK (octet_length(VALUE) >= " + std::to_string(kEnvelopeOverhead) + " AND get_byte(VALUE, 0) IN (1, 3))";
}
std::string LinkCheck() {
  return fmt::format(" CHECK (octet_length(VALUE) > {0} AND (octet_length(VALUE) - {0}) % {1} = 0)", kLinkTag,
                     kLinkBlock);
}

std::string TokenType(const TokenColumn& tokens, const Sealing& search) {
  return tokens.kind == TokenColumn::Kind::block ? InSealedSchema(RangeDomain(search)) : "bytea";
}

}  // namespace

Status AtOnce(Database& owner, const std::function<Status()>& work) {
  ECLUSE_OK(owner.Run("BEGIN"));
  if (Status done = work(); !done) {
    (void)owner.Run("ROLLBACK");
    return done;
  }
  return owner.Run("COMMIT");
}

std::vector<std::string> TokenNames(const MovingTable& table) {
  std::vector<std::string> names;
  for (const Moving& column : table.columns) {
    for (const TokenColumn& tokens : TokenColumns(column.name, column.type, column.search))
      names.push_back(tokens.name);
  }
  return names;
}

Result<std::string> WhyUnfit(Database& owner, const MovingTable& table, const Policy& policy) {
  ECLUSE_TRY(const Rows trigger, owner.Query("SELECT t.tgenabled, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = "
                                             "t.tgfoid WHERE t.tgrelid = $1::regclass AND t.tgname = $2",
                                             {table.Sql(), std::string(kMarkTrigger)}));
  // Prepare() has it fire always: whoever takes it away or disables it, and makes or enables it again, leaves it firing
  // on ordinary writes alone.
  if (trigger.size() == 0 || trigger.At(0, 0) != "A")
    return "the trigger that marks changed rows was taken away or disabled";
  ECLUSE_TRY(const std::string body, TriggerBody(owner, table, policy));
  if (trigger.At(0, 1) == body) return "";
  if (!trigger.At(0, 1).contains(MadeOf(table, policy)))
    return "it was begun under another policy, or with other types of its columns";
  return "the table was written anew meanwhile (ALTER TABLE, VACUUM FULL), or the function of its trigger altered";
}

namespace {

// What an earlier run gathered and is of no use.
Status DropUnfit(Database& owner, const MovingTable& table, const SealOptions& options) {
  std::vector<std::string> names = TokenNames(table);
  for (const Moving& column : table.columns) names.push_back(column.moved());
  ECLUSE_TRY(const Rows there, owner.Query("SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attname "
                                           "= ANY ($2::text[]) AND NOT attisdropped",
                                           {table.Sql(), TextArray(names)}));
  if (there.size() == 0) return {};
  ECLUSE_TRY(const std::string why, WhyUnfit(owner, table, *options.policy));
  if (why.empty()) return {};
  if (options.say)
    options.say("what an earlier run did of " + table.name.Text() + " is not gone on with, but begun anew: " + why);
  names.clear();
  for (int i = 0; i < there.size(); ++i) names.push_back(there.Text(i, 0));
  return DropColumns(owner, table.name, names);
}

void Tell(const LeftOver& left, const SealOptions& options) {
  if (options.say)
    options.say(
        fmt::format("what an earlier run gathered in {}, and the policy has no use for any more, is dropped: {}",
                    left.table.Text(), fmt::join(left.columns, ", ")));
}

}  // namespace

Status DropFromRest(Database& owner, const LeftOver& left, const SealOptions& options) {
  Tell(left, options);
  if (left.clear && options.say)  // before: it is not found again
    options.say("rows of " + left.table.Text() +
                " go on holding the clear values of such columns until they are written again: VACUUM FULL it");
  return AtOnce(owner, [&] { return DropLeftOver(owner, left); });
}

Status NoteSearchKey(Database& owner, const TableName& table, const std::vector<std::string>& columns,
                     const CompartmentKeys& keys) {
  for (const std::string& column : columns)
    ECLUSE_OK(RunOne(owner, "COMMENT ON COLUMN " + QuoteTable(table) + "." + QuoteName(column) + " IS " +
                                QuoteText(SearchKeyNote(HexEncode(keys.search_id)))));
  return {};
}

Status PrepareTable(Database& owner, const MovingTable& table, const CompartmentKeys& keys, const LeftOver* left,
                    const SealOptions& options) {
  if (left != nullptr) Tell(*left, options);
  return AtOnce(owner, [&]() -> Status {
    ECLUSE_OK(RunOne(owner, "CREATE SCHEMA IF NOT EXISTS " + QuoteName(kSealedSchema)));
    // From here until the trigger is made anew nobody alters the table: it would hide what was done to it before.
    ECLUSE_OK(RunOne(owner, "LOCK TABLE " + table.Sql() + " IN ACCESS EXCLUSIVE MODE"));
    ECLUSE_OK(DropUnfit(owner, table, options));
    if (left != nullptr) ECLUSE_OK(DropColumns(owner, table.name, left->columns));
    std::string columns;
    const auto add = [&](const std::string& name, const std::string& type) {
      columns += (columns.empty() ? "" : ", ") + ("ADD COLUMN IF NOT EXISTS " + QuoteName(name)) + " " + type;
    };
    for (const Moving& column : table.columns) {
      if (!column.undo) {
        ECLUSE_OK(MakeDomain(owner, column.Domain(), column.search.link ? LinkCheck() : EnvelopeCheck()));
        ECLUSE_OK(MakeOpenDomain(owner, column.search.link ? kGatheredLinks : kGatheredDomain));
      }
      add(column.moved(), column.GatheredType());
      for (const TokenColumn& tokens : TokenColumns(column.name, column.type, column.search)) {
        if (tokens.kind == TokenColumn::Kind::block) ECLUSE_OK(MakeOpenDomain(owner, RangeDomain(column.search)));
        add(tokens.name, TokenType(tokens, column.search));
      }
    }
    ECLUSE_OK(RunOne(owner, "ALTER TABLE " + table.Sql() + " " + columns));
    if (!table.undo) ECLUSE_OK(NoteSearchKey(owner, table.name, TokenNames(table), keys));
    ECLUSE_TRY(const std::string body, TriggerBody(owner, table, *options.policy));
    ECLUSE_OK(RunOne(owner, "CREATE OR REPLACE FUNCTION " + Marker(table.name) +
                                "() RETURNS trigger LANGUAGE plpgsql AS " + QuoteText(body)));
    ECLUSE_OK(RunOne(owner, "CREATE OR REPLACE TRIGGER " + QuoteName(kMarkTrigger) + " BEFORE INSERT OR UPDATE ON " +
                                table.Sql() + " FOR EACH ROW EXECUTE FUNCTION " + Marker(table.name) + "()"));
    // Whatever writes: replication and loaders that pass over ordinary triggers too.
    return RunOne(owner, "ALTER TABLE " + table.Sql() + " ENABLE ALWAYS TRIGGER " + QuoteName(kMarkTrigger));
  });
}

}  // namespace ecluse
