#include "policy/compile.h"

#include <algorithm>
#include <atomic>

#include "policy/compile_parts.h"
#include "policy/database.h"
#include "policy/masks.h"
#include "policy/sealed_columns.h"
#include "policy/shadow.h"

namespace ecluse {
namespace {

bool IsSubjectType(Oid type) {
  return type == oid::kInt2 || type == oid::kInt4 || type == oid::kInt8 || type == oid::kUuid || type == oid::kText ||
         type == oid::kVarchar || type == oid::kNumeric;
}

void CheckSubjectColumns(Compiler& compiler, const PolicyTable& table, const CatalogTable& found) {
  for (const std::string& name : table.subject_columns) {
    const CatalogColumn* column = found.Find(name);
    if (column == nullptr) continue;  // reported with the columns
    const std::string where = table.name.Text() + "." + name;
    if (!column->not_null) {
      compiler.Problem(table.mark, where +
                                       " says whom a row is about and may be NULL; declare it NOT NULL: ALTER TABLE " +
                                       QuoteTable(table.name) + " ALTER COLUMN " + QuoteName(name) + " SET NOT NULL");
    }
    const auto linked = column->type_schema == kSealedSchema ? LinkedAs(column->type_element) : std::nullopt;
    if (table.linked() && !linked) continue;  // reported with the sealed columns
    if (!IsSubjectType(linked ? linked->type.oid : column->type)) {
      compiler.Problem(table.mark, where + " is " + column->type_name +
                                       "; a subject column is smallint, integer, bigint, "
                                       "uuid, text or character varying");
    } else if (!column->deterministic) {
      compiler.Problem(table.mark,
                       where +
                           " has a nondeterministic collation, under which two ids may be equal and not the "
                           "same; give it a deterministic one");
    } else if (!linked && column->type == oid::kNumeric) {
      compiler.Warn(table.mark, where + " is numeric, which cannot use an index behind a security barrier; bigint can");
    }
  }
}

void CheckVia(Compiler& compiler, const PolicyTable& table, const CatalogTable& found) {
  if (!table.via) return;
  auto via = compiler.catalog.tables.find(*table.via);
  if (via == compiler.catalog.tables.end()) return;  // reported by itself
  const CatalogColumn* here = found.Find(table.via_key);
  const CatalogColumn* there = via->second.Find(table.via_key);
  if (here != nullptr && there != nullptr && here->type != there->type) {
    compiler.Problem(table.mark, table.name.Text() + "." + table.via_key + " is " + here->type_name + " and " +
                                     table.via->Text() + "." + table.via_key + " is " + there->type_name +
                                     "; the key has one type in both tables");
  }
}

// The policy and the database agree on what is sealed, as what, and by which indexes it is found.
void CheckSealed(Compiler& compiler, const PolicyTable& table, const PolicyColumn& column, const CatalogTable& real,
                 const CatalogColumn& own) {
  const std::string what = table.name.Text() + "." + column.name;
  const std::string command = "`ecluse seal --table " + table.name.Text() + " --owner postgres://owner@host/database`";
  const bool sealed = own.type_schema == kSealedSchema;
  const auto linked = sealed ? LinkedAs(own.type_element) : std::nullopt;
  if (linked && (!column.sealed || !column.sealed->link || linked->compartment != table.compartment)) {
    compiler.Problem(column.mark, what + " holds pseudonyms of the compartment " + linked->compartment +
                                      " in the database, and the policy has it otherwise; put that `compartment` "
                                      "back, or take it and `sealed` from the table and run `ecluse seal --undo`");
    return;
  }
  if (!column.sealed) {
    if (sealed) {
      compiler.Problem(column.mark, what +
                                        " is sealed in the database and not in the policy; give it sealed: {} here, "
                                        "or open it with `ecluse seal --undo`");
    }
    return;
  }
  if (!sealed) {
    compiler.Problem(column.mark, what + (column.sealed->link ? " is in a compartment" : " is sealed in the policy") +
                                      " and stands in the database in clear; run " + command);
    return;
  }
  const auto type = StandingType(own.type_element, *column.sealed);
  if (!type) {
    compiler.Problem(column.mark, what + " has the type " + own.type_name +
                                      ", which this version does not know; a newer one sealed it");
    return;
  }
  if (const std::string misfit = SearchMisfit(*type, *column.sealed); !misfit.empty())
    return compiler.Problem(column.mark, what + " " + misfit);
  if (column.sealed->link) return;
  for (const TokenColumn& index : TokenColumns(column.name, *type, *column.sealed)) {
    const CatalogColumn* tokens = real.Find(index.name);
    const bool block = index.kind == TokenColumn::Kind::block;
    if (tokens != nullptr &&
        (block ? tokens->type_schema == kSealedSchema && tokens->type_element == RangeDomain(*column.sealed)
               : tokens->type == oid::kBytea)) {
      continue;
    }
    compiler.Problem(column.mark,
                     what + " is searched by " + index.name +
                         ", which does not stand beside it in the database as the policy has it; open the "
                         "column (`ecluse seal --undo`, under a policy without `sealed`) and seal it again");
    break;
  }
  if (type->oid == type_oid::kBool && column.sealed->equality) {
    compiler.Warn(column.mark, what + " has two values, and an equality index shows which rows have the same");
  }
}

// A foreign key to or from another compartment is a join in clear, and leaves the number of the transaction that wrote
// the one row in the other.
void CheckCompartment(Compiler& compiler, const PolicyTable& table, const CatalogTable& real) {
  const auto check = [&](const CatalogForeignKey& key, const TableName& other) {
    const auto there = compiler.policy->tables.find(other);
    if (there == compiler.policy->tables.end() || there->second.compartment == table.compartment) return;
    compiler.Problem(table.mark, table.name.Text() + " is in another compartment than " + other.Text() +
                                     ", and the foreign key " + key.name +
                                     " joins their rows in the database; drop it: ALTER TABLE " + QuoteTable(key.from) +
                                     " DROP CONSTRAINT " + QuoteName(key.name));
  };
  if (!table.linked()) return;
  for (const CatalogForeignKey& key : real.foreign_keys) check(key, key.to);
  for (const CatalogForeignKey& key : real.referencing) check(key, key.from);
}

void CheckRetention(Compiler& compiler, const PolicyTable& table, const CatalogTable& real) {
  if (!table.retention) return;
  const CatalogColumn* column = real.Find(table.retention->first);
  if (column == nullptr) {
    compiler.Problem(table.mark, table.name.Text() + " has no column " + table.retention->first +
                                     " in the database; retention goes by a column of the table");
  } else if (column->base_type != oid::kDate && column->base_type != oid::kTimestamp &&
             column->base_type != oid::kTimestamptz) {
    compiler.Problem(table.mark, table.name.Text() + " keeps rows by " + column->name + ", which is " +
                                     column->type_name + "; retention goes by a date or timestamp that is not sealed");
  }
}

void CheckTable(Compiler& compiler, const PolicyTable& table) {
  auto found = compiler.catalog.tables.find(table.name);
  if (found == compiler.catalog.tables.end()) {
    compiler.Problem(table.mark,
                     table.name.Text() + " is not in the database; create it, or take it out of the policy");
    return;
  }
  const CatalogTable& real = found->second;
  if (real.kind == 'v' || real.kind == 'm') {
    compiler.Problem(table.mark, table.name.Text() +
                                     " is a view, whose rows the gate cannot tie to people with certainty; "
                                     "guard the tables it reads");
    return;
  }
  for (const PolicyColumn& column : table.columns) {
    if (real.Find(column.name) != nullptr) continue;
    compiler.Problem(column.mark, table.name.Text() + " has no column " + column.name +
                                      " in the database; add it, or take it "
                                      "out of the policy");
  }
  for (const PolicyColumn& column : table.columns) {
    if (const CatalogColumn* own = real.Find(column.name)) CheckSealed(compiler, table, column, real, *own);
  }
  for (const std::string& name : table.erased_clear) {
    const CatalogColumn* own = real.Find(name);
    if (own != nullptr && (own->not_null || own->generated))
      compiler.Problem(table.mark, table.name.Text() + "." + name + " is to be NULL of people who are erased, and is " +
                                       (own->generated ? "computed" : "NOT NULL") +
                                       " in the database; drop that, seal the column, or take it out of erasure.nulls");
  }
  CheckCompartment(compiler, table, real);
  CheckRetention(compiler, table, real);
  CheckSubjectColumns(compiler, table, real);
  CheckVia(compiler, table, real);
}

ViewColumn CompileColumn(Compiler& compiler, const Role& role, const PolicyTable& table, const CatalogColumn& real,
                         const Mask& mask) {
  ViewColumn column;
  column.name = real.name;
  column.mask = mask;
  auto write = role.write.find(table.name);
  if (write != role.write.end()) {
    column.insertable = write->second.insert_columns.contains(real.name);
    column.updatable = write->second.update_columns.contains(real.name);
  }
  // A column that is written and not read stands in the view as it is, without SELECT: it has to be its very own column
  // to be written.
  const bool write_only = mask.kind == Mask::Kind::hidden && (column.insertable || column.updatable);
  column.readable = !write_only;
  const Sealing search = table.Find(real.name)->sealed.value_or(Sealing{});
  if (const auto type = real.type_schema == kSealedSchema ? StandingType(real.type_element, search) : std::nullopt) {
    column.type = type->oid;
    column.type_name = TypeText(*type);
    column.not_null = real.not_null && mask.kind == Mask::Kind::clear;
    if (auto wrong = SealedMaskMisfit(real.name, *type, mask)) {
      compiler.Problem(role.mark, "roles." + role.name + ".read." + table.name.Text() + ": " + *wrong);
    }
    const auto granted = role.search.find(table.name);
    const bool searched =
        mask.kind == Mask::Kind::clear || (granted != role.search.end() && granted->second.contains(real.name));
    const bool stands = write_only || ShowsSealed(mask);
    column.sealed = SealedColumn{*type, search, searched, stands};
    return column;
  }
  auto masked = MaskColumn(real, write_only ? Mask{Mask::Kind::clear, 0} : mask, role.hours.time_zone);
  if (!masked) {
    compiler.Problem(role.mark, "roles." + role.name + ".read." + table.name.Text() + ": " + masked.error());
    return column;
  }
  column.type = masked->type;
  column.type_name = masked->type_name;
  column.not_null = real.not_null && mask.kind == Mask::Kind::clear;
  const bool zoned =
      real.base_type == oid::kTimestamptz && (mask.kind == Mask::Kind::year || mask.kind == Mask::Kind::month);
  if (zoned && !compiler.catalog.time_zones.contains(role.hours.time_zone)) {
    compiler.Problem(role.mark, "roles." + role.name + ".hours names the time zone " + role.hours.time_zone +
                                    ", in which " + table.name.Text() + "." + real.name +
                                    " is cut and which PostgreSQL does "
                                    "not know; name one of pg_timezone_names");
  }
  return column;
}

GuardedView CompileView(Compiler& compiler, const Role& role, const PolicyTable& table, const CatalogTable& real) {
  GuardedView view;
  view.table = table.name;
  view.view = ViewName(table);
  view.space = table.space;
  view.own_keys = table.own_keys;
  view.compartment = table.compartment;
  view.via = table.via.has_value();
  view.row_condition = role.rows.contains(table.name);
  const auto& masks = role.read.at(table.name);
  for (const CatalogColumn& column : real.columns) {
    auto mask = masks.find(column.name);
    if (mask == masks.end()) continue;
    view.columns.push_back(CompileColumn(compiler, role, table, column, mask->second));
    view.columns.back().has_default = column.has_default && !real.sequences.contains(column.name);
  }
  for (const std::string& subject : table.subject_columns) view.subject.push_back(view.Find(subject));
  for (const auto& [name, sequence] : real.sequences) {
    const int at = view.Find(name);
    if (at >= 0 && view.columns[at].insertable) view.draws[at] = sequence;
  }
  auto clear = [&](const std::string& name) {
    const std::string column = OfEqualityColumn(name);
    const int at = view.Find(column);
    if (at < 0) return false;
    const auto& sealed = view.columns[at].sealed;
    // Equal tokens are equal values, equal pseudonyms are equal ids; equal envelopes are nothing.
    return sealed ? (name != column || sealed->search.link) && sealed->searched
                  : view.columns[at].mask.kind == Mask::Kind::clear;
  };
  for (const CatalogKey& key : real.keys) {
    if (!key.own) continue;
    if (!key.unique || !key.plain || key.columns.empty() || !std::ranges::all_of(key.columns, clear)) continue;
    std::vector<int> columns;
    for (const std::string& name : key.columns) columns.push_back(view.Find(OfEqualityColumn(name)));
    if (key.primary) view.primary_key = columns;
    view.unique.push_back(std::move(columns));
  }
  if (auto write = role.write.find(table.name); write != role.write.end()) view.may_delete = write->second.may_delete;
  if (role.statistics) {
    auto indices = [&](const std::map<TableName, std::set<std::string>>& named) {
      std::set<int> out;
      if (auto columns = named.find(table.name); columns != named.end()) {
        for (const std::string& name : columns->second) out.insert(view.Find(name));
      }
      return out;
    };
    view.statistics_by = indices(role.statistics->by);
    view.statistics_of = indices(role.statistics->of);
  }
  return view;
}

void AddOpenTables(Compiler& compiler, RoleSchema& schema) {
  for (const TableName& name : compiler.policy->open_tables) {
    auto real = compiler.catalog.tables.find(name);
    if (real == compiler.catalog.tables.end()) continue;
    OpenTable& open = schema.open[name];
    open.table = name;
    for (const CatalogColumn& column : real->second.columns) {
      open.columns.push_back({column.name, column.type});
      if (column.type_schema != "pg_catalog") schema.types.insert(column.type_schema + "." + column.type_element);
    }
    schema.relation_oids[name.Text()] = real->second.oid;
  }
}

void AddShadows(const Catalog& catalog, RoleSchema& schema) {
  for (const TableName& name : ShadowRelations()) {
    auto real = catalog.system.find(name);
    if (real == catalog.system.end()) continue;  // not in this version of PostgreSQL
    schema.relation_oids[name.Text()] =
        catalog.system_oids.at(name);  // 'pg_class'::regclass is in many a tool's question
    ShadowRelation& shadow = schema.shadows[name];
    shadow = {name, name.Text(), {}};
    constexpr Oid kAnyArray = 2277, kTextArray = 1009;  // no view may have the first
    for (const SystemColumn& column : real->second) {
      shadow.columns.push_back({column.name, column.type == kAnyArray ? kTextArray : column.type});
    }
  }
  for (const std::string& function : ShadowFunctions()) schema.shadow_functions[function] = function;
}

std::shared_ptr<const RoleSchema> CompileRole(Compiler& compiler, const Role& role, uint64_t generation) {
  auto schema = std::make_shared<RoleSchema>();
  schema->policy = compiler.policy;
  schema->role = &role;
  schema->login = compiler.policy->LoginOf(role.name);
  schema->generation = generation;
  for (const auto& [name, masks] : role.read) {
    auto real = compiler.catalog.tables.find(name);
    if (real == compiler.catalog.tables.end()) continue;
    const PolicyTable& table = compiler.policy->tables.at(name);
    GuardedView view = CompileView(compiler, role, table, real->second);
    for (const ViewColumn& column : view.columns) {
      const CatalogColumn* own = real->second.Find(column.name);
      if (own->type == column.type && own->type_schema != "pg_catalog") {
        schema->types.insert(own->type_schema + "." + own->type_element);
      }
    }
    if (auto write = role.write.find(name); write != role.write.end() && !write->second.insert_columns.empty()) {
      // Also for columns that the policy does not name: an insert draws their defaults all the same.
      for (const auto& [column, sequence] : real->second.sequences) schema->sequences.insert(sequence);
    }
    auto oid = compiler.catalog.views.find({schema->login, view.view});
    if (oid != compiler.catalog.views.end()) schema->relation_oids[name.Text()] = oid->second;
    schema->guarded.emplace(name, std::move(view));
  }
  AddOpenTables(compiler, *schema);
  AddShadows(compiler.catalog, *schema);
  CheckPseudonyms(compiler, role);
  CheckWrites(compiler, role);
  return schema;
}

}  // namespace

int GuardedView::Find(const std::string& column) const {
  auto found = std::ranges::find(columns, column, &ViewColumn::name);
  return found == columns.end() ? -1 : static_cast<int>(found - columns.begin());
}

std::string ViewName(const PolicyTable& table) {
  std::string sealed;
  for (const PolicyColumn& column : table.columns) sealed += column.sealed ? " " + column.name : "";
  if (table.linked()) sealed += " in " + table.compartment;
  return FittingName(table.name.Text(), sealed);
}

std::expected<RoleSchemas, std::vector<PolicyProblem>> CompileRoles(std::shared_ptr<const Policy> policy,
                                                                    const Catalog& catalog,
                                                                    std::vector<PolicyProblem>* warnings) {
  static std::atomic<uint64_t> generations{0};
  const uint64_t generation = ++generations;
  Compiler compiler{policy, catalog, {}};
  for (const auto& [name, table] : policy->tables) CheckTable(compiler, table);
  CheckOpenTables(compiler);
  RoleSchemas schemas;
  for (const auto& [name, role] : policy->roles) schemas[name] = CompileRole(compiler, role, generation);
  auto& problems = compiler.problems;
  std::ranges::sort(problems, [](const PolicyProblem& a, const PolicyProblem& b) {
    return std::tie(a.mark.line, a.mark.column, a.message) < std::tie(b.mark.line, b.mark.column, b.message);
  });
  if (std::ranges::any_of(problems, [](const PolicyProblem& problem) { return !problem.warning; })) {
    return std::unexpected(std::move(problems));
  }
  if (warnings != nullptr) *warnings = std::move(problems);
  return schemas;
}

}  // namespace ecluse
