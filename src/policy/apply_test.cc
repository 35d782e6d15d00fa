#include "policy/apply.h"

#include "policy/apply_fixture_test.h"

namespace ecluse {
namespace {

using ApplyTest = RegisterTest;

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
            "10|both|1;11|one|1")
      << "rows about nobody are left out, and whom the role's condition hides is not told of";
  Database clerk = Login("clerk");
  EXPECT_EQ(Ask(clerk, "SELECT replace(__subject, E'\\x1f', '+') FROM \"ecluse_test_clerk\".\"taj.case\" ORDER BY 1"),
            "1;1+2");
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

TEST_F(ApplyTest, RowsAreNotWrittenOutOfSight) {
  Applied(With("  clerk:\n    read:", "  clerk:\n    rows: {taj.involvement: \"outcome <> 'closed'\"}\n    read:"));
  Database clerk = Login("clerk");
  const std::string involvement = R"("ecluse_test_clerk"."taj.involvement")";
  EXPECT_EQ(Ask(clerk, "UPDATE " + involvement + " SET outcome = 'closed' WHERE involvement_id = 1"), "44000");
  EXPECT_EQ(Ask(clerk, "INSERT INTO " + involvement + " (person_id, case_id, outcome) VALUES (1, 10, 'closed')"),
            "44000");
  EXPECT_EQ(Ask(clerk, "DELETE FROM " + involvement + " WHERE involvement_id = 2 RETURNING involvement_id"), "");
  EXPECT_EQ(Ask(clerk, "UPDATE " + involvement + " SET outcome = 'judged' WHERE involvement_id = 1 RETURNING outcome"),
            "judged");
}

TEST_F(ApplyTest, RowsLeftOutAreBehindABarrier) {
  Applied();
  PrivatePostgres::Get().Run("owner", database_, R"sql(
    CREATE FUNCTION ref.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
    'BEGIN PERFORM set_config(''x.seen'', coalesce(current_setting(''x.seen'', true), '''') || $1, false); RETURN true; END';
    )sql");
  Database officer = Login("officer");
  EXPECT_EQ(Ask(officer, "SELECT count(*) FROM \"ecluse_test_officer\".\"taj.involvement\" WHERE ref.tell(outcome)"),
            "3");
  EXPECT_EQ(Ask(officer, "SELECT current_setting('x.seen')").find("closed"), std::string::npos)
      << "a condition of the statement's own saw a row that the role may not";
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
        "CREATE UNIQUE INDEX ON taj.case (summary)", "ALTER TABLE ref.offence ADD COLUMN more text DEFAULT 'more'",
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

TEST_F(ApplyTest, AColumnAddedToAnOpenTableStaysClosed) {
  Applied();
  Database officer = Login("officer");
  PrivatePostgres::Get().Run("owner", database_, "ALTER TABLE ref.offence ADD COLUMN victim text DEFAULT 'somebody'");
  EXPECT_EQ(Ask(officer, "SELECT * FROM ref.offence"), "42501");
  EXPECT_EQ(Ask(officer, "SELECT code, label FROM ref.offence"), "1|theft");
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
            "ecluse_test__gate,ecluse_test_officer");
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
  ASSERT_TRUE(Check());
  server.Run("owner", database_, "CREATE FUNCTION ref.g() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1");
  auto refused = Check();
  ASSERT_FALSE(refused) << "also where it appeared after apply";
  EXPECT_EQ(refused.error().rule, "policy.public");
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

TEST_F(ApplyTest, RetentionGoesByATime) {
  PrivatePostgres::Get().Run("owner", database_,
                             "CREATE DOMAIN kinds.day AS date; ALTER TABLE taj.person ADD local timestamp, ADD day "
                             "kinds.day, ADD hour time, ADD days date[]");
  const auto with = [](const std::string& column) {
    return With("    subject: person_id\n",
                "    subject: person_id\n    retention: {column: " + column + ", keep: 1d}\n");
  };
  for (const char* good : {"birth_date", "seen_at", "local", "day"}) Applied(with(good));
  for (const char* bad : {"height", "phone", "hour", "days", "photo"})
    ExpectProblem(with(bad), "taj.person keeps rows by " + std::string(bad));
  ExpectProblem(with("nowhere"), "taj.person has no column nowhere");
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
  Applied(With(from, "\"involvement.outcome <> 'closed' AND involvement.case_id > 0\""));
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
  ExpectProblem(std::string(kPolicy), "the check odd puts an updated column together with birth_date");
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
  // A hidden column beside another: what the trigger makes of both tells of it, however it is written.
  for (const char* body :
       {"NEW.height := NEW.height + length(NEW.photo)", "NEW . height = new.\"photo\" || NEW.height",
        "IF NEW IS DISTINCT FROM OLD THEN NEW.height := 1; END IF", "NEW.height := /* NEW.x */ length(NEW::text)",
        "NEW.height := (row(OLD.*) IS NULL)::int", "NEW.family_name := left(NEW.photo, 9)",
        "IF length(NEW.photo) > 9 THEN NEW.phone = ''; END IF", "NEW.photo := $$it's$$ || NEW.height || $$'$$",
        "NEW.photo := E'\\'' || NEW.height || E'\\''"}) {
    server.Run("owner", database_,
               std::string("CREATE OR REPLACE FUNCTION taj.audit() RETURNS trigger LANGUAGE plpgsql AS $body$BEGIN ") +
                   body + "; RETURN NEW; END$body$");
    ExpectProblem(std::string(kPolicy), "the trigger audit runs taj.audit");
  }
  for (const char* body : {"NEW.photo := lower(NEW.photo)", "NEW.changed = now(); NEW.height := 1 -- SELECT NEW\n"}) {
    server.Run("owner", database_,
               std::string("CREATE OR REPLACE FUNCTION taj.audit() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN ") +
                   body + "; RETURN NEW; END$$");
    Applied();
  }
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
