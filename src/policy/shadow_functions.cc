// Functions that look things up by oid or name, answered from the role's own stand-ins.
#include <array>

#include "policy/shadow_defs.h"

namespace ecluse {
namespace {

// A relation of the role, by its name as a client writes it.
#define ECLUSE_NAMED(name)                                                           \
  "(SELECT r.oid FROM {}.\"__relation\" r WHERE " name                               \
  " IN (r.nspname || '.' || r.relname, pg_catalog.quote_ident(r.nspname) || '.' || " \
  "pg_catalog.quote_ident(r.relname), "                                              \
  "r.relname::text) ORDER BY r.oid LIMIT 1)"
#define ECLUSE_VISIBLE(oid) "EXISTS (SELECT FROM {}.\"__relation\" r WHERE r.oid = " oid ")"

// Found by its bare name along `path`. Where the path names no schema of the role's at all, everything counts as found:
// \dt of a session that never set a path should not be empty.
#define ECLUSE_FOUND(oid, path)                                                                                      \
  "EXISTS (SELECT FROM {}.\"__class\" c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = " oid \
  " AND (n.nspname = ANY (" path ") OR NOT EXISTS (SELECT FROM {}.\"__relation\" r WHERE r.nspname = ANY (" path     \
  "))))"

constexpr std::string_view kIndex = "(SELECT i.definition FROM {}.\"__index\" i WHERE i.oid = $1)";
constexpr std::string_view kConstraint = "(SELECT c.definition FROM {}.\"__constraint\" c WHERE c.oid = $1)";
constexpr std::string_view kBuiltIn = "$1 < 16384";

constexpr auto kFunctions = std::to_array<ShadowFunctionDefinition>({
    {"pg_table_is_visible", "oid", "boolean", ECLUSE_FOUND("$1", "ARRAY[]::text[]")},
    // Not of PostgreSQL: the same along the session's own path, which only the gate knows.
    {"table_is_visible_in", "text[], oid", "boolean", ECLUSE_FOUND("$2", "$1")},
    {"pg_type_is_visible", "oid", "boolean",
     "EXISTS (SELECT FROM {}.\"__type\" t JOIN pg_catalog.pg_type x ON x.oid = t.oid WHERE t.oid = $1 AND "
     "x.typnamespace = 11)"},
    {"pg_function_is_visible", "oid", "boolean", kBuiltIn},
    {"pg_operator_is_visible", "oid", "boolean", kBuiltIn},
    {"pg_opclass_is_visible", "oid", "boolean", kBuiltIn},
    {"pg_opfamily_is_visible", "oid", "boolean", kBuiltIn},
    {"pg_collation_is_visible", "oid", "boolean", kBuiltIn},
    {"pg_conversion_is_visible", "oid", "boolean", kBuiltIn},
    {"pg_statistics_obj_is_visible", "oid", "boolean", "false"},
    {"pg_ts_config_is_visible", "oid", "boolean", kBuiltIn},
    {"pg_get_userbyid", "oid", "name", "{login}::name"},
    {"pg_get_expr", "pg_node_tree, oid", "text", "NULL"},
    {"pg_get_expr", "pg_node_tree, oid, boolean", "text", "NULL"},
    {"pg_get_indexdef", "oid", "text", kIndex},
    {"pg_get_indexdef", "oid, integer, boolean", "text",
     "CASE $2 WHEN 0 THEN (SELECT i.definition FROM {}.\"__index\" i WHERE i.oid = $1) ELSE (SELECT i.names[$2] FROM "
     "{}.\"__index\" i WHERE i.oid = $1) END"},
    {"pg_get_constraintdef", "oid", "text", kConstraint},
    {"pg_get_constraintdef", "oid, boolean", "text", kConstraint},
    {"pg_get_viewdef", "oid", "text", "NULL"},
    {"pg_get_viewdef", "oid, boolean", "text", "NULL"},
    {"pg_get_viewdef", "text", "text", "NULL"},
    {"pg_get_ruledef", "oid", "text", "NULL"},
    {"pg_get_ruledef", "oid, boolean", "text", "NULL"},
    {"pg_get_triggerdef", "oid", "text", "NULL"},
    {"pg_get_triggerdef", "oid, boolean", "text", "NULL"},
    {"pg_get_functiondef", "oid", "text", "NULL"},
    {"pg_get_function_arguments", "oid", "text", "NULL"},
    {"pg_get_function_identity_arguments", "oid", "text", "NULL"},
    {"pg_get_function_result", "oid", "text", "NULL"},
    {"pg_get_function_arg_default", "oid, integer", "text", "NULL"},
    {"pg_get_function_sqlbody", "oid", "text", "NULL"},
    {"pg_get_partkeydef", "oid", "text", "NULL"},
    {"pg_get_partition_constraintdef", "oid", "text", "NULL"},
    {"pg_get_serial_sequence", "text, text", "text", "NULL"},
    {"pg_get_statisticsobjdef", "oid", "text", "NULL"},
    {"pg_get_statisticsobjdef_columns", "oid", "text", "NULL"},
    {"pg_get_statisticsobjdef_expressions", "oid", "text[]", "NULL"},
    {"obj_description", "oid", "text", "NULL"},
    {"obj_description", "oid, name", "text", "NULL"},
    {"col_description", "oid, integer", "text", "NULL"},
    {"shobj_description", "oid, name", "text", "NULL"},
    {"pg_relation_size", "regclass", "bigint", "NULL"},
    {"pg_relation_size", "regclass, text", "bigint", "NULL"},
    {"pg_table_size", "regclass", "bigint", "NULL"},
    {"pg_indexes_size", "regclass", "bigint", "NULL"},
    {"pg_total_relation_size", "regclass", "bigint", "NULL"},
    {"pg_database_size", "oid", "bigint", "NULL"},
    {"pg_database_size", "name", "bigint", "NULL"},
    {"pg_tablespace_size", "oid", "bigint", "NULL"},
    {"pg_tablespace_size", "name", "bigint", "NULL"},
    {"pg_tablespace_location", "oid", "text", "NULL"},
    {"pg_relation_filenode", "regclass", "oid", "NULL"},
    {"pg_relation_is_publishable", "regclass", "boolean", "false"},
    {"pg_relation_is_updatable", "regclass, boolean", "integer", "0"},
    {"pg_column_is_updatable", "regclass, smallint, boolean", "boolean", "false"},
    {"pg_sequence_last_value", "regclass", "bigint", "NULL"},
    {"pg_partition_ancestors", "regclass", "SETOF regclass", "SELECT NULL::regclass WHERE false"},
    {"pg_partition_root", "regclass", "regclass", "NULL"},
    // Not of PostgreSQL: a relation's name as regclass prints it, for casts of oids.
    {"relation_name", "oid", "text",
     "coalesce((SELECT pg_catalog.quote_ident(r.nspname) || '.' || pg_catalog.quote_ident(r.relname) FROM "
     "{}.\"__relation\" r WHERE r.oid = $1), $1::text)"},
    {"pg_my_temp_schema", "", "oid", "0::oid"},
    {"pg_is_other_temp_schema", "oid", "boolean", "false"},
    {"pg_stat_get_numscans", "oid", "bigint", "NULL"},
    {"pg_stat_get_live_tuples", "oid", "bigint", "NULL"},
    {"pg_stat_get_dead_tuples", "oid", "bigint", "NULL"},
    {"pg_stat_get_tuples_inserted", "oid", "bigint", "NULL"},
    {"pg_stat_get_tuples_updated", "oid", "bigint", "NULL"},
    {"pg_stat_get_tuples_deleted", "oid", "bigint", "NULL"},
    {"format_type", "oid, integer", "text",
     "CASE WHEN $1 IS NULL THEN NULL WHEN $1 IN (SELECT t.oid FROM {}.\"__type\" t) THEN pg_catalog.format_type($1, "
     "$2) ELSE "
     "'-' END"},
    {"to_regclass", "text", "oid", ECLUSE_NAMED("$1")},
    {"to_regtype", "text", "regtype",
     "(SELECT t.oid FROM {}.\"__type\" t WHERE t.oid = pg_catalog.to_regtype($1))::regtype"},
    {"to_regnamespace", "text", "regnamespace",
     "(SELECT r.nspoid FROM {}.\"__relation\" r WHERE $1 IN (r.nspname::text, pg_catalog.quote_ident(r.nspname)) LIMIT "
     "1)::regnamespace"},
    {"has_table_privilege", "oid, text", "boolean", ECLUSE_VISIBLE("$1") " AND pg_catalog.has_table_privilege($1, $2)"},
    {"has_table_privilege", "text, text", "boolean",
     "coalesce(pg_catalog.has_table_privilege(" ECLUSE_NAMED("$1") ", $2), false)"},
    {"has_table_privilege", "name, oid, text", "boolean",
     ECLUSE_VISIBLE("$2") " AND pg_catalog.has_table_privilege($2, $3)"},
    {"has_table_privilege", "name, text, text", "boolean",
     "coalesce(pg_catalog.has_table_privilege(" ECLUSE_NAMED("$2") ", $3), false)"},
    {"has_any_column_privilege", "oid, text", "boolean",
     ECLUSE_VISIBLE("$1") " AND pg_catalog.has_any_column_privilege($1, $2)"},
    {"has_any_column_privilege", "text, text", "boolean",
     "coalesce(pg_catalog.has_any_column_privilege(" ECLUSE_NAMED("$1") ", $2), false)"},
    {"has_column_privilege", "oid, smallint, text", "boolean",
     ECLUSE_VISIBLE("$1") " AND pg_catalog.has_column_privilege($1, $2, $3)"},
    {"has_column_privilege", "oid, text, text", "boolean",
     ECLUSE_VISIBLE("$1") " AND pg_catalog.has_column_privilege($1, $2, $3)"},
    {"has_column_privilege", "text, text, text", "boolean",
     "coalesce(pg_catalog.has_column_privilege(" ECLUSE_NAMED("$1") ", $2, $3), false)"},
    {"has_schema_privilege", "oid, text", "boolean",
     "EXISTS (SELECT FROM {}.\"__relation\" r WHERE r.nspoid = $1) AND pg_catalog.lower($2) = 'usage' OR $1 = 11"},
    {"has_schema_privilege", "text, text", "boolean",
     "EXISTS (SELECT FROM {}.\"__relation\" r WHERE r.nspname::text = $1) AND pg_catalog.lower($2) = 'usage'"},
    {"has_schema_privilege", "name, text, text", "boolean",
     "EXISTS (SELECT FROM {}.\"__relation\" r WHERE r.nspname::text = $2) AND pg_catalog.lower($3) = 'usage'"},
    {"has_database_privilege", "oid, text", "boolean", "pg_catalog.lower($2) = 'connect'"},
    {"has_database_privilege", "text, text", "boolean", "pg_catalog.lower($2) = 'connect'"},
    {"has_database_privilege", "name, text, text", "boolean", "pg_catalog.lower($3) = 'connect'"},
    {"has_function_privilege", "oid, text", "boolean", "$1 < 16384"},
    {"has_type_privilege", "oid, text", "boolean", "$1 IN (SELECT t.oid FROM {}.\"__type\" t)"},
    {"has_sequence_privilege", "oid, text", "boolean", "false"},
    {"has_sequence_privilege", "text, text", "boolean", "false"},
    {"has_language_privilege", "oid, text", "boolean", "false"},
    {"has_tablespace_privilege", "oid, text", "boolean", "false"},
    {"has_foreign_data_wrapper_privilege", "oid, text", "boolean", "false"},
    {"has_server_privilege", "oid, text", "boolean", "false"},
    {"pg_has_role", "oid, text", "boolean", "true"},
    {"pg_has_role", "name, text", "boolean", "true"},
    {"pg_has_role", "name, name, text", "boolean", "true"},
});

#undef ECLUSE_FOUND
#undef ECLUSE_NAMED
#undef ECLUSE_VISIBLE

}  // namespace

std::span<const ShadowFunctionDefinition> ShadowFunctionDefinitions() { return kFunctions; }

}  // namespace ecluse
