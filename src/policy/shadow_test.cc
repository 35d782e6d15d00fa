#include "policy/shadow.h"

#include <boost/json.hpp>

#include "policy/apply_fixture_test.h"

namespace ecluse {
namespace {

// Things the role must not learn of; every name of them begins with qzq.
constexpr std::string_view kUnseen = R"(
CREATE SCHEMA qzq_schema; CREATE TABLE qzq_schema.qzq_table (qzq_column int); CREATE TABLE taj.qzq_closed (id int PRIMARY KEY);
CREATE TYPE qzq_schema.qzq_type AS ENUM ('qzq_label'); CREATE DOMAIN taj.qzq_domain AS int;
CREATE VIEW taj.qzq_view AS SELECT nir FROM taj.person;
CREATE SEQUENCE taj.qzq_sequence;
CREATE FUNCTION taj.qzq_function(qzq_argument int) RETURNS int LANGUAGE sql RETURN 1;
ALTER TABLE taj.person ADD COLUMN qzq_unnamed text DEFAULT 'qzq_default', ADD CONSTRAINT qzq_check CHECK (height < 999),
  ALTER COLUMN phone SET DEFAULT 'qzq_phone';
CREATE INDEX qzq_index ON taj.person (family_name) WHERE nir <> 'qzq'; CREATE UNIQUE INDEX qzq_unique ON taj.person (nir, person_id);
COMMENT ON TABLE taj.person IS 'qzq_comment'; COMMENT ON COLUMN taj.person.nir IS 'qzq_comment';
CREATE STATISTICS taj.qzq_statistics ON birth_date, height FROM taj.person;
CREATE RULE qzq_rule AS ON DELETE TO taj.qzq_closed DO INSTEAD NOTHING;
CREATE TABLE taj.qzq_referring (case_id int REFERENCES taj.case);
ANALYZE taj.person;
)";

// Each role of the fixture reads person's family_name masked, and not its nir.
class ShadowTest : public RegisterTest {
 protected:
  void SetUp() override {
    RegisterTest::SetUp();
    PrivatePostgres::Get().Run("owner", database_, std::string(kUnseen));
    Applied();
  }
  std::string View(const std::string& name) { return R"("ecluse_test_officer".")" + name + "\""; }
  std::string Call(const std::string& call) { return "SELECT \"ecluse_test_officer\"." + call; }
  std::string ViewOid(const std::string& name) {
    auto super = PrivatePostgres::Get().Super(database_);
    return Ask(super, "SELECT '" + View(name) + "'::regclass::oid");
  }
  std::string BaseOid(const std::string& name) {
    auto super = PrivatePostgres::Get().Super(database_);
    return Ask(super, "SELECT '" + name + "'::regclass::oid");
  }
};

TEST_F(ShadowTest, EveryStandInHasTheColumnsOfTheRealOne) {
  Database officer = Login("officer");
  int views = 0;
  for (const TableName& name : ShadowRelations()) {
    const std::string columns =
        "SELECT string_agg(attname || ' ' || replace(format_type(atttypid, atttypmod), 'anyarray', 'text[]'), ', ' "
        "ORDER BY "
        "attnum) FROM pg_attribute WHERE attnum > 0 AND attrelid = ";
    const std::string real = Ask(officer, columns + "'" + name.Text() + "'::regclass");
    EXPECT_EQ(Ask(officer, columns + "'" + View(name.Text()) + "'::regclass"), real) << name.Text();
    EXPECT_NE(Ask(officer, "SELECT count(*) >= 0 FROM " + View(name.Text())), "42501") << name.Text();
    ++views;
  }
  EXPECT_GT(views, 100);
}

TEST_F(ShadowTest, NothingUnseenShowsAnywhere) {
  Database officer = Login("officer");
  for (const TableName& name : ShadowRelations()) {
    const std::string all =
        Ask(officer, "SELECT coalesce(string_agg(x::text, E'\\n'), '') FROM " + View(name.Text()) + " x");
    for (const char* unseen : {"qzq", "nir_key", "__", "ecluse_test_clerk", "closed"}) {
      const size_t at = all.find(unseen);
      // PostgreSQL's own names hold "__" too, in one function.
      if (name.name == "pg_proc" && std::string_view(unseen) != "qzq" &&
          std::string_view(unseen) != "ecluse_test_clerk")
        continue;
      EXPECT_EQ(at, std::string::npos) << name.Text() << " shows " << unseen << ": "
                                       << (at == std::string::npos ? "" : all.substr(at > 60 ? at - 60 : 0, 160));
    }
  }
  // The same sweep over the real catalogs would find all of it.
  EXPECT_NE(Ask(officer, "SELECT string_agg(x::text, '') FROM pg_class x").find("qzq_closed"), std::string::npos);
}

TEST_F(ShadowTest, NothingMovesWithHiddenRows) {
  Database officer = Login("officer");
  const std::string one = Ask(officer, "SELECT string_agg(x::text, ';') FROM " + View("pg_catalog.pg_class") + " x");
  PrivatePostgres::Get().Run(
      "owner", database_,
      "INSERT INTO taj.person SELECT i, i::text, 'x' FROM generate_series(100, 5000) i; ANALYZE taj.person");
  EXPECT_EQ(Ask(officer, "SELECT string_agg(x::text, ';') FROM " + View("pg_catalog.pg_class") + " x"), one);
}

TEST_F(ShadowTest, TablesAppearUnderTheirOwnNames) {
  Database officer = Login("officer");
  EXPECT_EQ(Ask(officer, "SELECT n.nspname, c.relname, c.relkind, c.reltuples, c.relnatts FROM " +
                             View("pg_catalog.pg_class") + " c JOIN " + View("pg_catalog.pg_namespace") +
                             " n ON n.oid = c.relnamespace WHERE c.relkind <> 'i' ORDER BY 1, 2"),
            "ref|offence|r|-1|2;taj|case|r|-1|2;taj|involvement|r|-1|4;taj|person|r|-1|9");
  EXPECT_EQ(Ask(officer, "SELECT attname, attnum, attnotnull FROM " + View("pg_catalog.pg_attribute") +
                             " WHERE attrelid = " + ViewOid("taj.person") + " ORDER BY attnum"),
            "person_id|1|t;nir|2|f;family_name|3|f;birth_date|4|f;seen_at|5|f;phone|6|f;height|7|f;mood|8|f;photo|9|f");
  EXPECT_EQ(Ask(officer, "SELECT table_schema, table_name, table_type FROM " + View("information_schema.tables") +
                             " ORDER BY 2"),
            "taj|case|BASE TABLE;taj|involvement|BASE TABLE;ref|offence|BASE TABLE;taj|person|BASE TABLE");
  EXPECT_EQ(Ask(officer, "SELECT column_name, data_type, is_nullable, character_maximum_length, udt_name FROM " +
                             View("information_schema.columns") +
                             " WHERE table_name = 'person' ORDER BY ordinal_position LIMIT 3"),
            "person_id|integer|NO|NULL|int4;nir|text|YES|NULL|text;family_name|character varying|YES|40|varchar");
}

TEST_F(ShadowTest, KeysAppearWhereTheirColumnsAreReadClear) {
  Database officer = Login("officer");
  EXPECT_EQ(Ask(officer, "SELECT constraint_name, table_name, constraint_type FROM " +
                             View("information_schema.table_constraints") + " ORDER BY 2, 1"),
            "case_pkey|case|PRIMARY KEY;involvement_case_id_fkey|involvement|FOREIGN "
            "KEY;involvement_person_id_fkey|involvement|"
            "FOREIGN KEY;involvement_pkey|involvement|PRIMARY KEY;offence_pkey|offence|PRIMARY "
            "KEY;person_pkey|person|PRIMARY KEY");
  EXPECT_EQ(Ask(officer, "SELECT column_name, ordinal_position FROM " + View("information_schema.key_column_usage") +
                             " WHERE constraint_name = 'involvement_case_id_fkey'"),
            "case_id|1");
  EXPECT_EQ(Ask(officer, "SELECT unique_constraint_name FROM " + View("information_schema.referential_constraints") +
                             " ORDER BY 1"),
            "case_pkey;person_pkey");
  EXPECT_EQ(Ask(officer, "SELECT \"ecluse_test_officer\".pg_get_indexdef(i.indexrelid, 0, true) FROM " +
                             View("pg_catalog.pg_index") + " i WHERE i.indrelid = " + ViewOid("taj.person")),
            "CREATE UNIQUE INDEX person_pkey ON taj.person USING btree (person_id)");
  EXPECT_EQ(Ask(officer, "SELECT \"ecluse_test_officer\".pg_get_constraintdef(oid) FROM " +
                             View("pg_catalog.pg_constraint") + " WHERE conname = 'involvement_case_id_fkey'"),
            "FOREIGN KEY (case_id) REFERENCES taj.\"case\"(case_id)");
}

TEST_F(ShadowTest, FunctionsAnswerForTheRolesObjectsOnly) {
  Database officer = Login("officer");
  const std::string person = ViewOid("taj.person"), closed = BaseOid("taj.qzq_closed"), base = BaseOid("taj.person");
  auto call = [&](const std::string& text) { return Ask(officer, Call(text)); };
  EXPECT_EQ(call("pg_table_is_visible(" + person + ")"), "t");
  EXPECT_EQ(call("pg_table_is_visible(" + closed + ")"), "f");
  EXPECT_EQ(call("to_regclass('taj.person')"), person);
  EXPECT_EQ(call("to_regclass('taj.qzq_closed')"), "NULL");
  EXPECT_EQ(call("has_table_privilege(" + person + ", 'SELECT')"), "t");
  EXPECT_EQ(call("has_table_privilege(" + person + ", 'UPDATE')"), "f");
  EXPECT_EQ(call("has_table_privilege('taj.person', 'SELECT')"), "t");
  EXPECT_EQ(call("has_table_privilege('taj.qzq_closed', 'SELECT')"), "f");
  EXPECT_EQ(call("has_table_privilege(" + base + ", 'SELECT')"), "f");
  EXPECT_EQ(call("has_schema_privilege('taj', 'USAGE')"), "t");
  EXPECT_EQ(call("has_schema_privilege('qzq_schema', 'USAGE')"), "f");
  EXPECT_EQ(call("format_type('qzq_schema.qzq_type'::regtype::oid, NULL)"), "42501");
  EXPECT_EQ(call("format_type((SELECT oid FROM pg_type WHERE typname = 'qzq_type'), NULL)"), "-");
  EXPECT_EQ(call("format_type(1043, 44)"), "character varying(40)");
  EXPECT_EQ(call("to_regtype('kinds.mood')"), "kinds.mood");
  EXPECT_EQ(call("pg_total_relation_size(" + person + ")"), "NULL");
  EXPECT_EQ(call("obj_description(" + base + ", 'pg_class')"), "NULL");
  EXPECT_EQ(call("col_description(" + base + ", 2)"), "NULL");
  EXPECT_EQ(call("pg_get_viewdef(" + person + ")"), "NULL");
  EXPECT_EQ(call("relation_name(" + person + ")"), "taj.person");
  EXPECT_EQ(call("pg_get_userbyid(10)"), "ecluse_test_officer");
  EXPECT_EQ(Ask(officer, "SELECT count(*) FROM \"ecluse_test_officer\".pg_partition_ancestors(" + person + ")"), "0");
}

TEST_F(ShadowTest, VisibilityFollowsThePathItIsGiven) {
  Database officer = Login("officer");
  const std::string person = ViewOid("taj.person");
  EXPECT_EQ(Ask(officer, Call("table_is_visible_in('{ref,public}', " + person + ")")), "f");
  EXPECT_EQ(Ask(officer, Call("table_is_visible_in('{ref,taj}', " + person + ")")), "t");
  EXPECT_EQ(Ask(officer, Call("table_is_visible_in('{public}', " + person + ")")), "t")
      << "no schema of the role's in it";
}

TEST_F(ShadowTest, StandInsStandUnderTheNamesThePlannerIsGiven) {
  auto schemas = OpenRoleSchemas(Load(std::string(kPolicy)), keys_);
  ASSERT_TRUE(schemas) << schemas.error().message;
  const RoleSchema& schema = *schemas->at("officer");
  Database officer = Login("officer");
  for (const auto& [name, shadow] : schema.shadows) {
    EXPECT_EQ(Ask(officer, "SELECT count(*) FROM pg_attribute WHERE attnum > 0 AND attrelid = '" + View(shadow.view) +
                               "'::regclass"),
              std::to_string(shadow.columns.size()));
  }
  for (const auto& [name, stand_in] : schema.shadow_functions) {
    EXPECT_NE(
        Ask(officer,
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'ecluse_test_officer'::regnamespace AND proname = '" +
                stand_in + "'"),
        "0")
        << name;
  }
  EXPECT_EQ(std::to_string(schema.relation_oids.at("taj.person")), ViewOid("taj.person"));
  EXPECT_EQ(schema.relation_oids.at("pg_catalog.pg_class"), 1259u);
  EXPECT_EQ(schema.types, std::set<std::string>{"kinds.mood"});
}

}  // namespace
}  // namespace ecluse
