#include "policy/apply.h"

#include <gtest/gtest.h>

#include "policy/applied.h"
#include "policy/pg_fixture_test.h"

namespace ecluse {
namespace {

// Wraps by turning bytes around; what matters here is that what was wrapped comes back, for the same name only.
class FakeKeys final : public KeyRing {
 public:
  Result<std::string> SealForDay(int64_t, std::string_view, std::string_view) override { return std::string(); }
  Result<std::string> OpenForDay(std::string_view, std::string_view) override { return std::string(); }
  void SubjectKey(std::string_view, std::string_view, uint8_t*) const override {}
  void Pseudonym(std::string_view, std::string_view, std::string_view, uint8_t*) const override {}
  Result<std::string> Wrap(std::string_view plain, std::string_view associated) override {
    std::string out = std::string(associated) + "\n";
    for (char c : plain) out += static_cast<char>(c ^ 0x55);
    return out;
  }
  Result<std::string> Unwrap(std::string_view wrapped, std::string_view associated) override {
    const std::string head = std::string(associated) + "\n";
    if (!wrapped.starts_with(head)) return Fail(sqlstate::kIo, "not wrapped under this name");
    std::string out;
    for (char c : wrapped.substr(head.size())) out += static_cast<char>(c ^ 0x55);
    return out;
  }
  Result<std::vector<KeyInfo>> List() const override { return std::vector<KeyInfo>(); }
  void OnKeyMade(std::function<void(const KeyInfo&)>) override {}
};

constexpr std::string_view kTables = R"(
CREATE SCHEMA taj; CREATE SCHEMA ref; CREATE SCHEMA kinds;
CREATE TYPE kinds.mood AS ENUM ('calm', 'angry');
CREATE TABLE ref.offence (code int PRIMARY KEY, label text);
CREATE TABLE taj.person (
  person_id int PRIMARY KEY, nir text NOT NULL UNIQUE, family_name varchar(40) NOT NULL, birth_date date,
  seen_at timestamptz, phone text, height int, mood kinds.mood, photo bytea, unnamed text);
CREATE TABLE taj.case (case_id serial PRIMARY KEY, summary text, offence int REFERENCES ref.offence);
CREATE TABLE taj.involvement (
  involvement_id bigserial PRIMARY KEY, person_id int NOT NULL REFERENCES taj.person, case_id int NOT NULL REFERENCES taj.case,
  outcome text NOT NULL);
INSERT INTO ref.offence VALUES (1, 'theft');
INSERT INTO taj.person VALUES
  (1, '1750175000001', 'Martin', '1975-01-31', '2020-12-31 23:30+00', '0612345678', 187, 'calm', '\x01', 'x'),
  (2, '2800275000002', 'Durand', '1980-02-28', '2021-06-15 12:00+00', '06', -5, 'angry', '\x02', 'y'),
  (3, '3', 'Petit', 'infinity', NULL, NULL, NULL, NULL, NULL, 'z');
INSERT INTO taj.case VALUES (10, 'both', 1), (11, 'one', 1), (12, 'nobody', 1);
INSERT INTO taj.involvement VALUES (1, 1, 10, 'open'), (2, 2, 10, 'closed'), (3, 1, 11, 'judged'), (4, 1, 10, 'open');
SELECT setval('taj.involvement_involvement_id_seq', 10);
)";

constexpr std::string_view kPolicy = R"(version: 1
register: test
gate:
  data_dir: DATA
  sql: {listen: 127.0.0.1:0}
  database: {host: 127.0.0.1, port: PORT, name: DB, tls: disable}
  allow_cleartext: true
tables:
  taj.person:
    subject: person_id
    columns:
      person_id: {class: key}
      nir: {class: identifier}
      family_name: {class: identity}
      birth_date: {class: birth}
      seen_at: {class: birth}
      phone: {class: contact}
      height: {class: body}
      mood: {class: body}
      photo: {class: biometric}
  taj.involvement:
    subject: person_id
    columns:
      involvement_id: {class: key}
      person_id: {class: key}
      case_id: {class: key}
      outcome: {class: judicial}
  taj.case:
    subject: {via: taj.involvement, key: case_id}
    columns: {case_id: {class: key}, summary: {class: judicial}}
open_tables: [ref.offence]
roles:
  officer:
    read:
      taj.person: {key: clear, identity: initial, birth: year, contact: last4, height: range(10), mood: clear}
      taj.involvement: {key: clear, judicial: clear}
      taj.case: {key: clear, judicial: clear}
    rows:
      taj.involvement: "outcome <> 'closed' -- only what is open"
    hours: "Mon-Sun 00:00-24:00 Europe/Paris"
  clerk:
    read:
      taj.person: {key: clear, identity: clear, identifier: clear, contact: redacted}
      taj.involvement: {key: clear, judicial: clear}
      taj.case: {key: clear, judicial: clear}
    write:
      taj.person: {insert: [person_id, nir, family_name, birth_date], update: [family_name, birth_date]}
      taj.involvement: {insert: [person_id, case_id, outcome], update: [outcome], delete: true}
)";

class ApplyTest : public testing::Test {
 protected:
  void SetUp() override {
    PrivatePostgres& server = PrivatePostgres::Get();
    ASSERT_TRUE(server.running()) << "PostgreSQL 15 could not be started in " << server.folder();
    static int count = 0;
    database_ = "register" + std::to_string(++count);
    auto super = server.Super();
    ASSERT_TRUE(super.Run("DROP ROLE IF EXISTS owner; CREATE ROLE owner LOGIN CREATEROLE"));
    ASSERT_TRUE(super.Run("CREATE DATABASE " + database_ + " OWNER owner"));
    ASSERT_TRUE(super.Run("REVOKE TEMPORARY ON DATABASE " + database_ + " FROM PUBLIC"));
    server.Run("owner", database_, std::string(kTables));
    data_ = std::filesystem::temp_directory_path() / ("ecluse-apply-" + std::to_string(getpid()) + database_);
    std::filesystem::create_directory(data_);
    std::filesystem::permissions(data_, std::filesystem::perms::owner_all);
  }
  void TearDown() override {
    auto removed = Run(std::string(kPolicy), ApplyMode::remove);
    EXPECT_TRUE(removed) << removed.error().operator_detail;
    PrivatePostgres::Get().Super().Run("DROP DATABASE IF EXISTS " + database_ + " WITH (FORCE)").value();
    std::filesystem::remove_all(data_);
  }

  std::shared_ptr<const Policy> Load(std::string text) {
    auto put = [&](std::string_view from, const std::string& to) {
      for (size_t at; (at = text.find(from)) != std::string::npos;) text.replace(at, from.size(), to);
    };
    put("DATA", data_.string());
    put("PORT", std::to_string(PrivatePostgres::Get().port()));
    put("DB", database_);
    auto policy = ParsePolicy(text, "test.yaml", nullptr);
    if (policy) return *policy;
    for (const auto& problem : policy.error()) ADD_FAILURE() << ProblemText("test.yaml", problem);
    return nullptr;
  }
  Result<ApplyReport> Run(const std::string& text, ApplyMode mode = ApplyMode::apply) {
    auto policy = Load(text);
    auto owner = Database::Connect(PrivatePostgres::Get().Url("owner", database_));
    if (!policy || !owner) return Fail("XX000", "no policy or no owner");
    return Apply(*owner, policy, &keys_, mode);
  }
  // Applies and expects it to be done.
  ApplyReport Applied(const std::string& text = std::string(kPolicy)) {
    auto report = Run(text);
    if (!report) {
      ADD_FAILURE() << report.error().message << "\n" << report.error().operator_detail;
      return {};
    }
    for (const auto& problem : report->problems) ADD_FAILURE() << problem.message;
    for (const auto& refusal : report->refusals) ADD_FAILURE() << refusal;
    for (const auto& warning : report->warnings) std::printf("%s\n", warning.c_str());
    return *report;
  }
  Status Check(const std::string& text = std::string(kPolicy)) {
    auto schemas = OpenRoleSchemas(Load(text), keys_);
    if (!schemas) return std::unexpected(schemas.error());
    return {};
  }
  Database Login(const std::string& role) {
    auto policy = Load(std::string(kPolicy));
    auto credentials = LoadLogin(policy->data_dir, keys_, policy->LoginOf(role));
    if (!credentials) throw std::runtime_error(credentials.error().message);
    auto database = Database::ConnectAs(policy->database, *credentials);
    if (!database) throw std::runtime_error(database.error().message);
    return std::move(*database);
  }
  // Rows as "a|b;c|d"; an error as "SQLSTATE".
  static std::string Ask(Database& database, const std::string& sql) {
    auto rows = database.Query(sql);
    if (!rows) return rows.error().sqlstate;
    std::string out;
    for (int i = 0; i < rows->size(); ++i) {
      if (i > 0) out += ";";
      for (int k = 0; k < rows->columns(); ++k)
        out += (k > 0 ? "|" : "") + (rows->Null(i, k) ? "NULL" : rows->Text(i, k));
    }
    return out;
  }
  static std::string With(std::string_view from, std::string_view to) {
    std::string text(kPolicy);
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
  // Nothing is done, and one of the problems holds `part`.
  void ExpectProblem(const std::string& text, const std::string& part) {
    auto report = Run(text);
    ASSERT_TRUE(report) << report.error().message << report.error().operator_detail;
    std::string all;
    for (const PolicyProblem& problem : report->problems) all += problem.message + "\n";
    EXPECT_NE(all.find(part), std::string::npos) << part << "\nin: " << all;
    EXPECT_TRUE(report->statements.empty());
  }

  std::string database_;
  std::filesystem::path data_;
  FakeKeys keys_;
};

TEST_F(ApplyTest, ViewsShowWhatThePolicySays) {
  Applied();
  Database officer = Login("officer");
  const std::string view = R"("ecluse_test_officer"."taj.person")";
  EXPECT_EQ(Ask(officer, "SELECT * FROM " + view + " ORDER BY person_id"),
            "1|NULL|M|1975-01-01|2020-12-31 23:00:00+00|5678|180|calm|NULL|1;"
            "2|NULL|D|1980-01-01|2020-12-31 23:00:00+00||-10|angry|NULL|2;"
            "3|NULL|P|infinity|NULL|NULL|NULL|NULL|NULL|3");
  EXPECT_EQ(Ask(officer, "SELECT * FROM \"ecluse_test_officer\".\"taj.involvement\" ORDER BY 1"),
            "1|1|10|open|1;3|1|11|judged|1;4|1|10|open|1");
  EXPECT_EQ(Ask(officer,
                "SELECT case_id, summary, replace(__subject, E'\\x1f', '+') FROM \"ecluse_test_officer\".\"taj.case\" "
                "ORDER BY 1"),
            "10|both|1+2;11|one|1")
      << "rows about nobody are left out; everybody else's are counted, also whom the role's condition hides";
  EXPECT_EQ(Ask(officer, "SELECT * FROM ref.offence"), "1|theft");
}

TEST_F(ApplyTest, TheTimeZoneOfASessionMovesNothing) {
  Applied();
  Database officer = Login("officer");
  auto year = [&](const std::string& zone) {
    EXPECT_TRUE(officer.Run("SET TimeZone TO '" + zone + "'"));
    return Ask(officer,
               "SELECT extract(epoch FROM seen_at), birth_date FROM \"ecluse_test_officer\".\"taj.person\" ORDER BY 1");
  };
  EXPECT_EQ(year("Pacific/Kiritimati"), year("Pacific/Niue"));
}

TEST_F(ApplyTest, TheLoginCanDoNothingElse) {
  Applied();
  Database officer = Login("officer");
  for (const char* sql :
       {"SELECT * FROM taj.person", "SELECT count(*) FROM taj.involvement",
        "SELECT * FROM \"ecluse_test_clerk\".\"taj.person\"", "INSERT INTO ref.offence VALUES (2, 'x')",
        "CREATE TABLE public.t ()", "CREATE TEMP TABLE t ()", "CREATE SCHEMA s",
        "UPDATE \"ecluse_test_officer\".\"taj.person\" SET person_id = 9",
        "DELETE FROM \"ecluse_test_officer\".\"taj.case\"", "UPDATE \"ecluse_test\".applied SET value = ''",
        "ALTER ROLE ecluse_test_officer SUPERUSER", "SELECT nextval('taj.case_case_id_seq')"}) {
    EXPECT_EQ(Ask(officer, sql), "42501") << sql;
  }
}

TEST_F(ApplyTest, WritesGoThroughTheViewsColumnByColumn) {
  Applied();
  Database clerk = Login("clerk");
  const std::string person = R"("ecluse_test_clerk"."taj.person")",
                    involvement = R"("ecluse_test_clerk"."taj.involvement")";
  EXPECT_EQ(
      Ask(clerk,
          "INSERT INTO " + person +
              " (person_id, nir, family_name, birth_date) VALUES (4, '4', 'Roux', '2000-01-01') RETURNING __subject"),
      "4");
  EXPECT_EQ(Ask(clerk, "SELECT birth_date FROM " + person), "42501") << "written, never read";
  EXPECT_EQ(Ask(clerk, "SELECT person_id, family_name, phone FROM " + person + " WHERE person_id IN (1, 4) ORDER BY 1"),
            "1|Martin|redacted;4|Roux|redacted");
  EXPECT_EQ(Ask(clerk, "UPDATE " + person + " SET birth_date = '2001-02-03' WHERE person_id = 4 RETURNING person_id"),
            "4");
  EXPECT_EQ(Ask(clerk, "UPDATE " + person + " SET nir = '5' WHERE person_id = 4"), "42501");
  EXPECT_EQ(Ask(clerk, "DELETE FROM " + person + " WHERE person_id = 4"), "42501");
  EXPECT_EQ(Ask(clerk, "INSERT INTO " + involvement +
                           " (person_id, case_id, outcome) VALUES (4, 10, 'open') RETURNING __subject"),
            "4")
      << "the default draws from a sequence of its own";
  EXPECT_EQ(Ask(clerk, "DELETE FROM " + involvement + " WHERE person_id = 4 RETURNING __subject"), "4");
}

TEST_F(ApplyTest, SecondTimeNothingChanges) {
  EXPECT_FALSE(Applied().statements.empty());
  auto again = Applied();
  EXPECT_TRUE(again.statements.empty()) << again.statements[0];
  EXPECT_TRUE(Check()) << Check().error().message;
  Database officer = Login("officer");
  EXPECT_EQ(Ask(officer, "SELECT 1"), "1") << "the password stays";
}

TEST_F(ApplyTest, DryRunChangesNothing) {
  auto dry = Run(std::string(kPolicy), ApplyMode::dry_run);
  ASSERT_TRUE(dry);
  EXPECT_FALSE(dry->statements.empty());
  for (const std::string& sql : dry->statements) EXPECT_EQ(sql.find("SCRAM-SHA-256"), std::string::npos);
  auto super = PrivatePostgres::Get().Super(database_);
  EXPECT_EQ(Ask(super, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'ecluse%'"), "0");
  EXPECT_EQ(Ask(super, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'ecluse%'"), "0");
}

TEST_F(ApplyTest, RemoveTakesEverythingAway) {
  Applied();
  auto removed = Run(std::string(kPolicy), ApplyMode::remove);
  ASSERT_TRUE(removed) << removed.error().operator_detail;
  auto super = PrivatePostgres::Get().Super(database_);
  EXPECT_EQ(Ask(super, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'ecluse%'"), "0");
  EXPECT_EQ(Ask(super, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'ecluse%'"), "0");
  EXPECT_EQ(Ask(super, "SELECT count(*) FROM pg_class WHERE relacl::text LIKE '%ecluse%'"), "0");
  EXPECT_FALSE(std::filesystem::exists(data_ / "logins/ecluse_test_officer"));
  auto again = Run(std::string(kPolicy), ApplyMode::remove);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->statements.empty());
}

TEST_F(ApplyTest, AnotherPolicyIsRefusedUntilApplied) {
  const std::string other = With("identity: initial", "identity: clear");
  EXPECT_FALSE(Check()) << "never applied";
  Applied();
  auto refused = Check(other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().rule, "policy.not-applied");
  EXPECT_NE(refused.error().hint.find("ecluse apply"), std::string::npos);
  auto report = Applied(other);
  for (const std::string& sql : report.statements) {
    EXPECT_EQ(sql.find("clerk"), std::string::npos) << "only what differs is made anew: " << sql;
  }
  EXPECT_TRUE(Check(other));
  EXPECT_FALSE(Check());
}

TEST_F(ApplyTest, EveryDriftIsSeenAndMended) {
  Applied();
  ASSERT_TRUE(Check());
  PrivatePostgres& server = PrivatePostgres::Get();
  for (const char* sql :
       {"ALTER TABLE taj.person ADD COLUMN more text", "ALTER TABLE taj.person ADD CHECK (height < 300)",
        "CREATE UNIQUE INDEX ON taj.case (summary)", "ALTER TABLE ref.offence ADD COLUMN more text",
        "GRANT SELECT ON taj.person TO ecluse_test_officer",
        "GRANT UPDATE (outcome) ON taj.involvement TO ecluse_test_clerk",
        "GRANT SELECT ON \"ecluse_test_officer\".\"taj.person\" TO ecluse_test_clerk",
        "CREATE OR REPLACE VIEW \"ecluse_test_officer\".\"taj.involvement\" AS SELECT involvement_id, person_id, "
        "case_id, "
        "outcome, 'nobody'::text AS __subject FROM taj.involvement",
        "ALTER VIEW \"ecluse_test_officer\".\"taj.involvement\" SET (security_barrier = false)",
        "ALTER ROLE ecluse_test_officer CREATEROLE", "ALTER ROLE ecluse_test_officer SET search_path TO taj",
        "CREATE VIEW \"ecluse_test_officer\".\"extra\" AS SELECT * FROM taj.person",
        "REVOKE SELECT ON \"ecluse_test_officer\".\"taj.person\" FROM ecluse_test_officer",
        "GRANT USAGE ON SCHEMA taj TO ecluse_test_officer"}) {
    server.Run("owner", database_, sql);
    auto refused = Check();
    ASSERT_FALSE(refused) << sql;
    EXPECT_EQ(refused.error().rule, "policy.drift") << sql;
    Applied();
    EXPECT_TRUE(Check()) << sql << ": " << Check().error().message;
  }
  Database officer = Login("officer");
  EXPECT_EQ(Ask(officer, "SELECT count(*) FROM \"ecluse_test_officer\".\"taj.involvement\""), "3");
}

TEST_F(ApplyTest, ALostOrWrongPasswordIsMadeAnew) {
  Applied();
  std::filesystem::remove(data_ / "logins/ecluse_test_officer");
  EXPECT_FALSE(Applied().statements.empty());
  EXPECT_EQ(Ask(*std::make_unique<Database>(Login("officer")), "SELECT 1"), "1");
  PrivatePostgres::Get().Run("owner", database_, "ALTER ROLE ecluse_test_officer PASSWORD 'other'");
  EXPECT_FALSE(Applied().statements.empty());
  EXPECT_EQ(Ask(*std::make_unique<Database>(Login("officer")), "SELECT 1"), "1");
}

TEST_F(ApplyTest, ARoleThatLeftThePolicyLosesItsLogin) {
  Applied();
  const std::string text(kPolicy);
  Applied(text.substr(0, text.find("  clerk:")));
  auto super = PrivatePostgres::Get().Super(database_);
  EXPECT_EQ(Ask(super, "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'ecluse%'"),
            "ecluse_test_officer");
  EXPECT_FALSE(std::filesystem::exists(data_ / "logins/ecluse_test_clerk"));
}

TEST_F(ApplyTest, WhatPublicReachesIsRefusedWithItsRemedy) {
  PrivatePostgres& server = PrivatePostgres::Get();
  for (auto [sql, mend] :
       {std::pair{"GRANT SELECT ON taj.person TO PUBLIC", "REVOKE SELECT ON \"taj\".\"person\" FROM PUBLIC;"},
        {"GRANT SELECT (nir) ON taj.person TO PUBLIC", "REVOKE SELECT (\"nir\") ON \"taj\".\"person\" FROM PUBLIC;"},
        {"CREATE FUNCTION ref.f() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
         "REVOKE EXECUTE ON ROUTINE ref.f() FROM PUBLIC;"},
        {"GRANT CREATE ON SCHEMA ref TO PUBLIC", "REVOKE CREATE ON SCHEMA \"ref\" FROM PUBLIC;"},
        {"CREATE VIEW ref.all AS SELECT * FROM taj.person; GRANT SELECT ON ref.all TO PUBLIC",
         "REVOKE SELECT ON \"ref\".\"all\" FROM PUBLIC;"}}) {
    server.Run("owner", database_, sql);
    auto report = Run(std::string(kPolicy));
    ASSERT_TRUE(report) << report.error().operator_detail;
    ASSERT_EQ(report->refusals.size(), 1u) << sql;
    EXPECT_NE(report->refusals[0].find(mend), std::string::npos) << report->refusals[0];
    EXPECT_TRUE(report->statements.empty());
    server.Run("owner", database_, mend);
  }
  ASSERT_TRUE(server.Super().Run("GRANT TEMPORARY ON DATABASE " + database_ + " TO PUBLIC"));
  auto report = Run(std::string(kPolicy));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->refusals.size(), 1u);
  ASSERT_TRUE(server.Super().Run("REVOKE TEMPORARY ON DATABASE " + database_ + " FROM PUBLIC"));
  Applied();
}

TEST_F(ApplyTest, MisfitsAreProblems) {
  ExpectProblem(With("height: range(10)", "height: year"), "height is integer, which the mask year does not fit");
  ExpectProblem(With("  taj.involvement:\n    subject",
                     "  taj.absent: {subject: a, columns: {a: {class: b}}}\n  taj.involvement:\n    subject"),
                "taj.absent is not in the database");
  ExpectProblem(With("photo: {class: biometric}", "photo: {class: biometric}\n      shoe: {class: body}"),
                "no column shoe");
  ExpectProblem(With("open_tables: [ref.offence]", "open_tables: [ref.offence, ref.none]"), "ref.none");
  ExpectProblem(With("height: range(10)", "photo: initial"), "does not fit");
}

TEST_F(ApplyTest, SubjectsMustBeSomebody) {
  PrivatePostgres& server = PrivatePostgres::Get();
  server.Run("owner", database_, "ALTER TABLE taj.involvement ALTER person_id DROP NOT NULL");
  ExpectProblem(std::string(kPolicy), "ALTER TABLE \"taj\".\"involvement\" ALTER COLUMN \"person_id\" SET NOT NULL");
  server.Run("owner", database_, "ALTER TABLE taj.involvement ALTER person_id SET NOT NULL");
  server.Run("owner", database_, "CREATE TABLE taj.odd (id float8 NOT NULL)");
  ExpectProblem(With("  taj.involvement:\n    subject",
                     "  taj.odd: {subject: id, columns: {id: {class: key}}}\n  taj.involvement:\n    subject"),
                "double precision");
}

TEST_F(ApplyTest, ConditionsAreImmutableButForNow) {
  const std::string from = "\"outcome <> 'closed' -- only what is open\"";
  ExpectProblem(With(from, "\"outcome <> current_setting('x')\""), "immutable");
  ExpectProblem(With(from, "\"outcome <> current_user\""), "immutable");
  ExpectProblem(With(from, "\"exists (select from taj.person)\""), "subquery");
  ExpectProblem(With(from, "outcome"), "boolean");
  ExpectProblem(With(from, "\"true) STORED; DROP TABLE taj.person; --\""), "syntax error");
  Applied(With(from, "\"outcome <> 'closed' AND now() > '2000-01-01 00:00:00+00'::timestamptz\""));
}

TEST_F(ApplyTest, AConditionIsNoOracleForItsWriter) {
  ExpectProblem(With("  clerk:\n    read:", "  clerk:\n    rows: {taj.person: \"family_name <> phone\"}\n    read:"),
                "find it out");
}

TEST_F(ApplyTest, WritesThatTellOfTheUnseenAreRefused) {
  const std::string from = "identifier: clear, contact: redacted}";
  ExpectProblem(With(from, "contact: redacted}"), "the unique key person_nir_key (nir)");
  Applied(With(from, "contact: redacted}")
              .replace(With(from, "contact: redacted}").find("    subject: person_id"), 22,
                       "    accepts_existence: true\n    subject: person_id"));
  PrivatePostgres& server = PrivatePostgres::Get();
  server.Run("owner", database_,
             "ALTER TABLE taj.person ADD CONSTRAINT odd CHECK (birth_date > '1000-01-01' OR height > 100)");
  ExpectProblem(std::string(kPolicy), "the check odd compares");
  server.Run("owner", database_, "ALTER TABLE taj.person DROP CONSTRAINT odd");
  server.Run("owner", database_, "CREATE TABLE taj.secret (involvement_id bigint REFERENCES taj.involvement)");
  ExpectProblem(std::string(kPolicy), "points here from rows or columns of taj.secret");
}

TEST_F(ApplyTest, TriggersThatReachOutAreRefused) {
  PrivatePostgres& server = PrivatePostgres::Get();
  server.Run("owner", database_, R"(
    CREATE FUNCTION taj.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.phone := lower(NEW.phone); RETURN NEW; END';
    CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON taj.person FOR EACH ROW EXECUTE FUNCTION taj.stamp())");
  Applied();
  server.Run("owner", database_, R"(
    CREATE FUNCTION taj.audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', NEW; RETURN NEW; END';
    CREATE TRIGGER audit BEFORE UPDATE ON taj.person FOR EACH ROW EXECUTE FUNCTION taj.audit())");
  ExpectProblem(std::string(kPolicy), "the trigger audit runs taj.audit");
  Applied(std::string(kPolicy) + "functions: [taj.audit]\n");
}

TEST_F(ApplyTest, IdsThatWouldBeCountedAsOthersAreNotRead) {
  PrivatePostgres& server = PrivatePostgres::Get();
  server.Run("owner", database_, R"(
    CREATE TABLE taj.plate (plate text NOT NULL, town text); INSERT INTO taj.plate VALUES ('AB-123', 'x'), (E'A\x1fB', 'y'))");
  Applied(With("  taj.involvement:\n    subject",
               "  taj.plate: {subject: plate, space: plate, columns: {plate: {class: key}, town: {class: key}}}\n  "
               "taj.involvement:\n    "
               "subject")
              .replace(0, 0, "")
              .append("  watcher:\n    read: {taj.plate: {key: clear}}\n"));
  Database watcher = Login("watcher");
  EXPECT_EQ(Ask(watcher, "SELECT * FROM \"ecluse_test_watcher\".\"taj.plate\" WHERE town = 'x'"), "AB-123|x|AB-123");
  EXPECT_EQ(Ask(watcher, "SELECT * FROM \"ecluse_test_watcher\".\"taj.plate\" WHERE town = 'y'"), "22P02");
}

TEST_F(ApplyTest, CompilesToTheSameEveryTime) {
  auto one = Run(std::string(kPolicy), ApplyMode::dry_run), two = Run(std::string(kPolicy), ApplyMode::dry_run);
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->statements, two->statements);
}

}  // namespace
}  // namespace ecluse
