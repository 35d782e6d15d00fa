// What one role sees of one database: the policy compiled against the catalog. Immutable; shared by snapshot.
//
// The planner knows the database only through this. Made by CompileRoles() at start and on reload; the same policy over
// the same catalog always gives the same.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "vault/value_form.h"

namespace ecluse {

using Oid = uint32_t;

// Separates the ids of several people in one hidden `__subject` value. An id that holds it is refused at delivery.
inline constexpr char kSubjectSeparator = '\x1f';
// Separates the columns of a composite subject inside one id.
inline constexpr char kSubjectColumnSeparator = '\x1e';

// A sealed column in a role's view. Where it stands there the gate opens its envelopes and applies the column's mask.
struct SealedColumn {
  ValueType type;         // as declared
  Sealing search;         // the indexes beside it
  bool searched = false;  // this role may search by them
  bool stands = false;    // the view has the envelopes; else what its mask shows of any value
};

struct ViewColumn {
  std::string name;
  Oid type = 0;           // of the column in the role's view, which is the column's own declared type
  std::string type_name;  // as format_type() writes it
  Mask mask;
  bool readable = true;  // false: a write-only column, which exists in the view without SELECT
  bool insertable = false;
  bool updatable = false;
  bool not_null = false;
  bool has_default = false;  // other than the next number of a sequence: rows that leave it out may have it alike
  // Of a sealed column; `type` is what it was declared as.
  std::optional<SealedColumn> sealed;
};

// A guarded table as a role sees it: `"<role schema>"."<schema>.<table>"`, whose columns are the policy's in the
// table's order, then the tokens of sealed columns that it may search or write, and last the hidden `__subject text`:
// the id of the person the row is about, or for a `via` table all of theirs joined by kSubjectSeparator; never NULL,
// never empty.
struct GuardedView {
  TableName table;
  std::string view;  // the view's name inside the role's schema
  std::string space;
  bool own_keys = false;            // PolicyTable::own_keys
  std::string compartment;          // PolicyTable::compartment; where it is linked(), `__subject` is a pseudonym in hex
  std::vector<ViewColumn> columns;  // without the hidden ones
  std::vector<int> subject;         // indices into columns; empty for a `via` table
  std::map<int, TableName> draws;   // insertable columns whose default is the next number of a sequence
  bool via = false;
  std::vector<int> primary_key;  // indices; empty where there is none or the policy names not all of it
  std::vector<std::vector<int>>
      unique;  // every unique key all of whose columns the role reads clear, primary key included
  bool row_condition = false;
  bool may_delete = false;
  std::set<int> statistics_by, statistics_of;

  int Find(const std::string& column) const;  // index, or -1
};

struct OpenColumn {
  std::string name;
  Oid type = 0;
};

struct OpenTable {
  TableName table;
  std::vector<OpenColumn> columns;
};

// A catalog relation the role may ask: `pg_class` -> the shadow view of that name in the role's schema.
struct ShadowRelation {
  TableName name;    // pg_catalog.pg_class, information_schema.columns
  std::string view;  // inside the role's schema
  std::vector<OpenColumn> columns;
};

struct RoleSchema {
  std::shared_ptr<const Policy> policy;
  const Role* role = nullptr;  // inside *policy
  std::string login;           // also the schema's name
  std::map<TableName, GuardedView> guarded;
  std::map<TableName, OpenTable> open;
  std::map<TableName, ShadowRelation> shadows;
  std::map<std::string, std::string>
      shadow_functions;         // pg_catalog function -> its stand-in's name in the role's schema
  std::set<std::string> types;  // names of types beyond pg_catalog that the policy's columns use, schema-qualified
  std::map<std::string, Oid> relation_oids;  // "schema.table" -> the oid under which the shadow pg_class shows it
  std::set<TableName> sequences;             // that this role's writes may use

  // Distinct in memory for each load; part of the plan cache's key, so that no plan outlives its policy or catalog.
  uint64_t generation = 0;
};

using RoleSchemas = std::map<std::string, std::shared_ptr<const RoleSchema>>;  // by role name

}  // namespace ecluse
