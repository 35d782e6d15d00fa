// What a name means must be what PostgreSQL takes it for: tables, outputs, columns of functions.
#include <gtest/gtest.h>

#include "plan/plan_fixture_test.h"
#include "plan/planner.h"

namespace ecluse {
namespace {

class NamesTest : public testing::Test {
 protected:
  // The rule that refuses `sql`, or "passes: " and what it became.
  std::string Rule(std::string_view sql) {
    const auto plan = planner_.PlanExtended({FixtureSchema(), {"taj", "ref"}}, sql, {});
    return plan ? "passes: " + (*plan)->sql : plan.error().rule;
  }
  std::string Sql(std::string_view sql) {
    const std::string rule = Rule(sql);
    return rule.starts_with("passes: ") ? rule.substr(8) : rule;
  }
  static Planner planner_;
};
Planner NamesTest::planner_;

TEST_F(NamesTest, NamesMeanWhatPostgresqlTakesThemFor) {
  EXPECT_EQ(
      Rule("SELECT (SELECT count(*) FROM involvement i JOIN (SELECT 7 AS person_id) r USING (person_id) AS j WHERE "
           "i.person_id = j.person_id) FROM person j"),
      "plan.join-alias");
  // The nearer alias would take the place of the schema's table.
  EXPECT_EQ(Rule("SELECT (SELECT string_agg(person.outcome, ',') FROM taj.involvement person WHERE person.person_id = "
                 "taj.person.person_id) FROM taj.person"),
            "plan.name");
  EXPECT_TRUE(
      Rule("SELECT taj.person.nir, (SELECT count(*) FROM involvement i WHERE i.person_id = taj.person.person_id) "
           "FROM person")
          .starts_with("passes"));
  EXPECT_EQ(Rule("SELECT p.nir FROM person p, involvement p"), "plan.name");
  EXPECT_EQ(Rule("SELECT x.a FROM (SELECT nir AS a, family_name AS a FROM person) x"), "plan.name");
  EXPECT_EQ(
      Rule("SELECT nir FROM person p(person_id, tableoid) WHERE EXISTS (SELECT 1 FROM involvement i, ref.town WHERE "
           "i.person_id = tableoid)"),
      "plan.name");
}

// PostgreSQL's own name for an output could be another than the one planned with: it is written into the text.
TEST_F(NamesTest, OutputsThatAreReferredToCarryTheirNames) {
  EXPECT_EQ(Sql("SELECT x.text FROM (SELECT '1'::int4::text, name AS int4 FROM town) x"),
            "SELECT x.text FROM (SELECT '1'::int4::text AS \"text\", name AS int4 FROM \"ref\".\"town\") x");
  const auto names = [&](const std::string& value, const std::string& name) {
    EXPECT_EQ(Sql("SELECT 1 FROM (SELECT " + value + " FROM town) x"),
              "SELECT 1 FROM (SELECT " + value + " AS \"" + name + "\" FROM \"ref\".\"town\") x");
  };
  names("'1'::int4", "int4");
  names("(CASE WHEN true THEN 1 END)::text", "text");
  names("CASE WHEN false THEN 2 ELSE '1'::int4 END", "case");
  names("CASE WHEN false THEN 2 ELSE length(name) END", "length");
  names("(VALUES (1))", "column1");
  names("length(name)::text", "length");
  names("1", "?column?");
  names("nullif(1, 2)::text COLLATE \"C\"", "nullif");
  EXPECT_EQ(Sql("SELECT 1 UNION ALL SELECT 2"), "SELECT 1 AS \"?column?\" UNION ALL SELECT 2 AS \"?column?\"");
  EXPECT_EQ(Sql("SELECT lower(current_schema())"), "SELECT lower('taj'::pg_catalog.name) AS \"lower\"");
  EXPECT_EQ(Sql("SELECT current_schema::text"), "SELECT 'taj'::pg_catalog.name::text AS \"current_schema\"");
  EXPECT_EQ(Sql("SELECT length(name) FROM town ORDER BY length"),
            "SELECT length(name) AS \"length\" FROM \"ref\".\"town\" ORDER BY length");
  EXPECT_EQ(Rule("SELECT x.int4 || '' FROM (SELECT '1'::int4::text, patient_id AS int4 FROM med.patient) x"),
            "plan.pseudonym");
  EXPECT_EQ(
      Rule("SELECT '1'::int4::text, x.ward FROM (SELECT patient_id AS int4, ward FROM med.patient) x ORDER BY int4"),
      "plan.pseudonym");
  EXPECT_EQ(
      Rule("SELECT 1 FROM (SELECT '1'::int4::text, count(*) AS int4, nir FROM person GROUP BY nir) x WHERE int4 > 5"),
      "plan.aggregate-condition");
  EXPECT_EQ(Rule("SELECT to_json(int8) FROM (SELECT '1'::int8::int4, patient_id FROM med.patient) AS int8"),
            "plan.whole-row");
  // An outer column of the same name is further away than the output.
  EXPECT_EQ(
      Rule("SELECT (SELECT count(*) FROM (SELECT patient_id AS nir FROM med.patient GROUP BY nir) x) FROM person"),
      "plan.pseudonym");
}

TEST_F(NamesTest, FunctionsInFromHaveTheColumnsPostgresqlGivesThem) {
  EXPECT_EQ(Sql("SELECT value FROM json_array_elements('[1]') AS e"),
            "SELECT value FROM json_array_elements('[1]') AS e (\"value\")");
  EXPECT_EQ(Sql("SELECT e FROM json_array_elements('[1]') e"),
            "SELECT e FROM json_array_elements('[1]') e (\"value\")");
  EXPECT_EQ(Sql("SELECT g FROM generate_series(1, 3) g"), "SELECT g FROM generate_series(1, 3) g (\"g\")");
  EXPECT_EQ(Sql("SELECT * FROM generate_series(1, 3)"),
            "SELECT * FROM generate_series(1, 3) AS \"generate_series\" (\"generate_series\")");
  EXPECT_EQ(Sql("SELECT u.a FROM unnest(ARRAY[1], ARRAY[2]) WITH ORDINALITY AS u(a)"),
            "SELECT u.a FROM unnest(ARRAY[1], ARRAY[2]) WITH ORDINALITY AS u(a, \"unnest\", \"ordinality\")");
  EXPECT_EQ(Rule("SELECT (SELECT patient_id FROM json_array_elements('[1]') AS patient_id) FROM med.patient"),
            "plan.pseudonym");
  EXPECT_EQ(
      Rule("SELECT EXISTS (SELECT 1 FROM med.patient b, json_array_elements_text('[\"x\"]') j WHERE b.patient_id = "
           "value) FROM med.patient s(value)"),
      "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT nir FROM person, unnest(to_tsvector('a')) t"), "plan.function");
  EXPECT_EQ(Rule("SELECT nir FROM person, unnest('a'::text) t"), "plan.catalog-only");
  EXPECT_TRUE(Rule("SELECT nir FROM person, unnest('{1}'::int[]) t").starts_with("passes"));
}

TEST_F(NamesTest, DistinctOnKeysAreSortKeys) {
  EXPECT_EQ(Rule("SELECT DISTINCT ON (1) patient_id FROM med.patient"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT DISTINCT ON (patient_id) patient_id FROM med.patient"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT DISTINCT ON (ward) patient_id AS ward FROM med.patient"), "plan.pseudonym");
  EXPECT_TRUE(Rule("SELECT DISTINCT ON (1) ward, patient_id FROM med.patient").starts_with("passes"));
}

TEST_F(NamesTest, ARecursiveListKnowsItsNamesFromTheStart) {
  EXPECT_EQ(
      Rule("SELECT x.b FROM (WITH c AS (SELECT 1 AS a, '' AS b) SELECT y.a, y.b FROM (WITH RECURSIVE d AS (SELECT "
           "a, b FROM c), c AS (SELECT person_id AS a, nir AS b FROM person) SELECT a, b FROM d) y) x"),
      "plan.recursive");
  EXPECT_EQ(Rule("WITH RECURSIVE d AS (SELECT relname FROM pg_class), pg_class AS (SELECT nir AS relname FROM person) "
                 "SELECT relname FROM d"),
            "plan.recursive");
  EXPECT_EQ(Rule("WITH c AS (SELECT 1 AS a) SELECT a FROM (WITH RECURSIVE c AS (SELECT a FROM c) SELECT a FROM c) x"),
            "plan.recursive");
  EXPECT_TRUE(Rule("WITH RECURSIVE a AS (SELECT nir FROM person), b AS (SELECT nir FROM a) SELECT nir FROM b")
                  .starts_with("passes"));
  EXPECT_TRUE(Rule("WITH c AS (SELECT 1 AS a) SELECT a FROM (WITH c AS (SELECT a FROM c) SELECT a FROM c) x")
                  .starts_with("passes"));
}

}  // namespace
}  // namespace ecluse
