// What passes, what it becomes, and what is refused by which rule.
#include <gtest/gtest.h>

#include "base/limits.h"
#include "plan/literals.h"
#include "plan/parse.h"
#include "plan/planner_test.h"
#include "plan/verify.h"

namespace ecluse {
namespace {

class PlanTest : public PlannerTest {
 protected:
  static std::string Sql(std::string_view sql) {
    const auto plan = Make(sql);
    return plan ? (*plan)->sql : plan.error().rule + ": " + plan.error().message + " " + plan.error().operator_detail;
  }
};

const std::string kPerson = "\"ecluse_test_officer\".\"taj.person\"";
const std::string kInvolvement = "\"ecluse_test_officer\".\"taj.involvement\"";

TEST_F(PlanTest, PlainSelectCarriesItsPeople) {
  EXPECT_EQ(Sql("SELECT family_name FROM taj.person WHERE person_id = 7"),
            "SELECT family_name, \"person\".\"__subject\" AS \"__ecluse_s1\" FROM " + kPerson +
                " AS \"person\" WHERE person_id = 7");
  const auto plan = *Make("SELECT family_name, birth_date FROM person p WHERE person_id = 7");
  EXPECT_TRUE(plan->guarded);
  EXPECT_EQ(plan->visible_columns, 2);
  ASSERT_EQ(plan->asked.size(), 1u);
  EXPECT_EQ(plan->asked[0].values[0].constant, "7");
  EXPECT_EQ(plan->tables[0].fields.at("birth_date").Text(), "year");
}

TEST_F(PlanTest, StarIsThePolicysColumns) {
  EXPECT_EQ(Sql("SELECT * FROM person p"),
            "SELECT \"p\".\"person_id\", \"p\".\"nir\", \"p\".\"family_name\", \"p\".\"birth_date\", \"p\".\"photo\", "
            "\"p\".\"__subject\" AS \"__ecluse_s1\" FROM " +
                kPerson + " p");
}

TEST_F(PlanTest, JoinsCarryEveryTable) {
  EXPECT_EQ(
      Sql("SELECT p.nir, i.outcome FROM person p JOIN involvement i ON i.person_id = p.person_id"),
      "SELECT p.nir, i.outcome, \"p\".\"__subject\" AS \"__ecluse_s1\", \"i\".\"__subject\" AS \"__ecluse_s2\" FROM " +
          kPerson + " p JOIN " + kInvolvement + " i ON i.person_id = p.person_id");
}

TEST_F(PlanTest, OuterJoinsMustBeTied) {
  EXPECT_TRUE(
      Rule("SELECT 1 FROM person p LEFT JOIN involvement i ON i.person_id = p.person_id").starts_with("passes"));
  EXPECT_EQ(Rule("SELECT 1 FROM town t LEFT JOIN person p ON p.family_name = 'X'"), "plan.outer-join");
  EXPECT_EQ(Rule("SELECT 1 FROM person p LEFT JOIN involvement i ON i.person_id = 9"), "plan.outer-join");
  EXPECT_EQ(Rule("SELECT 1 FROM person p LEFT JOIN involvement i ON i.person_id + 0 = p.person_id"), "plan.outer-join");
  EXPECT_EQ(Rule("SELECT 1 FROM person p LEFT JOIN involvement i ON i.person_id = p.person_id OR true"),
            "plan.outer-join");
  // The same WITH query twice is two references: equal by name, not by condition.
  EXPECT_EQ(Rule("WITH c AS (SELECT * FROM person) SELECT 1 FROM c a LEFT JOIN c b ON b.nir = 'x'"), "plan.outer-join");
  EXPECT_EQ(Rule("SELECT 1 FROM person p LEFT JOIN (SELECT person_id FROM involvement ORDER BY case_id LIMIT 1) x "
                 "ON x.person_id = p.person_id"),
            "plan.outer-join");
  EXPECT_TRUE(Rule("SELECT 1 FROM person p LEFT JOIN LATERAL (SELECT outcome FROM involvement i WHERE i.person_id = "
                   "p.person_id LIMIT 1) x ON true")
                  .starts_with("passes"));
  EXPECT_TRUE(
      Rule("SELECT p.nir, x.n FROM person p LEFT JOIN (SELECT person_id, count(*) AS n FROM involvement GROUP BY "
           "person_id) x ON x.person_id = p.person_id")
          .starts_with("passes"));
  // ON's equality with an outer person does not tie the side that stays.
  EXPECT_EQ(Rule("SELECT EXISTS (SELECT 1 FROM involvement l LEFT JOIN involvement r ON l.person_id = r.person_id AND "
                 "r.person_id = p.person_id) FROM person p"),
            "plan.untied");
}

TEST_F(PlanTest, SubSelectsMustBeTied) {
  EXPECT_TRUE(
      Rule("SELECT nir FROM person p WHERE EXISTS (SELECT 1 FROM involvement i WHERE i.person_id = p.person_id)")
          .starts_with("passes"));
  EXPECT_TRUE(Rule("SELECT nir FROM person WHERE person_id IN (SELECT person_id FROM involvement WHERE case_id = 3)")
                  .starts_with("passes"));
  EXPECT_EQ(Rule("SELECT nir FROM person p WHERE EXISTS (SELECT 1 FROM involvement i WHERE i.case_id = 3)"),
            "plan.untied");
  EXPECT_EQ(Rule("SELECT (SELECT count(*) FROM person)"), "plan.untied");
  EXPECT_EQ(
      Rule("SELECT nir FROM person WHERE person_id IN (SELECT person_id FROM involvement ORDER BY case_id LIMIT 1)"),
      "plan.untied");
  EXPECT_EQ(Rule("SELECT name FROM town ORDER BY (SELECT count(*) FROM person)"), "plan.untied");
  EXPECT_EQ(
      Rule("SELECT nir FROM person p ORDER BY (SELECT count(*) FROM involvement i WHERE i.person_id = p.person_id)"),
      "plan.sub-select");
}

TEST_F(PlanTest, GroupsCarryEveryoneInThem) {
  EXPECT_EQ(Sql("SELECT family_name, count(*) FROM person GROUP BY family_name"),
            "SELECT family_name, count(*), pg_catalog.string_agg(DISTINCT \"person\".\"__subject\", E'\\x1f') AS "
            "\"__ecluse_s1\" FROM " +
                kPerson + " AS \"person\" GROUP BY family_name");
  EXPECT_EQ(Sql("SELECT DISTINCT family_name FROM person ORDER BY family_name"),
            "SELECT  family_name, pg_catalog.string_agg(DISTINCT \"person\".\"__subject\", E'\\x1f') AS "
            "\"__ecluse_s1\" FROM " +
                kPerson + " AS \"person\" GROUP BY 1 ORDER BY family_name");
  EXPECT_EQ(Sql("SELECT person_id, nir FROM person GROUP BY person_id"),
            "SELECT person_id, nir, pg_catalog.string_agg(DISTINCT \"person\".\"__subject\", E'\\x1f') AS "
            "\"__ecluse_s1\" FROM " +
                kPerson + " AS \"person\" GROUP BY person_id, \"person\".\"nir\"");
  EXPECT_EQ(Rule("SELECT family_name FROM person GROUP BY family_name HAVING count(*) > 2"), "plan.having");
  EXPECT_TRUE(Rule("SELECT person_id FROM involvement GROUP BY person_id HAVING count(*) > 2").starts_with("passes"));
  EXPECT_EQ(Rule("SELECT * FROM (SELECT family_name, count(*) AS n FROM person GROUP BY family_name) x WHERE n > 3"),
            "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT * FROM (SELECT count(*) AS n FROM person) x"), "plan.untied");
}

TEST_F(PlanTest, WholeRowsAndHiddenNamesAreRefused) {
  EXPECT_EQ(Rule("SELECT p FROM person p"), "plan.whole-row");
  EXPECT_EQ(Rule("SELECT row_to_json(p) FROM person p"), "plan.whole-row");
  EXPECT_EQ(Rule("SELECT count(p.*) FROM person p"), "plan.star");
  EXPECT_EQ(Rule("SELECT p.__subject FROM person p"), "plan.reserved");
  EXPECT_EQ(Rule("SELECT \"__subject\" FROM person p"), "plan.reserved");
  EXPECT_EQ(Rule("SELECT U&\"\\005f\\005fsubject\" FROM person p"), "plan.reserved");
  EXPECT_EQ(Rule("SELECT f FROM person AS p (a, b, c, d, e, f)"), "plan.alias-list");
  EXPECT_EQ(Rule("SELECT p.lower FROM person p"), "plan.name");
  EXPECT_EQ(Rule("SELECT (p).nir FROM person p"), "plan.whole-row");
  EXPECT_EQ(Rule("SELECT j FROM (person a JOIN involvement b ON true) AS j"), "plan.join-alias");
  EXPECT_EQ(Rule("SELECT ctid FROM person"), "plan.name");
  EXPECT_EQ(Rule("SELECT * FROM secret"), "plan.name");
  EXPECT_EQ(Rule("SELECT pg_read_file('x')"), "plan.function");
  EXPECT_EQ(Rule("SELECT query_to_xml('select 1', true, true, '')"), "plan.function");
  EXPECT_EQ(Rule("SELECT nir::person FROM person"), "plan.type");
  EXPECT_EQ(Rule("SELECT nir FROM person INTERSECT SELECT nir FROM person"), "plan.set-operation");
  EXPECT_EQ(Rule("SELECT nir FROM person TABLESAMPLE system (10)"), "plan.tablesample");
  EXPECT_EQ(Rule("SELECT nir FROM person FOR UPDATE SKIP LOCKED"), "plan.locking");
  EXPECT_EQ(Rule("SELECT nir, lag(nir) OVER () FROM person"), "plan.window");
  EXPECT_EQ(Rule("DO $$ BEGIN END $$"), "plan.statement");
  EXPECT_EQ(Rule("TABLE taj.person"), "plan.no-list");
}

TEST_F(PlanTest, UnionsKeepTheirArmsApart) {
  EXPECT_EQ(
      Sql("SELECT nir FROM person UNION ALL SELECT name FROM sia.owner"),
      "SELECT nir, \"person\".\"__subject\" AS \"__ecluse_s1\", NULL::pg_catalog.text AS \"__ecluse_s2\" FROM " +
          kPerson +
          " AS \"person\" UNION ALL SELECT name, NULL::pg_catalog.text AS \"__ecluse_s1\", \"owner\".\"__subject\" AS "
          "\"__ecluse_s2\" FROM \"ecluse_test_officer\".\"sia.owner\" AS \"owner\"");
  const auto plan = *Make("SELECT nir FROM person UNION ALL SELECT name FROM sia.owner");
  EXPECT_EQ(plan->arms, 2);
  EXPECT_NE(plan->hidden[0].arm, plan->hidden[1].arm);
  EXPECT_EQ(
      Sql("SELECT nir FROM person UNION SELECT name FROM town ORDER BY 1"),
      "SELECT \"__ecluse_u\".\"__ecluse_c1\" AS \"nir\", pg_catalog.string_agg(DISTINCT "
      "\"__ecluse_u\".\"__ecluse_s1\", "
      "E'\\x1f') AS \"__ecluse_s1\" FROM (SELECT nir, \"person\".\"__subject\" AS \"__ecluse_s1\" FROM " +
          kPerson +
          " AS \"person\" UNION ALL SELECT name, NULL::pg_catalog.text AS \"__ecluse_s1\" FROM \"ref\".\"town\") AS "
          "\"__ecluse_u\" (\"__ecluse_c1\", \"__ecluse_s1\") GROUP BY 1 ORDER BY 1");
}

TEST_F(PlanTest, TopLevelExistsHasAWitness) {
  const std::string sql = Sql("SELECT EXISTS (SELECT 1 FROM person WHERE nir = 'x') AS found");
  EXPECT_EQ(sql,
            "SELECT \"__ecluse_w\".\"__ecluse_c1\" IS NOT NULL AS \"found\", \"__ecluse_w\".\"__ecluse_s1\" AS "
            "\"__ecluse_s1\" FROM (SELECT 1 AS \"__ecluse_c1\") AS \"__ecluse_one\" LEFT JOIN LATERAL (SELECT 1 AS "
            "\"__ecluse_c1\", \"__ecluse_v\".\"__ecluse_s1\" AS \"__ecluse_s1\" FROM (SELECT 1 AS \"?column?\", "
            "\"person\".\"__subject\" AS \"__ecluse_s1\" FROM " +
                kPerson + " AS \"person\" WHERE nir = 'x') AS \"__ecluse_v\" LIMIT 1) AS \"__ecluse_w\" ON true");
}

TEST_F(PlanTest, OffsetIsCharged) {
  EXPECT_EQ(Sql("SELECT nir FROM person ORDER BY nir LIMIT 10 OFFSET 20"),
            "SELECT nir, \"person\".\"__subject\" AS \"__ecluse_s1\" FROM " + kPerson +
                " AS \"person\" ORDER BY nir LIMIT (10)::pg_catalog.int8 + 20 ");
  EXPECT_EQ(Sql("SELECT nir FROM person LIMIT 1 OFFSET $1"),  // NULL is no offset, and must not be no LIMIT
            "SELECT nir, \"person\".\"__subject\" AS \"__ecluse_s1\" FROM " + kPerson +
                " AS \"person\" LIMIT (1)::pg_catalog.int8 + COALESCE($1::pg_catalog.int8, 0) ");
  EXPECT_EQ(Rule("SELECT * FROM (SELECT nir FROM person OFFSET 5) x"), "plan.offset");
  EXPECT_EQ(Sql("SELECT nir FROM person LIMIT 1 OFFSET '7'"),
            "SELECT nir, \"person\".\"__subject\" AS "
            "\"__ecluse_s1\" FROM " +
                kPerson + " AS \"person\" LIMIT (1)::pg_catalog.int8 + 7 ");
  EXPECT_EQ(Rule("SELECT nir FROM person LIMIT 0 OFFSET '(SELECT 5)'"), "plan.offset");
  EXPECT_EQ(Rule("SELECT nir FROM person LIMIT 0 OFFSET ''"), "plan.offset");
  EXPECT_EQ(Rule("SELECT nir FROM person LIMIT 0 OFFSET -5"), "plan.offset");
  EXPECT_EQ(Rule("SELECT nir FROM person LIMIT 0 OFFSET 1.5"), "plan.offset");
}

TEST_F(PlanTest, Statistics) {
  const auto plan = Make("SELECT outcome, count(*), avg(weight) FROM involvement GROUP BY outcome");
  ASSERT_TRUE(plan) << plan.error().message << plan.error().operator_detail;
  EXPECT_TRUE((*plan)->statistic);
  EXPECT_EQ((*plan)->hidden.size(), 2u);
  ASSERT_TRUE((*plan)->fallback);
  EXPECT_EQ((*plan)->fallback->hidden.size(), 2u);
  EXPECT_EQ((*plan)->fallback->hidden[1].kind, HiddenColumn::Kind::people);
  EXPECT_FALSE((*Make("SELECT outcome, min(weight) FROM involvement GROUP BY outcome"))->statistic);
  EXPECT_FALSE(
      (*Make("SELECT outcome, sum(CASE WHEN person_id = 7 THEN 1 END) FROM involvement GROUP BY outcome"))->statistic);
  EXPECT_FALSE((*Make("SELECT outcome, count(*) FROM involvement WHERE person_id = 7 GROUP BY outcome"))->statistic);
  EXPECT_FALSE(
      (*Make("SELECT outcome, count(*) FILTER (WHERE case_id = 1) FROM involvement GROUP BY outcome"))->statistic);
}

TEST_F(PlanTest, Writes) {
  EXPECT_EQ(Sql("UPDATE person SET family_name = 'X' WHERE person_id = 7"),
            "UPDATE " + kPerson +
                " AS \"person\" SET family_name = 'X' WHERE person_id = 7 RETURNING "
                "\"person\".\"__subject\" AS \"__ecluse_s1\"");
  EXPECT_EQ(Sql("INSERT INTO person (person_id, family_name) VALUES (7, $1) RETURNING person_id"),
            "INSERT INTO " + kPerson +
                " AS \"person\" (person_id, family_name) VALUES (7, $1) RETURNING person_id, "
                "\"person\".\"__subject\" AS \"__ecluse_s1\"");
  EXPECT_EQ(Rule("UPDATE person SET person_id = 8 WHERE person_id = 7"), "plan.write-column");
  EXPECT_EQ(Rule("UPDATE person SET nir = 'x'"), "plan.write-column");
  EXPECT_EQ(Rule("UPDATE involvement SET outcome = 'x'"), "plan.write");
  EXPECT_EQ(Rule("INSERT INTO person (person_id, family_name) SELECT owner_id, name FROM sia.owner"),
            "plan.write-reads");
  EXPECT_EQ(Rule("UPDATE person SET family_name = o.name FROM sia.owner o WHERE o.owner_id = person_id"),
            "plan.write-reads");
  EXPECT_EQ(Rule("UPDATE person SET family_name = (SELECT name FROM sia.owner o WHERE o.owner_id = person_id)"),
            "plan.sub-select");
  EXPECT_EQ(Rule("WITH x AS (DELETE FROM person RETURNING nir) SELECT * FROM x"), "plan.cte-write");
  EXPECT_EQ(Rule("INSERT INTO town VALUES ('a', 'b')"), "plan.write-open");
}

TEST_F(PlanTest, PseudonymsStandAlone) {
  const auto plan = Make("SELECT patient_id, ward FROM med.patient");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ((*plan)->pseudonym, (std::vector<int>{0, -1}));
  EXPECT_EQ(Rule("SELECT upper(patient_id) FROM med.patient"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT ward FROM med.patient WHERE patient_id = 'x'"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT ward FROM med.patient ORDER BY patient_id"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT patient_id FROM med.patient ORDER BY 1"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT x.patient_id || 'a' FROM (SELECT patient_id FROM med.patient) x"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT count(DISTINCT patient_id) FROM med.patient"), "plan.pseudonym");
}

TEST_F(PlanTest, CatalogsRunOnStandIns) {
  EXPECT_EQ(Sql("SELECT c.relname FROM pg_catalog.pg_class c WHERE pg_catalog.pg_table_is_visible(c.oid)"),
            "SELECT c.relname FROM \"ecluse_test_officer\".\"pg_class\" c WHERE "
            "\"ecluse_test_officer\".\"table_is_visible_in\"('{\"taj\",\"ref\"}', c.oid)");
  EXPECT_EQ(
      Sql("SELECT oid::regclass FROM pg_class WHERE oid::regclass = 5"),
      "SELECT \"ecluse_test_officer\".\"relation_name\"(oid) AS \"oid\" FROM \"ecluse_test_officer\".\"pg_class\" AS "
      "\"pg_class\" WHERE oid::pg_catalog.oid = 5");
  EXPECT_EQ(Sql("SELECT c.oid::pg_catalog.regtype::text AS t FROM pg_class c WHERE c.oid = $1::regtype"),
            "SELECT \"ecluse_test_officer\".\"format_type\"(c.oid, NULL)::text AS t FROM "
            "\"ecluse_test_officer\".\"pg_class\" c "
            "WHERE c.oid = \"ecluse_test_officer\".\"to_regtype\"($1)");
  EXPECT_EQ(Sql("SELECT oid FROM pg_class WHERE oid = 'taj.person'::regclass"),
            "SELECT oid FROM \"ecluse_test_officer\".\"pg_class\" AS \"pg_class\" WHERE oid = '16400'::pg_catalog.oid");
  EXPECT_EQ(Rule("SELECT * FROM pg_stats"), "plan.name");
  EXPECT_EQ(Rule("SELECT * FROM pg_class c JOIN person p ON true"), "plan.mixed");
  EXPECT_EQ(Sql("SELECT current_schema()"), "SELECT 'taj'::pg_catalog.name AS \"current_schema\"");
}

TEST_F(PlanTest, WithQueriesCarryTheirPeople) {
  EXPECT_EQ(Sql("WITH x AS (SELECT o.* FROM sia.owner o) SELECT * FROM x"),
            "WITH x AS (SELECT \"o\".\"owner_id\", \"o\".\"name\", \"o\".\"__subject\" AS \"__ecluse_s1\" FROM "
            "\"ecluse_test_officer\".\"sia.owner\" o) SELECT \"x\".\"owner_id\", \"x\".\"name\", "
            "\"x\".\"__ecluse_s1\" AS \"__ecluse_s1\" FROM x");
  EXPECT_TRUE(Rule("WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t")
                  .starts_with("passes"));
  EXPECT_EQ(Rule("SELECT (WITH secret AS (SELECT 1) SELECT 1 FROM secret), (SELECT 1 FROM secret)"), "plan.name");
}

TEST_F(PlanTest, LiteralsGoOnInTheNextLine) {
  EXPECT_EQ(Sql("SELECT 'a'\n  'b', 1"), "SELECT 'a'\n  'b', 1");
  EXPECT_EQ(Rule("SELECT 'a' --c\n'b', 1"), "plan.syntax");  // the parser's own scanner does not know this one
  EXPECT_EQ(Rule("SELECT 'a' /*c*/ \n'b'"), "plan.syntax");
  EXPECT_EQ(Rule("SELECT 'a' 'b'"), "plan.syntax");
  EXPECT_EQ(Rule("SELECT 'a' --c'b'"), "passes: SELECT 'a'");
  const PlanContext context{FixtureSchema(), {"taj"}};
  const auto planned = planner_.PlanSimple(context, "SELECT nir FROM person WHERE nir = 'a'\n'b'");
  ASSERT_TRUE(planned);
  EXPECT_TRUE((*planned)[0].lifted.empty());
  ASSERT_EQ((*planned)[0].plan->resolve.size() + (*planned)[0].plan->asked.size(), 0u);
  EXPECT_NE((*planned)[0].plan->sql.find("'a'\n'b'"), std::string::npos);
}

TEST_F(PlanTest, AggregatesInDisguiseAreAggregates) {
  const std::string grouped = "(SELECT family_name, count(*) AS n FROM person GROUP BY family_name) x";
  EXPECT_EQ(Rule("SELECT y.v FROM (SELECT (SELECT x.n) AS v FROM " + grouped + ") y WHERE y.v > 3"),
            "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT v FROM " + grouped + ", LATERAL (VALUES (x.n)) y(v) WHERE v > 3"), "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT v FROM " + grouped + ", LATERAL (SELECT x.n AS v) y WHERE v > 3"), "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT 1 FROM " + grouped + ", LATERAL (SELECT 1 LIMIT x.n - 3) y"), "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT 1 FROM " + grouped + ", generate_series(1, x.n - 3)"), "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT generate_series(1, x.n - 3) FROM " + grouped), "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT 1 FROM " + grouped + ", LATERAL (SELECT generate_series(1, x.n - 3)) y"),
            "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT family_name, generate_series(1, count(*) - 3) FROM person GROUP BY family_name"),
            "plan.aggregate");
  EXPECT_TRUE(Rule("SELECT x.n + 1 FROM " + grouped).starts_with("passes"));
}

TEST_F(PlanTest, AStatisticsOrderTellsOfNobody) {
  const auto statistic = [&](const char* order) {
    const auto plan = Make(std::string("SELECT outcome, count(*) FROM involvement GROUP BY outcome ORDER BY ") + order);
    return plan && (*plan)->statistic;
  };
  EXPECT_TRUE(statistic("2"));
  EXPECT_TRUE(statistic("outcome"));
  EXPECT_FALSE(statistic("sum(CASE WHEN person_id = 7 THEN 1000 END)"));
  EXPECT_FALSE(statistic("max(person_id)"));
}

TEST_F(PlanTest, RankingCarriesThePartition) {
  EXPECT_EQ(
      Sql("SELECT nir, row_number() OVER (PARTITION BY family_name ORDER BY birth_date) FROM person"),
      "SELECT nir, row_number() OVER (PARTITION BY family_name ORDER BY birth_date), "
      "pg_catalog.string_agg(\"person\".\"__subject\", E'\\x1f') OVER (PARTITION BY \"person\".\"family_name\") AS "
      "\"__ecluse_s1\" FROM " +
          kPerson + " AS \"person\"");
  EXPECT_EQ(
      Sql("SELECT case_id, row_number() OVER (PARTITION BY person_id ORDER BY case_id) FROM involvement"),
      "SELECT case_id, row_number() OVER (PARTITION BY person_id ORDER BY case_id), \"involvement\".\"__subject\" AS "
      "\"__ecluse_s1\" FROM " +
          kInvolvement + " AS \"involvement\"");
}

TEST_F(PlanTest, SimpleTextsShareAPlan) {
  const PlanContext context{FixtureSchema(), {"taj"}};
  const auto one = planner_.PlanSimple(context, "SELECT nir FROM person WHERE person_id = 1");
  const auto two = planner_.PlanSimple(context, "SELECT nir FROM person WHERE person_id = 22");
  ASSERT_TRUE(one && two);
  EXPECT_EQ((*one)[0].plan.get(), (*two)[0].plan.get());
  EXPECT_EQ((*two)[0].lifted, std::vector<std::string>{"22"});
  EXPECT_EQ((*two)[0].plan->parameter_types, std::vector<Oid>{23});
  EXPECT_EQ((*two)[0].plan->asked[0].values[0].parameter, 1);
  const auto several = planner_.PlanSimple(context, "BEGIN; SELECT 1; ; COMMIT");
  ASSERT_TRUE(several);
  EXPECT_EQ(several->size(), 3u);
}

TEST(LiteralsTest, EachIsAParameterOfItsOwnUpToALimit) {
  const auto lift = [](const std::string& text) {
    const auto tokens = Lex(text);
    return LiftLiterals(text, *tokens, 0, text.size());
  };
  // PostgreSQL types each by what it is compared with: one parameter for both would have to be both.
  EXPECT_EQ(lift("SELECT a FROM t WHERE b = '1' AND c <> '1'").text, "SELECT a FROM t WHERE b = $1 AND c <> $2");
  EXPECT_EQ(lift("SELECT a FROM t WHERE b = 1 AND c BETWEEN 2 AND d = 3").text,
            "SELECT a FROM t WHERE b = $1 AND c BETWEEN 2 AND d = 3");
  std::string many = "SELECT a FROM t WHERE b = 0";
  for (int i = 1; i < 1'000; ++i) many += " OR b = " + std::to_string(i);
  EXPECT_EQ(lift(many).values.size(), limits::kLiftedLiterals);
}

TEST_F(PlanTest, SettingsCannotOutrunThePolicy) {
  EXPECT_TRUE(Rule("SET statement_timeout = '5s'").starts_with("passes"));
  EXPECT_TRUE(Rule("SET statement_timeout TO 60000").starts_with("passes"));
  EXPECT_EQ(Rule("SET statement_timeout = 0"), "plan.setting");
  EXPECT_EQ(Rule("SET statement_timeout = '2min'"), "plan.setting");
  EXPECT_EQ(Rule("SET role = 'postgres'"), "plan.setting");
  EXPECT_EQ(Rule("SET session_replication_role = replica"), "plan.setting");
}

// Clauses that were once not walked: what they name would be read uncounted.
TEST_F(PlanTest, NoClauseHidesATable) {
  const std::string risk = "(SELECT v.nir FROM " + kPerson + " v LIMIT 1)";
  for (const std::string& sql : std::vector<std::string>{
           "WITH RECURSIVE z AS (SELECT ''::text AS a), t AS (WITH z AS (SELECT " + risk +
               " AS a) SELECT a FROM z UNION ALL SELECT a FROM z WHERE false) SELECT t.a FROM t, person p",
           "WITH RECURSIVE t(g) AS (SELECT 1 UNION ALL SELECT 1 WHERE false LIMIT " + risk + ") SELECT g FROM t",
           "WITH RECURSIVE t(g) AS (SELECT 1 UNION ALL SELECT 1 WHERE false ORDER BY " + risk + ") SELECT g FROM t",
           "SELECT count(*) OVER w FROM town WINDOW w AS (ORDER BY code ROWS " + risk + " PRECEDING)",
           "SELECT count(*) OVER w FROM town WINDOW w AS (ROWS BETWEEN CURRENT ROW AND " + risk + " FOLLOWING)",
           "SELECT count(*) FILTER (WHERE code < " + risk + ") OVER () FROM town",
           "SELECT current_setting('server_version', " + risk + "::bool)",
           "INSERT INTO person (person_id) VALUES (7) LIMIT " + risk,
           "INSERT INTO person (person_id) VALUES (7) ORDER BY " + risk,
           "INSERT INTO person (person_id) VALUES (7) OFFSET " + risk,
           "SELECT 1 FROM " + kPerson,
           "SELECT \"ecluse_test_officer\".relation_name(1)",
       }) {
    const std::string rule = Rule(sql);
    EXPECT_FALSE(rule.starts_with("passes")) << rule;
    EXPECT_NE(rule, "plan.verify") << sql;
  }
  EXPECT_EQ(Rule("SELECT ('1'::varchar(3))::text FROM person").substr(0, 6), "passes");
  EXPECT_TRUE(Rule("EXPLAIN SELECT count(*) FROM town").starts_with("passes"));
}

// The second opinion alone: what the analyzer would let through by mistake.
TEST(VerifyTest, ViewsStandOnlyWhereTheGateWroteThem) {
  ParseThreads threads(1);
  Plan plan;
  const auto approves = [&](std::string_view sql, std::vector<InsertedRange> inserted) {
    bool approved = false;
    threads.Run([&] { approved = Verify(*FixtureSchema(), plan, sql, inserted).has_value(); });
    return approved;
  };
  EXPECT_TRUE(approves("SELECT c.oid FROM \"ecluse_test_officer\".\"pg_class\" c", {{18, 51}}));
  EXPECT_FALSE(approves("SELECT c.oid FROM \"ecluse_test_officer\".\"pg_class\" c", {}));
  EXPECT_TRUE(approves("SELECT \"ecluse_test_officer\".\"format_type\"(1)", {{7, 44}}));
  EXPECT_FALSE(approves("SELECT \"ecluse_test_officer\".\"format_type\"(1)", {}));
  EXPECT_TRUE(approves("SELECT name FROM \"ref\".\"town\"", {}));
  // Fields that are not known of a node.
  EXPECT_FALSE(approves("SELECT x.code FROM (\"ref\".\"town\" t JOIN \"ref\".\"town\" u ON true) AS x", {}));
  EXPECT_FALSE(approves("SELECT t.code FROM \"ref\".\"town\" t JOIN \"ref\".\"town\" u USING (code) AS x", {}));
  EXPECT_FALSE(approves("SELECT x.a FROM ROWS FROM (generate_series(1, 2)) AS x(a)", {}));
}

TEST_F(PlanTest, DeepAndLongStatementsAreRefusedInWords) {
  std::string deep = "SELECT 1";
  for (int i = 0; i < 100'000; ++i) deep += "+1";
  EXPECT_EQ(Rule(deep), "plan.too-complex");
  EXPECT_EQ(Rule("SELECT " + std::string(100'000, '(') + "1" + std::string(100'000, ')')), "plan.too-complex");
  EXPECT_EQ(Rule("SELECT '" + std::string(50'000'000, 'x') + "'"), "plan.too-long");
  EXPECT_EQ(Rule(std::string_view("SELECT 1\0", 9)), "plan.encoding");
  std::string chain = "SELECT 1";
  for (int i = 0; i < 900; ++i) chain += "+1";
  EXPECT_TRUE(Rule(chain).starts_with("passes"));
}

}  // namespace
}  // namespace ecluse
