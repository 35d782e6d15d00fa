// What PostgreSQL says of the tables a policy names, as the gate needs it. Read with any login: system catalogs are
// open.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "policy/role_schema.h"

namespace ecluse {

struct CatalogColumn {
  std::string name;
  Oid type = 0;                // as declared
  std::string type_name;       // format_type() of it, fully qualified beyond pg_catalog
  Oid base_type = 0;           // of a domain, what it is over; else `type`
  std::string base_type_name;  // with its type modifier
  char type_kind = 'b';        // pg_type.typtype of the declared type
  char category = 'U';         // pg_type.typcategory of the base type
  std::string type_schema;     // of the declared type (of its elements, for arrays)
  std::string type_element;    // that type's own name
  bool not_null = false;
  bool deterministic = true;  // its collation
  bool generated = false;     // GENERATED ALWAYS AS (…) STORED
  bool identity_always = false;
  bool has_default = false;  // its own or its domain's; neither generated nor an identity
};

// A unique index or exclusion constraint.
struct CatalogKey {
  std::string name;
  std::vector<std::string> columns;
  bool primary = false;
  bool unique = true;  // false: an exclusion constraint
  bool plain = true;   // neither partial nor over expressions
  // `columns`, and what expressions, predicates and generated columns read for it; of tokens the column they are of.
  std::vector<std::string> reads;
  bool own = true;             // false: of a partition alone, and so not of every row
  bool nulls_distinct = true;  // false: NULLS NOT DISTINCT
};

struct CatalogForeignKey {
  std::string name;
  TableName from, to;
  std::vector<std::string> from_columns, to_columns;
  bool changes_rows = false;  // ON DELETE or ON UPDATE does more than refuse
};

// A check, a generated column, or an index over expressions or rows that meet a condition: computed, and refused with
// an error that depends on the values of these columns.
struct CatalogCheck {
  std::string name;
  std::vector<std::string> columns;
};

struct CatalogTrigger {
  std::string name;
  std::string function;  // schema.name
  std::string language;
  std::string source;
  bool definer = false;  // SECURITY DEFINER
  bool on_insert = false, on_update = false, on_delete = false;
};

// A column of a relation of PostgreSQL's own.
struct SystemColumn {
  std::string name;
  Oid type = 0;
  std::string type_name;
};

struct CatalogTable {
  TableName name;
  Oid oid = 0;
  char kind = 'r';                     // pg_class.relkind
  std::vector<CatalogColumn> columns;  // in the table's order, without dropped ones
  std::vector<CatalogKey> keys;
  std::vector<CatalogForeignKey> foreign_keys;  // from this table
  std::vector<CatalogForeignKey> referencing;   // to this table
  std::vector<CatalogCheck> checks;
  std::vector<CatalogTrigger> triggers;        // enabled, not internal; those of partitions too
  std::vector<std::string> rules;              // CREATE RULE
  std::map<std::string, TableName> sequences;  // column -> the sequence its default draws from (identity columns not)

  const CatalogColumn* Find(const std::string& column) const;
};

struct Catalog {
  std::map<TableName, CatalogTable> tables;  // those of the policy that exist
  std::map<TableName, Oid> views;            // relations in the schemas of this register's roles, where applied
  std::map<TableName, std::vector<SystemColumn>>
      system;                              // pg_catalog and information_schema relations and their columns
  std::map<TableName, Oid> system_oids;    // of the same
  std::set<std::string> time_zones;        // of the roles', those that PostgreSQL knows
  std::map<TableName, TableName> reading;  // open views that read a guarded table -> that table
};

// Reads what `policy` names. One consistent snapshot where the caller has a REPEATABLE READ transaction open.
Result<Catalog> ReadCatalog(Database& database, const Policy& policy);
// Of that the tables alone, which takes some milliseconds.
Result<Catalog> ReadTableCatalog(Database& database, const Policy& policy);

}  // namespace ecluse
