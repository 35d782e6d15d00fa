// Statements that tell of people who are not counted, or of values behind a mask, by a way around a rule: refused, and
// what looks like them and is counted passes.
#include <gtest/gtest.h>

#include "plan/planner_test.h"

namespace ecluse {
namespace {

class PeopleTest : public PlannerTest {};

TEST_F(PeopleTest, PseudonymsAreComparedWithPseudonymsAlone) {
  const std::string where = "SELECT ward FROM med.patient WHERE patient_id ";
  for (const char* members :
       {"IN (SELECT 'x')", "IN (VALUES ('x'))", "= ANY (SELECT 'x')", "NOT IN (SELECT name FROM town)",
        "IN (SELECT 'x' UNION ALL SELECT 'y')", "IN (WITH z AS (SELECT 'x' AS q) SELECT q FROM z)",
        "IN (SELECT p.patient_id || '' FROM med.patient p)", "> ANY (SELECT 'x')"}) {
    EXPECT_EQ(Rule(where + members), "plan.pseudonym") << members;
  }
  EXPECT_TRUE(Rule(where + "IN (SELECT patient_id FROM med.patient WHERE ward = 'a')").starts_with("passes"));
  EXPECT_TRUE(Rule(where + "NOT IN (WITH z AS (SELECT patient_id FROM med.patient) SELECT patient_id FROM z)")
                  .starts_with("passes"));
  const std::string star =
      "(SELECT x.* FROM (SELECT b.patient_id FROM med.patient b) x WHERE x.patient_id = a.patient_id)";
  EXPECT_EQ(Rule("SELECT " + star + " FROM med.patient a"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT ARRAY" + star + " FROM med.patient a"), "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT 'x' IN " + star + " FROM med.patient a"), "plan.pseudonym");
  EXPECT_TRUE(Rule("SELECT ward, EXISTS " + star + " FROM med.patient a").starts_with("passes"));
}

TEST_F(PeopleTest, BothArmsOfARecursiveQueryAreLookedAt) {
  EXPECT_EQ(Rule("SELECT y.v FROM med.patient p, LATERAL (WITH RECURSIVE r(v) AS (SELECT ''::text UNION ALL SELECT "
                 "p.patient_id FROM r WHERE v = '') SELECT max(v) AS v FROM r) y"),
            "plan.pseudonym");
  EXPECT_EQ(Rule("SELECT y.v FROM med.patient p, LATERAL (WITH RECURSIVE r(v) AS (SELECT p.patient_id UNION ALL SELECT "
                 "'' FROM r WHERE v = '') SELECT v FROM r) y"),
            "plan.pseudonym");
  const std::string grouped = "(SELECT family_name, count(*) AS n FROM person GROUP BY family_name) x";
  EXPECT_EQ(Rule("SELECT x.family_name FROM " + grouped +
                 ", LATERAL (WITH RECURSIVE r(v) AS (SELECT 0::int8 UNION ALL SELECT x.n FROM r WHERE v = 0) SELECT "
                 "max(v) AS d FROM r) y WHERE y.d > 3"),
            "plan.aggregate-condition");
  EXPECT_EQ(Rule("WITH RECURSIVE r(v) AS (SELECT 1 UNION ALL SELECT 1, 2 FROM r) SELECT v FROM r"), "plan.recursive");
}

TEST_F(PeopleTest, WhatWasPickedAmongOthersIsNotTied) {
  const std::string picked = "(SELECT person_id FROM person WHERE nir > 'x' ORDER BY person_id = 7 LIMIT 1) c";
  const std::string one = "(SELECT DISTINCT ON (family_name) person_id FROM person ORDER BY family_name, nir) c";
  const std::string ranked = "(SELECT person_id, row_number() OVER (ORDER BY person_id = 7) AS n FROM person) c";
  for (const std::string& c : {picked, one, ranked}) {
    EXPECT_EQ(Rule("SELECT EXISTS (SELECT 1 FROM " + c + " WHERE c.person_id = p.person_id), 1 FROM person p"),
              "plan.untied");
    EXPECT_EQ(Rule("SELECT 1 FROM person p WHERE p.person_id NOT IN (SELECT c.person_id FROM " + c + ")"),
              "plan.untied");
    EXPECT_EQ(Rule("SELECT (SELECT max(c.person_id) FROM " + c + " WHERE c.person_id = p.person_id) FROM person p"),
              "plan.untied");
    EXPECT_EQ(Rule("SELECT 1 FROM person p LEFT JOIN " + c + " ON c.person_id = p.person_id"), "plan.outer-join");
    EXPECT_EQ(Rule("SELECT 1 FROM person p LEFT JOIN LATERAL (SELECT 1 AS y FROM " + c +
                   " WHERE c.person_id = p.person_id) x ON true"),
              c == ranked ? "plan.outer-join" : "plan.cut");
    EXPECT_EQ(Rule("SELECT person_id FROM " + c + " GROUP BY person_id HAVING count(*) > 1"), "plan.having");
    const std::string joined = Rule("SELECT c.person_id FROM " + c + " JOIN person p USING (person_id)");
    EXPECT_TRUE(c == ranked ? joined.starts_with("passes") : joined == "plan.cut") << joined;
  }
  // Who was picked beside those who are counted is told by whatever leaves out some of them.
  for (const char* rest :
       {" WHERE c.person_id = 7", " JOIN person p USING (person_id)", ", person p", " LIMIT 1", " OFFSET 1"}) {
    EXPECT_EQ(Rule("SELECT count(*) FROM " + picked + rest), "plan.cut") << rest;
    EXPECT_EQ(Rule("WITH w AS (SELECT * FROM " + picked + ") SELECT count(*) FROM w AS c" + rest), "plan.cut") << rest;
  }
  EXPECT_EQ(Rule("SELECT c.person_id FROM (SELECT person_id FROM person UNION ALL SELECT person_id FROM involvement "
                 "LIMIT 5) c WHERE c.person_id = 7"),
            "plan.cut");
  for (const char* kept :
       {" LEFT JOIN involvement i ON i.person_id = c.person_id", " ORDER BY 1", " GROUP BY c.person_id"}) {
    const std::string sql = "SELECT c.person_id FROM " + picked + kept;
    EXPECT_TRUE(Rule(sql).starts_with("passes")) << kept;
    // Shown whole: neither a cursor nor a second LIMIT shows some of it.
    EXPECT_TRUE((*Make(sql))->whole) << kept;
    EXPECT_EQ(Rule("DECLARE c CURSOR FOR " + sql), "plan.cut") << kept;
  }
  const std::string arms = "(SELECT person_id FROM person LIMIT 5) UNION ALL (SELECT person_id FROM involvement)";
  EXPECT_TRUE((*Make(arms))->whole);
  EXPECT_EQ(Rule(arms + " ORDER BY 1 LIMIT 1"), "plan.cut");
  EXPECT_FALSE((*Make("SELECT person_id FROM person LIMIT 5"))->whole);
  EXPECT_FALSE(
      (*Make("SELECT p.person_id, c.outcome FROM person p LEFT JOIN LATERAL (SELECT outcome FROM involvement i "
             "WHERE i.person_id = p.person_id LIMIT 1) c ON true"))
          ->whole);
  EXPECT_EQ(
      Rule("SELECT 1 FROM person p LEFT JOIN (SELECT DISTINCT ON (person_id) family_name AS person_id, person_id AS "
           "id FROM person ORDER BY person_id) c ON c.id = p.person_id"),
      "plan.outer-join");
  const std::string left = "SELECT p.nir FROM person p LEFT JOIN ";
  for (const char* kept :
       {"(SELECT person_id, row_number() OVER (PARTITION BY person_id ORDER BY case_id) AS n FROM involvement) c ON "
        "c.person_id = p.person_id AND c.n = 1",
        "LATERAL (SELECT i.outcome, row_number() OVER (ORDER BY i.case_id) AS n FROM involvement i WHERE i.person_id = "
        "p.person_id) c ON c.n = 1",
        "(SELECT DISTINCT ON (person_id) person_id, outcome FROM involvement ORDER BY person_id, case_id) c ON "
        "c.person_id "
        "= p.person_id",
        "LATERAL (SELECT o.name FROM involvement i LEFT JOIN sia.owner o ON o.owner_id = i.person_id WHERE i.person_id "
        "= "
        "p.person_id ORDER BY o.name LIMIT 1) c ON true",
        "LATERAL (SELECT outcome FROM involvement i WHERE i.person_id = p.person_id UNION ALL SELECT name FROM "
        "sia.owner o WHERE o.owner_id = p.person_id) c ON true"}) {
    EXPECT_TRUE(Rule(left + kept).starts_with("passes")) << kept << ": " << Rule(left + kept);
  }
}

TEST_F(PeopleTest, AnAggregateIsNoConditionInAnyDisguise) {
  const std::string grouped = "(SELECT family_name, count(*) AS n FROM person GROUP BY family_name) x";
  const std::string from = "SELECT x.family_name FROM " + grouped;
  for (const char* rest :
       {" WHERE (SELECT x.n) > 3", " JOIN town t ON (SELECT x.n) > 3",
        " WHERE CASE WHEN true THEN (SELECT x.n) > 3 END", ", generate_series(4, (SELECT x.n)) g",
        " WHERE 3 < ANY (SELECT x.n)", " WHERE 3 IN (SELECT x.n)",
        " WHERE EXISTS (SELECT 1 FROM (SELECT x.n AS d) y WHERE (SELECT y.d) > 3)",
        ", LATERAL (SELECT x.n INTERSECT SELECT g FROM generate_series(4, 9) g) y",
        ", LATERAL (SELECT x.n EXCEPT SELECT g FROM generate_series(4, 9) g) y",
        ", LATERAL (SELECT x.n UNION SELECT 4 OFFSET 1) y",
        " WHERE EXISTS (SELECT x.n INTERSECT SELECT g FROM generate_series(4, 9) g)",
        ", LATERAL (SELECT DISTINCT v FROM (VALUES (x.n), (4)) t(v) OFFSET 1) y",
        ", LATERAL (SELECT count(*) AS d FROM (SELECT v FROM (VALUES (x.n), (4)) t(v) GROUP BY v) z) y WHERE y.d > 1",
        ", LATERAL (SELECT g FROM generate_series(1, 2) g ORDER BY g * (x.n - 4) LIMIT 1) y WHERE y.g = 1",
        ", LATERAL (SELECT x.n AS v, 1 AS k UNION ALL SELECT 4, 2 ORDER BY v LIMIT 1) y WHERE y.k = 1",
        ", LATERAL (SELECT g, row_number() OVER w AS r FROM generate_series(1, 2) g WINDOW w AS (ORDER BY g * (x.n - "
        "4))) y WHERE y.r = g",
        ", person p, LATERAL (SELECT x.n AS d FROM involvement i WHERE i.person_id = p.person_id) y WHERE y.d > 3",
        ", person p, LATERAL (SELECT max(x.n + i.case_id) AS d FROM involvement i WHERE i.person_id = p.person_id) y "
        "WHERE y.d > "
        "3"}) {
    EXPECT_EQ(Rule(from + rest), "plan.aggregate-condition") << rest;
  }
  EXPECT_EQ(Rule("SELECT x.f FROM (SELECT family_name AS f, (SELECT count(p.person_id)) AS n FROM person p GROUP BY "
                 "family_name) x WHERE x.n > 3"),
            "plan.aggregate");
  EXPECT_EQ(Rule("SELECT family_name, ARRAY(SELECT count(p.person_id)) FROM person p GROUP BY family_name"),
            "plan.aggregate");
  EXPECT_EQ(Rule("SELECT family_name, (SELECT count((SELECT p.person_id))) FROM person p GROUP BY family_name"),
            "plan.aggregate");
  EXPECT_EQ(Rule("SELECT family_name, (SELECT max(1) FILTER (WHERE p.person_id > 3)) FROM person p GROUP BY 1"),
            "plan.aggregate");
  for (const char* shown :
       {"SELECT x.family_name, (SELECT x.n) + 1 FROM ", "SELECT DISTINCT x.n FROM ",
        "SELECT x.n, (SELECT max(t.code || x.n) FROM town t) FROM ", "SELECT x.n, count(*) FROM "}) {
    EXPECT_TRUE(
        Rule(shown + grouped + (std::string(shown).contains("count(") ? " GROUP BY x.n" : "")).starts_with("passes"))
        << shown;
  }
  EXPECT_TRUE(Rule("SELECT nir FROM person p WHERE 3 < (SELECT count(*) FROM involvement i WHERE i.person_id = "
                   "p.person_id)")
                  .starts_with("passes"));
}

TEST_F(PeopleTest, AStatisticJoinsSubjectsWithSubjectsAlone) {
  const auto statistic = [&](const char* from) {
    const auto plan = Make(std::string("SELECT sum(i.weight) FROM ") + from);
    EXPECT_TRUE(plan) << from << ": " << plan.error().message;
    return plan && (*plan)->statistic;
  };
  EXPECT_TRUE(statistic("involvement i JOIN person p USING (person_id)"));
  EXPECT_TRUE(statistic("involvement i (a, id) JOIN person p (id) USING (id)"));
  EXPECT_TRUE(statistic("involvement i (a, b, c, code) JOIN town t USING (code)"));
  EXPECT_FALSE(statistic("involvement i (a, b, c, code) JOIN town t USING (code) WHERE t.name > 'm'"));
  EXPECT_TRUE(statistic("involvement i JOIN person p ON p.person_id = i.person_id"));
  EXPECT_FALSE(statistic("involvement i (a, code) JOIN town t USING (code)"));
  EXPECT_FALSE(statistic("involvement i (a, b, code) JOIN town t USING (code)"));
  EXPECT_FALSE(statistic("involvement i (a, id) JOIN person p (x, id) USING (id)"));
  EXPECT_FALSE(statistic("involvement i JOIN person p ON p.person_id < i.person_id"));
  EXPECT_FALSE(statistic("involvement i JOIN person p ON p.person_id <> i.person_id"));
}

TEST_F(PeopleTest, SequencesDoNotCountGuardedRows) {
  const std::string next = "nextval('taj.person_person_id_seq')";
  EXPECT_TRUE(Rule("SELECT " + next).starts_with("passes"));
  EXPECT_TRUE(Rule("SELECT code, " + next + " FROM town").starts_with("passes"));
  EXPECT_TRUE(Rule("INSERT INTO person (person_id, family_name) VALUES (" + next + ", 'x')").starts_with("passes"));
  EXPECT_TRUE(
      Rule("INSERT INTO person (person_id, family_name) SELECT " + next + ", name FROM town").starts_with("passes"));
  EXPECT_EQ(Rule("SELECT nir FROM person WHERE CASE WHEN nir > 'x' THEN " + next + " < 0 ELSE false END"),
            "plan.sequence");
  EXPECT_EQ(Rule("SELECT nir, currval('taj.person_person_id_seq') FROM person"), "plan.sequence");
  EXPECT_EQ(Rule("SELECT nir FROM person p LEFT JOIN LATERAL (SELECT " + next + " AS n) x ON p.nir > 'x'"),
            "plan.sequence");
  EXPECT_EQ(Rule("UPDATE person SET family_name = 'x' WHERE nir > 'x' AND " + next + " < 0"), "plan.sequence");
  EXPECT_EQ(Rule("INSERT INTO person (person_id) VALUES (1) RETURNING " + next), "plan.sequence");
}

TEST_F(PeopleTest, WhoIsAskedForIsWhoPostgresqlFinds) {
  // The ids that are asked for, and the types that the parameters are read as.
  const auto asked = [&](const std::string& condition, std::vector<Oid> declared = {}) {
    const auto plan = Make("SELECT nir FROM person WHERE " + condition, std::move(declared));
    if (!plan) return plan.error().rule;
    std::string people;
    for (const Asked& person : (*plan)->asked) {
      const ValueSource& value = person.values[0];
      const bool parameter = value.kind == ValueSource::Kind::parameter;
      people += (people.empty() ? "" : " ") +
                (parameter ? "$" + std::to_string(value.parameter) + ":" + std::to_string(value.type) : value.constant);
    }
    for (const Oid type : (*plan)->parameter_types) people += " /" + std::to_string(type);
    return people;
  };
  EXPECT_EQ(asked("person_id = '10029'::int"), "10029");
  EXPECT_EQ(asked("person_id = 10029::int8::int4"), "10029");
  EXPECT_EQ(asked("person_id IN (7, '8'::int, '10029'::varchar(4)::int)"), "7 8");
  EXPECT_EQ(asked("person_id = '10029'::varchar(4)::int"), "");
  EXPECT_EQ(asked("person_id = '10029'::char(4)::int"), "");
  EXPECT_EQ(asked("person_id = 1001.6::int"), "");
  EXPECT_EQ(asked("person_id = '1001'::text::int"), "");
  EXPECT_EQ(asked("person_id = true::int"), "");
  EXPECT_EQ(asked("person_id = ANY (ARRAY['7', '8']::int[])"), "7 8");
  EXPECT_EQ(asked("person_id = ANY ('{7,8}'::int[])"), "{7,8}");
  EXPECT_EQ(asked("person_id = ANY ('{70,80}'::varchar(1)[]::int[])"), "plan.array");
  EXPECT_EQ(asked("person_id = ANY (ARRAY[1001.6]::int[])"), "plan.array");
  EXPECT_EQ(asked("person_id IN (VALUES ('7'::int), ('10029'::varchar(4)::int))"), "7");
  EXPECT_EQ(asked("person_id = $1"), "$1:23 /23");
  EXPECT_EQ(asked("person_id = $1::int8"), "$1:20 /20");
  EXPECT_EQ(asked("person_id = $1::text::int"), "");
  EXPECT_EQ(asked("person_id = $1::int", {25}), " /25");
  EXPECT_EQ(asked("$1::float4 > 0 AND person_id = $1"), "$1:23 /23");
  EXPECT_EQ(asked("person_id = ANY ($1)"), "$1:23");
  EXPECT_EQ(asked("person_id = ANY ($1::int[])"), "$1:23");
  EXPECT_EQ(asked("person_id = ANY ($1::int[])", {1016}), "$1:23 /1016");
  EXPECT_EQ(asked("person_id = ANY ($1::int[])", {1009}), "plan.array");
  EXPECT_EQ(asked("person_id = ANY ($1::text[]::int[])"), "plan.array");
  EXPECT_TRUE((*Make("SELECT person_id FROM person WHERE nir = 'x'::char(1) AND family_name = 'y'"))->resolve.empty());
  EXPECT_FALSE((*Make("SELECT person_id FROM person WHERE nir = 'x'::varchar AND family_name = 'y'"))->resolve.empty());
}

TEST_F(PeopleTest, PostgresqlsDebugOutputStaysInside) {
  for (const char* level : {"debug5", "debug1", "DEBUG", "log", "info", "'debug3'"}) {
    EXPECT_EQ(Rule(std::string("SET client_min_messages = ") + level), "plan.setting") << level;
  }
  EXPECT_EQ(Rule("SELECT set_config('client_min_messages', 'debug2', false)"), "plan.setting");
  // Nothing but the call itself is the gate's SET.
  for (const char* other :
       {"SELECT ref.set_config('timezone', 'UTC', false)", "SELECT set_config('timezone', 'UTC', false) OVER ()",
        "SELECT set_config('timezone', 'UTC', false) FILTER (WHERE false)",
        "SELECT set_config('timezone', 'UTC', VARIADIC false)",
        "SELECT set_config('timezone', 'UTC', false) FOR UPDATE",
        "SELECT set_config('timezone', 'UTC', false) WINDOW w AS (ORDER BY 1)",
        "SELECT set_config('timezone', 'UTC', false) INTO t"}) {
    EXPECT_TRUE(Rule(other).starts_with("plan.")) << other << ": " << Rule(other);
  }
  EXPECT_EQ(Rule("SET LOCAL client_min_messages TO log"), "plan.setting");
  for (const char* level : {"notice", "warning", "ERROR", "DEFAULT"}) {
    EXPECT_TRUE(Rule(std::string("SET client_min_messages TO ") + level).starts_with("passes")) << level;
  }
}

TEST_F(PeopleTest, WithQueriesThatDoubleEndSoon) {
  // Each reads the one before twice: a million million columns after forty of them.
  const auto chain = [](int levels, const std::string& first, const std::string& list, const std::string& join) {
    std::string sql = "WITH c0 AS (" + first + ")";
    for (int i = 1; i <= levels; ++i) {
      const std::string before = "c" + std::to_string(i - 1);
      sql += ", c" + std::to_string(i) + " AS (SELECT " + list + " FROM " + before + " a " + join + ")";
      sql.replace(sql.find("@"), 1, before);
    }
    return sql + " SELECT 1 FROM c" + std::to_string(levels);
  };
  const std::string people = "SELECT person_id FROM person";
  const std::string tied = "JOIN @ b ON a.person_id = b.person_id";
  EXPECT_TRUE(Rule(chain(4, people, "a.person_id", tied)).starts_with("passes"));
  EXPECT_EQ(Rule(chain(30, people, "a.person_id", tied)), "plan.too-complex");
  EXPECT_EQ(Rule(chain(30, people, "a.person_id", "UNION ALL SELECT b.person_id FROM @ b")), "plan.too-complex");
  EXPECT_EQ(Rule(chain(30, "SELECT code FROM town", "*", "CROSS JOIN @ b")), "plan.too-complex");
}

}  // namespace
}  // namespace ecluse
