// A role's view of a small register, by hand, for tests that need no database.
#pragma once

#include <memory>
#include <string>

#include "policy/role_schema.h"

namespace ecluse {

inline std::shared_ptr<const RoleSchema> FixtureSchema() {
  auto policy = std::make_shared<Policy>();
  policy->register_name = "test";
  Role role;
  role.name = "officer";
  role.statistics = Statistics{};
  role.may_export = true;
  policy->roles["officer"] = role;
  auto schema = std::make_shared<RoleSchema>();
  schema->role = &policy->roles.at("officer");
  schema->policy = policy;
  schema->login = "ecluse_test_officer";
  schema->generation = 1;
  const Mask clear{Mask::Kind::clear, 0}, year{Mask::Kind::year, 0}, hidden{Mask::Kind::hidden, 0};
  const Mask pseudonym{Mask::Kind::pseudonym, 0};
  const auto column = [](std::string name, Oid type, Mask mask) {
    ViewColumn c;
    c.name = std::move(name);
    c.type = type;
    c.mask = mask;
    return c;
  };
  GuardedView person;
  person.table = {"taj", "person"};
  person.view = "taj.person";
  person.space = "person";
  person.columns = {column("person_id", 23, clear), column("nir", 25, clear), column("family_name", 25, clear),
                    column("birth_date", 1082, year), column("photo", 17, hidden)};
  person.subject = {0};
  person.primary_key = {0};
  person.unique = {{0}, {1}};
  person.columns[2].updatable = person.columns[2].insertable = person.columns[0].insertable = true;
  person.may_delete = true;
  schema->guarded[person.table] = person;
  GuardedView involvement;
  involvement.table = {"taj", "involvement"};
  involvement.view = "taj.involvement";
  involvement.space = "person";
  involvement.columns = {column("involvement_id", 23, clear), column("person_id", 23, clear),
                         column("case_id", 23, clear), column("outcome", 25, clear), column("weight", 23, clear)};
  involvement.subject = {1};
  involvement.primary_key = {0};
  involvement.unique = {{0}};
  involvement.row_condition = true;
  involvement.statistics_by = {3};
  involvement.statistics_of = {4};
  schema->guarded[involvement.table] = involvement;
  GuardedView cases;
  cases.table = {"taj", "case"};
  cases.view = "taj.case";
  cases.space = "person";
  cases.via = true;
  cases.columns = {column("case_id", 23, clear), column("opened", 1082, clear)};
  cases.primary_key = {0};
  cases.unique = {{0}};
  schema->guarded[cases.table] = cases;
  GuardedView owner;
  owner.table = {"sia", "owner"};
  owner.view = "sia.owner";
  owner.space = "person";
  owner.columns = {column("owner_id", 23, clear), column("name", 25, clear)};
  owner.subject = {0};
  owner.primary_key = {0};
  schema->guarded[owner.table] = owner;
  GuardedView patient;
  patient.table = {"med", "patient"};
  patient.view = "med.patient";
  patient.space = "patient";
  patient.columns = {column("patient_id", 25, pseudonym), column("ward", 25, clear)};
  patient.subject = {0};
  schema->guarded[patient.table] = patient;
  schema->sequences.insert({"taj", "person_person_id_seq"});
  schema->open[{"ref", "town"}] = {{"ref", "town"}, {{"code", 25}, {"name", 25}}};
  schema->shadows[{"pg_catalog", "pg_class"}] = {
      {"pg_catalog", "pg_class"}, "pg_class", {{"oid", 26}, {"relname", 19}, {"relnamespace", 26}, {"relkind", 18}}};
  for (const char* name :
       {"pg_table_is_visible", "table_is_visible_in", "relation_name", "format_type", "to_regtype"}) {
    schema->shadow_functions[name] = name;
  }
  schema->relation_oids["taj.person"] = 16400;
  return schema;
}

}  // namespace ecluse
