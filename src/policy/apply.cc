#include "policy/apply.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/random.h"
#include "policy/apply_parts.h"

namespace ecluse {
namespace {

// Rolls back whatever was not committed.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (open_) (void)database_.Run("ROLLBACK");
  }
  Status Begin() {
    ECLUSE_OK(database_.Run("BEGIN ISOLATION LEVEL READ COMMITTED"));
    open_ = true;
    return {};
  }
  Status Commit() {
    open_ = false;
    return database_.Run("COMMIT");
  }

 private:
  Database& database_;
  bool open_ = false;
};

Secret NewPassword() {
  uint8_t bytes[32];
  RandomBytes(bytes);
  return Secret(std::string_view(Base64UrlEncode(bytes)));
}

// Compiles and gathers everything that speaks against applying. Nothing where something does.
Result<std::optional<RoleSchemas>> Examine(ApplyRun& run, std::shared_ptr<const Policy> policy,
                                           const Catalog& catalog) {
  std::vector<PolicyProblem> warnings;
  auto schemas = CompileRoles(policy, catalog, &warnings);
  for (const PolicyProblem& warning : warnings) run.report.warnings.push_back(ProblemText(policy->file, warning));
  if (!schemas) run.report.problems = schemas.error();
  ECLUSE_TRY(run.report.refusals, AuditPublic(run.database, *policy));
  ECLUSE_TRY(auto conditions, CheckConditions(run.database, *policy, catalog));
  for (PolicyProblem& problem : conditions) run.report.problems.push_back(std::move(problem));
  if (!run.report.done()) return std::nullopt;
  return std::optional<RoleSchemas>(*std::move(schemas));
}

// The logins that need a new password: those that do not exist, whose password is not kept here, or is no longer
// theirs.
std::map<std::string, LoginCredentials> NewPasswords(const Policy& policy, KeyRing* keys,
                                                     const std::set<std::string>& existing, ApplyReport& report) {
  std::map<std::string, LoginCredentials> fresh;
  for (const std::string& login : policy.Logins()) {
    if (existing.contains(login)) {
      if (keys == nullptr) continue;  // a dry run does not open the vault
      auto kept = LoadLogin(policy.data_dir, *keys, login);
      bool wrong = false;
      auto connection =
          kept ? Database::ConnectAs(policy.database, *kept, &wrong) : Result<Database>(std::unexpected(kept.error()));
      if (connection) continue;
      if (kept && !wrong) {
        report.warnings.push_back("the password of " + login + " could not be tried: " + connection.error().message);
        continue;
      }
    }
    fresh.emplace(login, LoginCredentials{login, NewPassword()});
  }
  return fresh;
}

struct NotesTable {
  const char* name;
  const char* columns;
};
constexpr NotesTable kNotesTables[] = {
    {"applied", "(name text PRIMARY KEY, value text NOT NULL)"},
    {"checkpoint", "(origin text PRIMARY KEY, size bigint NOT NULL, note text NOT NULL, told timestamptz NOT NULL)"}};

Result<bool> HasTable(ApplyRun& run, const char* name) {
  ECLUSE_TRY(Rows rows, run.database.Query("SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                                           "WHERE n.nspname = $1 AND c.relname = $2",
                                           {NotesSchema(run.policy), name}));
  return rows.size() > 0;
}

// What is missing of it: an earlier version made less.
Status MakeNotes(ApplyRun& run) {
  const std::string schema = NotesSchema(run.policy);
  ECLUSE_TRY(Rows there, run.database.Query("SELECT FROM pg_namespace WHERE nspname = $1", {schema}));
  if (there.size() == 0) ECLUSE_OK(run.Change("CREATE SCHEMA " + QuoteName(schema)));
  for (const NotesTable& table : kNotesTables) {
    ECLUSE_TRY(bool made, HasTable(run, table.name));
    if (!made)
      ECLUSE_OK(run.Change("CREATE TABLE " + QuoteName(schema) + "." + QuoteName(table.name) + " " + table.columns));
  }
  return {};
}

// The gate's own login reaches the checkpoint, and nothing of the register.
Status MakeGateLogin(ApplyRun& run, bool exists, const std::optional<LoginCredentials>& password) {
  const std::string login = run.policy.GateLogin(), schema = NotesSchema(run.policy);
  ECLUSE_OK(ApplyLogin(run, login, exists, password));
  std::set<Privilege> wanted = {{"schema", "", schema, "", "USAGE"}};
  for (const char* right : {"SELECT", "INSERT", "UPDATE"}) wanted.insert({"table", schema, "checkpoint", "", right});
  return ApplyPrivileges(run, login, wanted);
}

std::optional<LoginCredentials> PasswordOf(const std::map<std::string, LoginCredentials>& passwords,
                                           const std::string& login) {
  auto fresh = passwords.find(login);
  if (fresh == passwords.end()) return std::nullopt;
  return LoginCredentials{login, fresh->second.password.Copy()};
}

Status WriteNotes(ApplyRun& run, const RoleSchemas& schemas, const Catalog& catalog) {
  ECLUSE_TRY(Fingerprint wanted, ReadFingerprint(run.database, run.policy));
  wanted.merge(CompiledFingerprint(schemas, catalog));
  wanted["policy"] = run.policy.digest;
  ECLUSE_TRY(Fingerprint notes, ReadNotes(run.database, run.policy));
  const std::string table = QuoteName(NotesSchema(run.policy)) + ".\"applied\"";
  for (const auto& [name, value] : wanted) {
    auto noted = notes.find(name);
    if (noted != notes.end() && noted->second == value) continue;
    ECLUSE_OK(run.Change("INSERT INTO " + table + " VALUES (" + QuoteText(name) + ", " + QuoteText(value) +
                         ") ON CONFLICT (name) DO UPDATE SET value = excluded.value"));
  }
  for (const auto& [name, value] : notes) {
    if (!wanted.contains(name)) ECLUSE_OK(run.Change("DELETE FROM " + table + " WHERE name = " + QuoteText(name)));
  }
  return {};
}

Status MakeEverything(ApplyRun& run, const RoleSchemas& schemas, const Catalog& catalog,
                      const std::set<std::string>& existing, const std::map<std::string, LoginCredentials>& passwords) {
  ECLUSE_TRY(Fingerprint notes, ReadNotes(run.database, run.policy));
  ECLUSE_OK(MakeNotes(run));
  ECLUSE_TRY(Fingerprint now, ReadFingerprint(run.database, run.policy));
  now.merge(CompiledFingerprint(schemas, catalog));
  const std::string gate = run.policy.GateLogin();
  ECLUSE_OK(MakeGateLogin(run, existing.contains(gate), PasswordOf(passwords, gate)));
  std::set<std::string> wanted = {gate};
  for (const auto& [name, schema] : schemas) {
    const std::string& login = schema->login;
    wanted.insert(login);
    ECLUSE_OK(ApplyLogin(run, login, existing.contains(login), PasswordOf(passwords, login)));
    auto same = [&](const std::string& part) { return notes.contains(part) && notes.at(part) == now[part]; };
    const bool rebuild = !same("views " + login) || !same("sql " + login);
    ECLUSE_OK(ApplyObjects(run, login, RoleObjects(*schema, catalog), rebuild));
    ECLUSE_OK(ApplyPrivileges(run, login, WantedPrivileges(*schema, catalog, NotesSchema(run.policy))));
  }
  for (const std::string& login : existing) {
    if (!wanted.contains(login)) ECLUSE_OK(RemoveLogin(run, login));
  }
  return WriteNotes(run, schemas, catalog);
}

Status ForgetLogins(const Policy& policy, const std::set<std::string>& logins) {
  for (const std::string& login : logins) {
    const std::string path = policy.data_dir + "/logins/" + login;
    ECLUSE_TRY(auto found, RealFiles().Find(path));
    if (found) ECLUSE_OK(RealFiles().Remove(path));
  }
  return {};
}

Status RemoveEverything(ApplyRun& run, const std::set<std::string>& existing) {
  for (const std::string& login : existing) ECLUSE_OK(RemoveLogin(run, login));
  ECLUSE_TRY(Rows notes, run.database.Query("SELECT FROM pg_namespace WHERE nspname = $1", {NotesSchema(run.policy)}));
  if (notes.size() == 0) return {};
  const std::string schema = QuoteName(NotesSchema(run.policy));
  ECLUSE_OK(run.Change("DROP TABLE IF EXISTS " + schema + ".\"applied\""));
  ECLUSE_TRY(bool told, HasTable(run, "checkpoint"));
  if (told) {
    ECLUSE_TRY(Rows ledgers, run.database.Query("SELECT FROM " + schema + ".\"checkpoint\" LIMIT 1"));
    if (ledgers.size() > 0) {
      run.report.warnings.push_back(schema +
                                    ".\"checkpoint\" stays: it tells which checkpoint of the ledger was the last. "
                                    "Where the ledger is gone for good: DROP SCHEMA " +
                                    schema + " CASCADE");
      return {};
    }
    ECLUSE_OK(run.Change("DROP TABLE " + schema + ".\"checkpoint\""));
  }
  return run.Change("DROP SCHEMA " + schema);
}

Status Lock(Database& database, const Policy& policy) {
  // Two applies at once would each undo half of the other.
  return database.Run("SET LOCAL lock_timeout TO '10s'; SELECT pg_advisory_xact_lock(" +
                      std::to_string(GateLockKey(policy) ^ 1) + ")");
}

}  // namespace

Status ApplyRun::Change(const std::string& sql, const std::string& shown) {
  report.statements.push_back(shown.empty() ? sql : shown);
  // One statement only: what a policy's texts hold is never run as a second one.
  auto done = database.Query(sql);
  if (done) return {};
  Error error = std::move(done).error();
  if (error.sqlstate == "55P03") {
    error.message = "a statement or open transaction of the gate still uses what has to change";
    error.hint = "try again in a moment; nothing was changed. Where it stays so, stop the gate first";
  }
  return std::unexpected(std::move(error));
}

namespace {

// Inside a transaction. What was not done stands in the report.
Status ApplyPolicy(ApplyRun& run, std::shared_ptr<const Policy> policy, const std::set<std::string>& existing,
                   KeyRing* keys, ApplyMode mode) {
  ECLUSE_TRY(Catalog catalog, ReadCatalog(run.database, *policy));
  ECLUSE_TRY(std::optional<RoleSchemas> schemas, Examine(run, policy, catalog));
  if (!schemas) return {};
  auto passwords = NewPasswords(*policy, keys, existing, run.report);
  ECLUSE_OK(MakeEverything(run, *schemas, catalog, existing, passwords));
  if (mode == ApplyMode::dry_run) return {};
  // Kept before they are valid: after a crash between the two, the next apply finds them wrong and makes new ones.
  for (const auto& [login, credentials] : passwords) {
    if (keys == nullptr)
      return Fail(sqlstate::kIo, "no keys to keep the logins' passwords with", "run `ecluse keys init`");
    ECLUSE_OK(StoreLogin(policy->data_dir, *keys, credentials));
  }
  return {};
}

}  // namespace

Result<ApplyReport> Apply(Database& owner, std::shared_ptr<const Policy> policy, KeyRing* keys, ApplyMode mode,
                          const std::function<Status()>& change) {
  ApplyReport report;
  ApplyRun run{owner, *policy, report};
  Transaction transaction(owner);
  ECLUSE_OK(transaction.Begin());
  ECLUSE_OK(Lock(owner, *policy));
  ECLUSE_TRY(std::set<std::string> existing, ExistingLogins(owner, *policy));
  if (mode == ApplyMode::remove) {
    ECLUSE_OK(RemoveEverything(run, existing));
    ECLUSE_OK(transaction.Commit());
    ECLUSE_OK(ForgetLogins(*policy, existing));
    return report;
  }
  if (change) {
    for (const std::string& login : existing) ECLUSE_OK(DropObjects(run, login));
    ECLUSE_OK(change());
  }
  ECLUSE_OK(ApplyPolicy(run, policy, existing, keys, mode));
  if (!report.done() || mode == ApplyMode::dry_run) return report;
  ECLUSE_OK(transaction.Commit());
  // The passwords of logins that the policy no longer has.
  for (const std::string& login : policy->Logins()) existing.erase(login);
  ECLUSE_OK(ForgetLogins(*policy, existing));
  return report;
}

Result<ApplyReport> CheckAgainst(Database& owner, std::shared_ptr<const Policy> policy) {
  ApplyReport report;
  ApplyRun run{owner, *policy, report};
  Transaction transaction(owner);
  ECLUSE_OK(transaction.Begin());
  ECLUSE_TRY(Catalog catalog, ReadCatalog(owner, *policy));
  ECLUSE_TRY(std::optional<RoleSchemas> schemas, Examine(run, policy, catalog));
  (void)schemas;
  return report;
}

}  // namespace ecluse
