// Which catalogs have a stand-in, and what it shows. Columns that are not named here are the real relation's own.
#include "policy/shadow_defs.h"

namespace ecluse {
namespace {

using Definitions = std::vector<ShadowRelationDefinition>;
using enum ShadowRows;

constexpr std::string_view kBuiltIn = "x.oid < 16384";  // FirstNormalObjectId: made by initdb
constexpr std::string_view kOwner = "(SELECT p.oid FROM pg_catalog.pg_roles p WHERE p.rolname = {login})";

// Relations, their columns and their keys.
void AddRelations(Definitions& out) {
  out.push_back({"pg_catalog",
                 "pg_class",
                 joined,
                 "{}.\"__class\" s JOIN pg_catalog.pg_class x ON x.oid = s.oid",
                 {{"relname", "s.relname"},
                  {"relnamespace", "s.relnamespace"},
                  {"reltype", "0"},
                  {"reloftype", "0"},
                  {"relowner", kOwner},
                  {"relam", "CASE s.relkind WHEN 'r' THEN 2 ELSE 403 END"},
                  {"relfilenode", "0"},
                  {"reltablespace", "0"},
                  {"relpages", "0"},
                  {"reltuples", "-1"},
                  {"relallvisible", "0"},
                  {"reltoastrelid", "0"},
                  {"relhasindex", "s.relhasindex"},
                  {"relisshared", "false"},
                  {"relpersistence", "'p'"},
                  {"relkind", "s.relkind"},
                  {"relnatts", "s.relnatts"},
                  {"relchecks", "0"},
                  {"relhasrules", "false"},
                  {"relhastriggers", "false"},
                  {"relhassubclass", "false"},
                  {"relrowsecurity", "false"},
                  {"relforcerowsecurity", "false"},
                  {"relispopulated", "true"},
                  {"relreplident", "'d'"},
                  {"relispartition", "false"},
                  {"relrewrite", "0"},
                  {"relfrozenxid", "'0'"},
                  {"relminmxid", "'0'"},
                  {"relacl", "NULL"},
                  {"reloptions", "NULL"},
                  {"relpartbound", "NULL"}}});
  out.push_back({"pg_catalog",
                 "pg_attribute",
                 joined,
                 "{}.\"__column\" s JOIN pg_catalog.pg_attribute x ON x.attrelid = s.relation AND x.attnum = s.attnum",
                 {{"atttypid", "s.type"},
                  {"atttypmod", "s.modifier"},
                  {"attlen", "(SELECT t.typlen FROM pg_catalog.pg_type t WHERE t.oid = s.type)"},
                  {"attbyval", "(SELECT t.typbyval FROM pg_catalog.pg_type t WHERE t.oid = s.type)"},
                  {"attalign", "(SELECT t.typalign FROM pg_catalog.pg_type t WHERE t.oid = s.type)"},
                  {"attcollation",
                   "CASE WHEN s.type = x.atttypid THEN x.attcollation ELSE (SELECT t.typcollation FROM "
                   "pg_catalog.pg_type t WHERE t.oid = s.type) END"},
                  {"attstattarget", "-1"},
                  {"attnotnull", "s.attnotnull"},
                  {"atthasdef", "false"},
                  {"atthasmissing", "false"},
                  {"attidentity", "''"},
                  {"attgenerated", "''"},
                  {"attislocal", "true"},
                  {"attinhcount", "0"},
                  {"attacl", "NULL"},
                  {"attoptions", "NULL"},
                  {"attfdwoptions", "NULL"},
                  {"attmissingval", "NULL"}}});
  out.push_back({"pg_catalog",
                 "pg_index",
                 joined,
                 "{}.\"__index\" s JOIN pg_catalog.pg_index x ON x.indexrelid = s.oid",
                 {{"indrelid", "s.relation"},
                  {"indkey", "pg_catalog.array_to_string(s.attnums, ' ')"},
                  {"indexprs", "NULL"},
                  {"indpred", "NULL"},
                  {"indcheckxmin", "false"}}});
  out.push_back({"pg_catalog",
                 "pg_constraint",
                 joined,
                 "{}.\"__constraint\" s JOIN pg_catalog.pg_constraint x ON x.oid = s.oid",
                 {{"connamespace", "s.nspoid"},
                  {"conrelid", "s.relation"},
                  {"contypid", "0"},
                  {"conparentid", "0"},
                  {"confrelid", "s.target"},
                  {"conkey", "s.attnums"},
                  {"confkey", "s.target_attnums"},
                  {"conbin", "NULL"}}});
  out.push_back(
      {"pg_catalog",
       "pg_namespace",
       real,
       "x.nspname IN ('pg_catalog', 'information_schema') OR x.oid IN (SELECT r.nspoid FROM {}.\"__relation\" r)",
       {{"nspowner", kOwner}, {"nspacl", "NULL"}}});
  out.push_back({"pg_catalog",
                 "pg_type",
                 real,
                 "x.oid IN (SELECT t.oid FROM {}.\"__type\" t)",
                 {{"typowner", kOwner}, {"typacl", "NULL"}, {"typdefault", "NULL"}, {"typdefaultbin", "NULL"}}});
}

// The views people ask in place of catalogs.
void AddListings(Definitions& out) {
  out.push_back({"pg_catalog",
                 "pg_tables",
                 made,
                 "{}.\"__relation\" s",
                 {{"schemaname", "s.nspname"},
                  {"tablename", "s.relname"},
                  {"tableowner", "{login}"},
                  {"hasindexes", "false"},
                  {"hasrules", "false"},
                  {"hastriggers", "false"},
                  {"rowsecurity", "false"}}});
  out.push_back({"pg_catalog",
                 "pg_indexes",
                 made,
                 "{}.\"__index\" s",
                 {{"schemaname", "s.nspname"},
                  {"tablename", "s.tablename"},
                  {"indexname", "s.relname"},
                  {"indexdef", "s.definition"}}});
  out.push_back(
      {"pg_catalog",
       "pg_roles",
       real,
       "x.rolname = {login}",
       {{"rolconfig", "NULL"}, {"rolpassword", "'********'"}, {"rolconnlimit", "-1"}, {"rolvaliduntil", "NULL"}}});
  out.push_back({"pg_catalog",
                 "pg_user",
                 real,
                 "x.usename = {login}",
                 {{"useconfig", "NULL"}, {"passwd", "'********'"}, {"valuntil", "NULL"}}});
  out.push_back({"pg_catalog",
                 "pg_database",
                 real,
                 "x.datname = pg_catalog.current_database()",
                 {{"datdba", kOwner},
                  {"datacl", "NULL"},
                  {"datfrozenxid", "'0'"},
                  {"datminmxid", "'0'"},
                  {"datconnlimit", "-1"}}});
  out.push_back(
      {"pg_catalog",
       "pg_settings",
       real,
       "x.name IN ('DateStyle', 'IntervalStyle', 'TimeZone', 'application_name', 'block_size', 'bytea_output', "
       "'client_encoding', 'default_transaction_isolation', 'default_transaction_read_only', "
       "'extra_float_digits', 'integer_datetimes', 'lc_collate', 'lc_ctype', 'max_identifier_length', "
       "'max_index_keys', 'server_encoding', 'server_version', 'server_version_num', "
       "'standard_conforming_strings', 'statement_timeout', 'transaction_isolation', 'transaction_read_only')",
       {{"sourcefile", "NULL"}, {"sourceline", "NULL"}}});
}

// Rows that every PostgreSQL of a version has alike.
void AddBuiltIns(Definitions& out) {
  out.push_back({"pg_catalog",
                 "pg_proc",
                 real,
                 "x.oid < 16384 AND x.pronamespace = 11",
                 {{"proowner", kOwner},
                  {"proacl", "NULL"},
                  {"proconfig", "NULL"},
                  {"proargdefaults", "NULL"},
                  {"prosqlbody", "NULL"}}});
  out.push_back({"pg_catalog", "pg_operator", real, kBuiltIn, {{"oprowner", kOwner}}});
  out.push_back({"pg_catalog", "pg_opclass", real, kBuiltIn, {{"opcowner", kOwner}}});
  out.push_back({"pg_catalog", "pg_opfamily", real, kBuiltIn, {{"opfowner", kOwner}}});
  out.push_back({"pg_catalog", "pg_collation", real, kBuiltIn, {{"collowner", kOwner}}});
  out.push_back({"pg_catalog", "pg_language", real, kBuiltIn, {{"lanowner", kOwner}, {"lanacl", "NULL"}}});
  out.push_back({"pg_catalog",
                 "pg_tablespace",
                 real,
                 kBuiltIn,
                 {{"spcowner", kOwner}, {"spcacl", "NULL"}, {"spcoptions", "NULL"}}});
  for (std::string_view name : {"pg_am", "pg_cast", "pg_conversion", "pg_amop", "pg_amproc", "pg_ts_config"}) {
    out.push_back({"pg_catalog", name, real, kBuiltIn, {}});
  }
  out.push_back({"pg_catalog", "pg_aggregate", real, "x.aggfnoid < 16384", {}});
  out.push_back({"pg_catalog", "pg_range", real, "x.rngtypid IN (SELECT t.oid FROM {}.\"__type\" t)", {}});
  out.push_back({"pg_catalog", "pg_enum", real, "x.enumtypid IN (SELECT t.oid FROM {}.\"__type\" t)", {}});
  out.push_back({"pg_catalog",
                 "pg_extension",
                 real,
                 "x.extname = 'plpgsql'",
                 {{"extowner", kOwner}, {"extconfig", "NULL"}, {"extcondition", "NULL"}}});
  for (std::string_view name : {"pg_timezone_names", "pg_timezone_abbrevs"}) {
    out.push_back({"pg_catalog", name, real, "true", {}});
  }
}

void AddEmpty(Definitions& out) {
  for (std::string_view name : {"pg_attrdef",
                                "pg_auth_members",
                                "pg_db_role_setting",
                                "pg_default_acl",
                                "pg_depend",
                                "pg_description",
                                "pg_event_trigger",
                                "pg_foreign_data_wrapper",
                                "pg_foreign_server",
                                "pg_foreign_table",
                                "pg_group",
                                "pg_inherits",
                                "pg_init_privs",
                                "pg_matviews",
                                "pg_partitioned_table",
                                "pg_policies",
                                "pg_policy",
                                "pg_publication",
                                "pg_publication_namespace",
                                "pg_publication_rel",
                                "pg_publication_tables",
                                "pg_rewrite",
                                "pg_rules",
                                "pg_seclabel",
                                "pg_seclabels",
                                "pg_sequence",
                                "pg_sequences",
                                "pg_shdepend",
                                "pg_shdescription",
                                "pg_shseclabel",
                                "pg_statistic_ext",
                                "pg_subscription",
                                "pg_transform",
                                "pg_trigger",
                                "pg_user_mappings",
                                "pg_views"}) {
    out.push_back({"pg_catalog", name, none, "", {}});
  }
  for (std::string_view name : {"administrable_role_authorizations",
                                "applicable_roles",
                                "attributes",
                                "check_constraint_routine_usage",
                                "check_constraints",
                                "collation_character_set_applicability",
                                "collations",
                                "column_column_usage",
                                "column_domain_usage",
                                "column_options",
                                "column_privileges",
                                "column_udt_usage",
                                "constraint_table_usage",
                                "data_type_privileges",
                                "domain_constraints",
                                "domain_udt_usage",
                                "domains",
                                "element_types",
                                "enabled_roles",
                                "foreign_data_wrapper_options",
                                "foreign_data_wrappers",
                                "foreign_server_options",
                                "foreign_servers",
                                "foreign_table_options",
                                "foreign_tables",
                                "parameters",
                                "role_column_grants",
                                "role_routine_grants",
                                "role_table_grants",
                                "role_udt_grants",
                                "role_usage_grants",
                                "routine_column_usage",
                                "routine_privileges",
                                "routine_routine_usage",
                                "routine_sequence_usage",
                                "routine_table_usage",
                                "routines",
                                "sequences",
                                "table_privileges",
                                "transforms",
                                "triggered_update_columns",
                                "triggers",
                                "udt_privileges",
                                "usage_privileges",
                                "user_defined_types",
                                "user_mapping_options",
                                "user_mappings",
                                "view_column_usage",
                                "view_routine_usage",
                                "view_table_usage",
                                "views"}) {
    out.push_back({"information_schema", name, none, "", {}});
  }
}

void AddInformationTables(Definitions& out) {
  constexpr std::string_view kCatalog = "pg_catalog.current_database()";
  out.push_back({"information_schema", "information_schema_catalog_name", real, "true", {}});
  out.push_back({"information_schema", "character_sets", real, "true", {}});
  out.push_back({"information_schema",
                 "schemata",
                 made,
                 "(SELECT DISTINCT r.nspname FROM {}.\"__relation\" r) s",
                 {{"catalog_name", kCatalog}, {"schema_name", "s.nspname"}, {"schema_owner", "{login}"}}});
  out.push_back({"information_schema",
                 "tables",
                 made,
                 "{}.\"__relation\" s",
                 {{"table_catalog", kCatalog},
                  {"table_schema", "s.nspname"},
                  {"table_name", "s.relname"},
                  {"table_type", "'BASE TABLE'"},
                  {"is_insertable_into", "'YES'"},
                  {"is_typed", "'NO'"}}});
  out.push_back({"information_schema",
                 "columns",
                 made,
                 "{}.\"__column\" s JOIN {}.\"__relation\" r ON r.oid = s.relation "
                 "JOIN pg_catalog.pg_type d ON d.oid = s.type "
                 "JOIN pg_catalog.pg_type t ON t.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END "
                 "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace",
                 {{"table_catalog", kCatalog},
                  {"table_schema", "r.nspname"},
                  {"table_name", "r.relname"},
                  {"column_name", "s.attname"},
                  {"ordinal_position", "s.attnum"},
                  {"is_nullable", "CASE WHEN s.attnotnull THEN 'NO' ELSE 'YES' END"},
                  {"data_type",
                   "CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN 'ARRAY' WHEN n.nspname = 'pg_catalog' THEN "
                   "pg_catalog.format_type(t.oid, NULL) ELSE 'USER-DEFINED' END"},
                  {"character_maximum_length", "information_schema._pg_char_max_length(t.oid, s.modifier)"},
                  {"character_octet_length", "information_schema._pg_char_octet_length(t.oid, s.modifier)"},
                  {"numeric_precision", "information_schema._pg_numeric_precision(t.oid, s.modifier)"},
                  {"numeric_precision_radix", "information_schema._pg_numeric_precision_radix(t.oid, s.modifier)"},
                  {"numeric_scale", "information_schema._pg_numeric_scale(t.oid, s.modifier)"},
                  {"datetime_precision", "information_schema._pg_datetime_precision(t.oid, s.modifier)"},
                  {"udt_catalog", kCatalog},
                  {"udt_schema", "n.nspname"},
                  {"udt_name", "t.typname"},
                  {"dtd_identifier", "s.attnum"},
                  {"is_self_referencing", "'NO'"},
                  {"is_identity", "'NO'"},
                  {"identity_cycle", "'NO'"},
                  {"is_generated", "'NEVER'"},
                  {"is_updatable", "'YES'"}}});
}

void AddInformationKeys(Definitions& out) {
  constexpr std::string_view kCatalog = "pg_catalog.current_database()";
  out.push_back(
      {"information_schema",
       "table_constraints",
       made,
       "{}.\"__constraint\" s",
       {{"constraint_catalog", kCatalog},
        {"constraint_schema", "s.nspname"},
        {"constraint_name", "s.conname"},
        {"table_catalog", kCatalog},
        {"table_schema", "s.nspname"},
        {"table_name", "s.tablename"},
        {"constraint_type", "CASE s.contype WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE' ELSE 'FOREIGN KEY' END"},
        {"is_deferrable", "'NO'"},
        {"initially_deferred", "'NO'"},
        {"enforced", "'YES'"},
        {"nulls_distinct", "CASE s.contype WHEN 'u' THEN 'YES' END"}}});
  out.push_back({"information_schema",
                 "key_column_usage",
                 made,
                 "{}.\"__constraint\" s CROSS JOIN LATERAL pg_catalog.unnest(s.attnums) WITH ORDINALITY AS k(num, at) "
                 "JOIN {}.\"__column\" c ON c.relation = s.relation AND c.attnum = k.num",
                 {{"constraint_catalog", kCatalog},
                  {"constraint_schema", "s.nspname"},
                  {"constraint_name", "s.conname"},
                  {"table_catalog", kCatalog},
                  {"table_schema", "s.nspname"},
                  {"table_name", "s.tablename"},
                  {"column_name", "c.attname"},
                  {"ordinal_position", "k.at"},
                  {"position_in_unique_constraint", "CASE s.contype WHEN 'f' THEN k.at END"}}});
  out.push_back(
      {"information_schema",
       "constraint_column_usage",
       made,
       "{}.\"__constraint\" s JOIN {}.\"__column\" c ON c.relation = CASE s.contype WHEN 'f' THEN s.target ELSE "
       "s.relation END AND c.attnum = ANY (CASE s.contype WHEN 'f' THEN s.target_attnums ELSE s.attnums END) "
       "JOIN {}.\"__relation\" r ON r.oid = c.relation",
       {{"table_catalog", kCatalog},
        {"table_schema", "r.nspname"},
        {"table_name", "r.relname"},
        {"column_name", "c.attname"},
        {"constraint_catalog", kCatalog},
        {"constraint_schema", "s.nspname"},
        {"constraint_name", "s.conname"}}});
  out.push_back(
      {"information_schema",
       "referential_constraints",
       made,
       "{}.\"__constraint\" s JOIN pg_catalog.pg_constraint x ON x.oid = s.oid AND x.contype = 'f' "
       "LEFT JOIN {}.\"__constraint\" u ON u.relation = s.target AND u.index = x.conindid AND u.contype <> 'f'",
       {{"constraint_catalog", kCatalog},
        {"constraint_schema", "s.nspname"},
        {"constraint_name", "s.conname"},
        {"unique_constraint_catalog", kCatalog},
        {"unique_constraint_schema", "u.nspname"},
        {"unique_constraint_name", "u.conname"},
        {"match_option", "CASE x.confmatchtype WHEN 'f' THEN 'FULL' WHEN 'p' THEN 'PARTIAL' ELSE 'NONE' END"},
        {"update_rule",
         "CASE x.confupdtype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET "
         "DEFAULT' WHEN 'r' THEN 'RESTRICT' ELSE 'NO ACTION' END"},
        {"delete_rule",
         "CASE x.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET "
         "DEFAULT' WHEN 'r' THEN 'RESTRICT' ELSE 'NO ACTION' END"}}});
}

}  // namespace

const std::vector<ShadowRelationDefinition>& ShadowRelationDefinitions() {
  static const Definitions definitions = [] {
    Definitions out;
    AddRelations(out);
    AddListings(out);
    AddBuiltIns(out);
    AddEmpty(out);
    AddInformationTables(out);
    AddInformationKeys(out);
    return out;
  }();
  return definitions;
}

}  // namespace ecluse
