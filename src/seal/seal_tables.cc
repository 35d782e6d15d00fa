#include "seal/seal_tables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/sha.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "base/limits.h"
#include "policy/apply.h"
#include "policy/catalog.h"
#include "policy/sealed_columns.h"
#include "seal/cell.h"
#include "seal/left_overs.h"
#include "seal/moving.h"
#include "seal/shuffle_tables.h"

namespace ecluse {
namespace {

struct Index {
  std::string name;
  std::vector<std::string> columns;
  bool unique = false, valid = true;
  friend bool operator==(const Index&, const Index&) = default;
};

std::string NameList(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + QuoteName(name);
  return out;
}

// The columns of tokens that are filled with what is moved in.
std::vector<std::string> TokenNames(const MovingTable& table) {
  std::vector<std::string> names;
  for (const Moving& column : table.columns) {
    for (const TokenColumn& tokens : TokenColumns(column.name, column.type, column.search))
      names.push_back(tokens.name);
  }
  return names;
}

std::string LockTimeout() { return "'" + std::to_string(limits::kSealLock.count()) + "s'"; }

// In one transaction.
Status AtOnce(Database& owner, const std::function<Status()>& work) {
  ECLUSE_OK(owner.Run("BEGIN"));
  if (Status done = work(); !done) {
    (void)owner.Run("ROLLBACK");
    return done;
  }
  return owner.Run("COMMIT");
}

// ---- preparation ----

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

// Why what was gathered may not be what this run would gather, or no longer what the rows hold; empty where it is. Only
// under a lock that lets nobody alter the table is it true for longer than a moment.
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

// From a table in which nothing is to be moved.
Status DropFromRest(Database& owner, const LeftOver& left, const SealOptions& options) {
  Tell(left, options);
  if (left.clear && options.say)  // before: it is not found again
    options.say("rows of " + left.table.Text() +
                " go on holding the clear values of such columns until they are written again: VACUUM FULL it");
  return AtOnce(owner, [&] { return DropLeftOver(owner, left); });
}

// `left`: what is to go of the table, or null.
Status Prepare(Database& owner, const MovingTable& table, const LeftOver* left, const SealOptions& options) {
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
    ECLUSE_TRY(const std::string body, TriggerBody(owner, table, *options.policy));
    ECLUSE_OK(RunOne(owner, "CREATE OR REPLACE FUNCTION " + Marker(table.name) +
                                "() RETURNS trigger LANGUAGE plpgsql AS " + QuoteText(body)));
    ECLUSE_OK(RunOne(owner, "CREATE OR REPLACE TRIGGER " + QuoteName(kMarkTrigger) + " BEFORE INSERT OR UPDATE ON " +
                                table.Sql() + " FOR EACH ROW EXECUTE FUNCTION " + Marker(table.name) + "()"));
    // Whatever writes: replication and loaders that pass over ordinary triggers too.
    return RunOne(owner, "ALTER TABLE " + table.Sql() + " ENABLE ALWAYS TRIGGER " + QuoteName(kMarkTrigger));
  });
}

// ---- rows ----

class Sealer {
 public:
  Sealer(Database& owner, const MovingTable& table, const KeyRing& ring, const CompartmentKeys& keys,
         const SealOptions& options)
      : owner_(owner), table_(table), name_(table.name.Text()), ring_(ring), keys_(keys), options_(options) {
    for (const Moving& column : table.columns)
      indexes_.emplace_back(keys.search, options.policy->register_name, column.name);
    links_ = table.links ? table.links
                         : std::make_shared<const Links>(keys.link, options.policy->register_name, table.policy->space);
  }

  // All rows without envelopes, from the first on; `done` counts those that were sealed.
  Status Pass(uint64_t* done, bool locked) {
    std::vector<std::string> values;
    for (const Moving& column : table_.columns)
      values.push_back("t." + QuoteName(column.name) + (column.undo ? "::bytea::text" : "::text"));
    RowBatches rows(owner_, table_, values, table_.Unmoved("t"));
    uint64_t here = 0;
    while (true) {
      ECLUSE_TRY(const int count, rows.Next());
      if (count == 0) return {};
      ECLUSE_TRY(const auto made, Move(rows, count));
      ECLUSE_TRY(const uint64_t moved, rows.Write(made));
      *done += moved;
      here += moved;
      if (options_.progress && !locked)
        options_.progress((options_.undo ? "opening " : "sealing ") + name_, here, table_.rows);
    }
  }

 private:
  // Of each column its envelopes, or clear values, and behind them those of each of its token columns.
  Result<std::vector<RowBatches::Written>> Move(const RowBatches& rows, int count) const {
    std::vector<std::string> subjects;
    for (int row = 0; row < count; ++row) {
      ECLUSE_TRY(subjects.emplace_back(), rows.Subject(row));
    }
    OwnKeys own;
    if (table_.undo) {
      ECLUSE_TRY(own, OwnKeys::Find(ring_, subjects));
    } else if (table_.policy->own_keys) {
      ECLUSE_TRY(own, OwnKeys::Take(ring_, subjects));
    }
    std::vector<RowBatches::Written> made;
    for (size_t c = 0; c < table_.columns.size(); ++c) {
      const Moving& column = table_.columns[c];
      const auto tokens = TokenColumns(column.name, column.type, column.search);
      const size_t first = made.size();
      if (column.undo)
        made.push_back({column.moved(), "text[]", "::" + column.GatheredType(), {}});
      else
        made.push_back({column.moved(), "bytea[]", "", {}});
      for (const TokenColumn& token : tokens) made.push_back({token.name, "bytea[]", "", {}});
      for (int row = 0; row < count; ++row) {
        const std::string& subject = subjects[static_cast<size_t>(row)];
        const Cell cell{options_.policy->register_name, name_, column.name, subject, own.Of(subject)};
        if (rows.Null(row, c)) {
          for (size_t i = first; i < made.size(); ++i) made[i].values.emplace_back();
        } else if (column.search.link) {
          const std::string id = subject.substr(table_.policy->space.size() + 1);
          if (!MayBeLinked(id))
            return CannotMove(
                fmt::format("a row of {} has an id that can be nobody's, at {}", name_, rows.Place(row)),
                fmt::format("an id has 1 to {} bytes and no control characters 1E and 1F: correct the row "
                            "WHERE ctid = '{}'",
                            limits::kSubjectId, rows.Place(row)));
          made[first].values.emplace_back(column.undo ? id : ByteaText(links_->Of(id)));
        } else if (column.undo) {
          ECLUSE_TRY(const auto opened, Opened(column, cell, own.Erased(subject), rows.Value(row, c)));
          if (!opened) return OfErased(column.name, rows.Place(row));
          made[first].values.push_back(opened);
        } else {
          ECLUSE_TRY(const std::string canonical, CanonicalValue(column.type, rows.Value(row, c), false));
          ECLUSE_TRY(const std::string envelope, SealCell(keys_, cell, canonical));
          made[first].values.emplace_back(ByteaText(envelope));
          for (size_t i = 0; i < tokens.size(); ++i) {
            ECLUSE_TRY(const auto bytes,
                       TokenOf(indexes_[c], column.type, column.search, tokens[i].kind, tokens[i].level, canonical));
            made[first + 1 + i].values.emplace_back(bytes ? std::optional(ByteaText(*bytes)) : std::nullopt);
          }
        }
      }
    }
    return made;
  }

  std::unexpected<Error> OfErased(const std::string& column, std::string_view place) const {
    return CannotMove(
        fmt::format("{}.{} holds a value of somebody who was erased, which nothing opens any more, in the "
                    "row at {}",
                    name_, column, place),
        fmt::format("set it to NULL, or delete the row: it is the one WHERE ctid = '{}'", place));
  }

  Result<std::optional<std::string>> Opened(const Moving& column, const Cell& cell, bool erased,
                                            std::string_view text) const {
    ECLUSE_TRY(const std::string envelope, ByteaOf(text));
    ECLUSE_TRY(auto opened, OpenLeft(keys_, cell, erased, envelope));
    return opened && column.type.oid == type_oid::kBytea ? ByteaText(*opened) : std::move(opened);
  }

  Database& owner_;
  const MovingTable& table_;
  const std::string name_;
  const KeyRing& ring_;
  const CompartmentKeys& keys_;
  const SealOptions& options_;
  std::vector<BlindIndex> indexes_;
  std::shared_ptr<const Links> links_;
};

// ---- indexes ----

// Those of a table that stand and read one of these columns.
Result<std::vector<Index>> IndexesOver(Database& owner, const MovingTable& table,
                                       const std::vector<std::string>& columns) {
  ECLUSE_TRY(const Rows rows,
             owner.Query("SELECT c.relname, ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY "
                         "AS k(num, at) JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.num WHERE k.at "
                         "<= x.indnkeyatts ORDER BY k.at), x.indisunique, x.indisvalid FROM pg_index x JOIN pg_class c "
                         "ON c.oid = x.indexrelid WHERE x.indrelid = $1::regclass AND EXISTS (SELECT FROM pg_attribute "
                         "a WHERE a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey::int2[]) AND a.attname = ANY "
                         "($2::text[])) ORDER BY 1",
                         {table.Sql(), TextArray(columns)}));
  std::vector<Index> indexes;
  for (int i = 0; i < rows.size(); ++i)
    indexes.push_back({rows.Text(i, 0), rows.List(i, 1), rows.True(i, 2), rows.True(i, 3)});
  return indexes;
}

// The unique index that takes the place of a key over what is moved: over tokens, or on the way back over values.
Index InPlaceOf(const CatalogKey& key, const MovingTable& table) {
  Index index{table.undo ? "" : FittingName("__bidx_" + key.name), {}, true};
  for (const std::string& name : key.columns) {
    const bool moved = table.Holds(name);
    index.columns.push_back(!moved ? name : table.undo ? OfEqualityColumn(name) : EqualityColumn(name));
  }
  return index;
}

// One for each token column; unique ones in place of unique keys over sealed columns, which serve its searches too.
std::vector<Index> IndexesOf(const MovingTable& table, const CatalogTable& real) {
  std::vector<Index> indexes;
  std::set<std::string> served;
  for (const CatalogKey& key : real.keys) {
    if (!table.Holds(key)) continue;
    if (table.Holds(key.columns.front())) served.insert(EqualityColumn(key.columns.front()));
    indexes.push_back(InPlaceOf(key, table));
  }
  for (const Moving& column : table.columns) {
    for (const TokenColumn& tokens : TokenColumns(column.name, column.type, column.search)) {
      if (served.contains(tokens.name)) continue;
      indexes.push_back({FittingName(table.name.name + "_" + tokens.name), {tokens.name}});
    }
  }
  return indexes;
}

Status MakeIndexes(Database& owner, const MovingTable& table, const CatalogTable& real, const SealOptions& options) {
  if (table.undo) return {};  // those of clear columns are made with the change
  std::vector<Index> indexes = IndexesOf(table, real);
  ECLUSE_TRY(const std::vector<Index> standing, IndexesOver(owner, table, TokenNames(table)));
  for (const Index& index : standing) {
    // An interrupted run's are of use where they are whole, and the keys they stand for are what they were.
    if (std::erase(indexes, index) == 0)
      ECLUSE_OK(owner.Run("DROP INDEX CONCURRENTLY " + QuoteTable({table.name.schema, index.name})));
  }
  for (const Index& index : indexes) {
    if (options.progress) options.progress("making the index " + index.name, 0, 0);
    // It waits for transactions of before, however long they take, and holds nobody up meanwhile.
    ECLUSE_OK(owner.Run("SET lock_timeout TO 0"));
    auto made = owner.Query((index.unique ? "CREATE UNIQUE INDEX CONCURRENTLY " : "CREATE INDEX CONCURRENTLY ") +
                            QuoteName(index.name) + " ON " + table.Sql() + " (" + NameList(index.columns) + ")");
    ECLUSE_OK(owner.Run("SET lock_timeout TO " + LockTimeout()));
    if (made) continue;
    (void)owner.Run("DROP INDEX CONCURRENTLY IF EXISTS " + QuoteTable({table.name.schema, index.name}));
    if (made.error().sqlstate == "23505") {
      return CannotMove("values of " + table.name.Text() + " that a unique key tells apart are the same to the index " +
                            index.name + ", which knows no case and no accents",
                        "correct one of them, or seal that column without the key (drop it)");
    }
    return std::unexpected(std::move(made).error());
  }
  return {};
}

// ---- the change ----

Result<uint64_t> CountUnmoved(Database& owner, const MovingTable& table) {
  ECLUSE_TRY(const Rows rows, owner.Query("SELECT count(*) FROM " + table.Sql() + " AS t WHERE " + table.Unmoved("t")));
  return static_cast<uint64_t>(std::atoll(rows.Text(0, 0).c_str()));
}

Status Change(Database& owner, const MovingTable& table, const CatalogTable& real, std::vector<std::string>* dropped) {
  ECLUSE_OK(DropMarker(owner, table.name));
  // Whatever indexes the clear column goes: over envelopes it would find nothing.
  std::vector<std::string> names;
  for (const Moving& column : table.columns) {
    if (!column.search.link) names.push_back(column.name);  // one over pseudonyms finds them as well
  }
  ECLUSE_TRY(
      const Rows constraints,
      owner.Query("SELECT c.conname FROM pg_constraint c WHERE c.conrelid = $1::regclass AND c.contype = 'u' AND "
                  "EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) "
                  "AND a.attname = ANY ($2::text[]))",
                  {table.Sql(), TextArray(names)}));
  for (int i = 0; i < constraints.size(); ++i)
    ECLUSE_OK(RunOne(owner, "ALTER TABLE " + table.Sql() + " DROP CONSTRAINT " + QuoteName(constraints.Text(i, 0))));
  ECLUSE_TRY(const std::vector<Index> indexes, IndexesOver(owner, table, names));
  for (const Index& index : indexes) {
    const TableName name{table.name.schema, index.name};
    // Of unique ones over clear values the one over their tokens has taken the place.
    if (table.undo || !index.unique)
      dropped->push_back("the index " + name.Text() + " of " + table.name.Text() +
                         " read what was moved, and was dropped: make it anew over columns it can read");
    ECLUSE_OK(RunOne(owner, "DROP INDEX " + QuoteTable(name)));
  }
  // Where NULLs are the same, an index over tokens holds from the change on: rows without tokens yet have NULLs too.
  // The one that was made beside is taken away first, so that it is not written anew for nothing.
  const auto made_now = [&](const CatalogKey& key) { return table.Holds(key) && (table.undo || !key.nulls_distinct); };
  for (const CatalogKey& key : real.keys) {
    if (made_now(key) && !table.undo)
      ECLUSE_OK(RunOne(owner, "DROP INDEX " + QuoteTable({table.name.schema, InPlaceOf(key, table).name})));
  }
  std::string types, gone;
  for (const Moving& column : table.columns) {
    types += (types.empty() ? "" : ", ") + ("ALTER COLUMN " + QuoteName(column.name)) + " TYPE " + column.MovedType() +
             " USING " + QuoteName(column.moved());
    gone += (gone.empty() ? "" : ", ") + ("DROP COLUMN " + QuoteName(column.moved()));
    if (!column.undo) continue;
    for (const CatalogColumn& other : real.columns) {
      if (IsTokenColumn(column.name, other.name)) gone += ", DROP COLUMN " + QuoteName(other.name);
    }
  }
  // In the order of the pseudonyms, before the table is written anew: then nothing of it is as it was written first,
  // neither places, nor transactions' numbers, nor those of values out of line.
  if (const auto link = std::ranges::find_if(table.columns, [](const Moving& one) { return one.search.link; });
      link != table.columns.end() && !table.undo) {
    ECLUSE_OK(OrderByPseudonym(owner, table.name, link->moved()));
  }
  // Writes the table anew, under the exclusive lock, so that none of its files holds a clear value any more.
  // In one command: a column that is dropped behind it would stay in the rows.
  ECLUSE_OK(RunOne(owner, "ALTER TABLE " + table.Sql() + " " + types + ", " + gone));
  for (const CatalogKey& key : real.keys) {
    if (!made_now(key)) continue;
    const Index index = InPlaceOf(key, table);
    ECLUSE_OK(RunOne(owner, "CREATE UNIQUE INDEX " + (index.name.empty() ? "" : QuoteName(index.name)) + " ON " +
                                table.Sql() + " (" + NameList(index.columns) + ")" +
                                (key.nulls_distinct ? "" : " NULLS NOT DISTINCT")));
  }
  return {};
}

std::vector<std::string> StillToDo(bool undo, bool statistics) {
  std::vector<std::string> out = {
      "old WAL still holds clear values: CHECKPOINT, and remove or overwrite archived WAL once newer base backups "
      "exist",
      "backups and dumps made before hold clear values: destroy them when they are no longer needed",
      "replicas: see that they have replayed the change",
      "PostgreSQL's own log may hold statements with clear values: remove the files of before",
      "the disk may hold blocks of files that were deleted: where that matters, move the cluster to a new, encrypted "
      "one"};
  if (undo)
    return {
        "the columns stand in clear again: indexes that made searches quick, other than unique ones, have to be made "
        "anew",
        "`sealed` columns protected what backups, logs and dumps from now on hold in clear"};
  if (!statistics)
    out.insert(out.begin(),
               "old statistics still hold clear values: VACUUM FULL pg_catalog.pg_statistic, as the "
               "database's owner");
  return out;
}

Result<SealReport> MoveTables(Database& owner, KeyRing& keys, const SealOptions& options) {
  ECLUSE_OK(BeginMoving(owner, *options.policy, keys, Register::may_be_new));
  ECLUSE_TRY(const Catalog catalog, ReadCatalog(owner, *options.policy));
  ECLUSE_TRY(const std::vector<MovingTable> tables, WhatToSeal(owner, keys, options, catalog));
  if (!tables.empty()) ECLUSE_OK(CheckPolicy(options, catalog, tables));
  SealReport report;
  ECLUSE_TRY(const std::vector<LeftOver> left_overs, LeftOvers(owner, *options.policy));
  for (const LeftOver& left : left_overs) {
    if (std::ranges::find(tables, left.table, &MovingTable::name) == tables.end())
      ECLUSE_OK(DropFromRest(owner, left, options));
  }
  for (const MovingTable& table : tables) {
    for (const Moving& column : table.columns) report.columns.push_back(table.name.Text() + "." + column.name);
    const auto left = std::ranges::find(left_overs, table.name, &LeftOver::table);
    ECLUSE_OK(Prepare(owner, table, left == left_overs.end() ? nullptr : &*left, options));
  }
  if (tables.empty()) return report;
  std::vector<std::shared_ptr<const CompartmentKeys>> compartments;
  for (const MovingTable& table : tables) {
    ECLUSE_TRY(compartments.emplace_back(), SealingKeys(keys, table.compartment));
  }
  const auto pass = [&](const MovingTable& table, bool locked) {
    const CompartmentKeys& compartment = *compartments[static_cast<size_t>(&table - tables.data())];
    return Sealer(owner, table, keys, compartment, options).Pass(&report.rows, locked);
  };
  for (const MovingTable& table : tables) {
    ECLUSE_OK(pass(table, false));
    ECLUSE_OK(MakeIndexes(owner, table, catalog.tables.at(table.name), options));
  }
  std::vector<std::string> dropped;
  const auto change = [&]() -> Status {
    dropped.clear();
    for (const MovingTable& table : tables)
      ECLUSE_OK(owner.Run("LOCK TABLE " + table.Sql() + " IN ACCESS EXCLUSIVE MODE"));
    ECLUSE_OK(CheckUnaltered(owner, keys, options, catalog, tables));
    for (const MovingTable& table : tables) {
      ECLUSE_TRY(const std::string unfit, WhyUnfit(owner, table, *options.policy));
      if (!unfit.empty())
        return CannotMove("rows of " + table.name.Text() + " may have changed unmarked: " + unfit,
                          "nothing is lost: run `ecluse seal` again, which begins that table anew");
      if (options.progress) options.progress("writing " + table.name.Text() + " anew", 0, 0);
      // What came in since, now that nobody else writes.
      ECLUSE_OK(pass(table, true));
      ECLUSE_TRY(const uint64_t left, CountUnmoved(owner, table));
      if (left > 0)
        return CannotMove(fmt::format("{} rows of {} are not moved", left, table.name.Text()),
                          "run `ecluse seal` again");
      ECLUSE_OK(Change(owner, table, catalog.tables.at(table.name), &dropped));
    }
    return {};
  };
  // Until shortly before the change, so that little is left to seal under the lock.
  for (const MovingTable& table : tables) ECLUSE_OK(pass(table, false));
  ECLUSE_TRY(const ApplyReport applied, Apply(owner, options.policy, &keys, ApplyMode::apply, change));
  if (!applied.done()) {
    std::string why = Problems(*options.policy, applied.problems);
    for (const std::string& refusal : applied.refusals) why += "\ndatabase: " + refusal;
    return CannotMove(
        fmt::format("the rows are {}, and the policy cannot be applied{}", options.undo ? "opened" : "sealed", why),
        "nothing has changed for the register; mend that, and run `ecluse seal` again");
  }
  for (const MovingTable& table : tables) (void)owner.Run("ANALYZE " + table.Sql());
  const bool statistics = owner.Run("VACUUM FULL pg_catalog.pg_statistic").has_value();
  report.still_to_do = std::move(dropped);
  for (std::string& what : StillToDo(options.undo, statistics)) report.still_to_do.push_back(std::move(what));
  return report;
}

}  // namespace

Result<SealReport> SealTables(Database& owner, KeyRing& keys, const SealOptions& options) {
  auto report = MoveTables(owner, keys, options);
  if (report || (report.error().sqlstate != "55P03" && report.error().sqlstate != "40P01")) return report;
  return CannotMove("statements or open transactions have used the tables for 10 seconds, so the work was not finished",
                    "what was done is kept; run `ecluse seal` again when less is going on, or end long transactions");
}

}  // namespace ecluse
