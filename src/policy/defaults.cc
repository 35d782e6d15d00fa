#include "policy/defaults.h"

namespace ecluse {

std::string PolicyDefaults() {
  return R"(# What holds where the policy says nothing. version, register, gate (data_dir, sql, database), tables and roles
# have no defaults: they must be there.
gate:
  database: {port: 5432, tls: verify-full}   # over a Unix socket (host: /folder): tls: disable
  allow_cleartext: false
  statement_timeout: 60s
purposes:
  consultation: {reference: optional}
# tables.T:
#   space: person
#   accepts_existence: false
open_tables: []
functions: []
# roles.R:
#   purposes: every purpose above
#   read: {}          what is not named is hidden
#   rows: {}
#   write: {}
#   budgets: [{subjects: 60, per: 1h}, {subjects: 200, per: 24h}, {lookups: 600, per: 1h}, {failures: 20, per: 1h}]
#                     {failures: 20, per: 1h} also where budgets are given without one
#   statistics: none; where given: {min_subjects: 11, by: {}, of: {}, rows: 1000, per: 24h}
#   session: {idle: 15m, lifetime: 10h}
#   hours: "Mon-Sun 00:00-24:00 UTC"
#   export: false
limits:
  per_address: [{subjects: 120, per: 1h}]
  per_organisation: [{subjects: 5000, per: 24h}]
  per_register: [{subjects: 50000, per: 24h}]
identity: {accounts: accounts.yaml}
ledger:
  checkpoint_every: 1s
  retention: 3y             # `ecluse ledger prune` removes what is older
  literals_retention: 90d   # of what statements quoted, behind the end of their month: the gate destroys its key
vault:
  root: {file: root.key}
  generations: root.key.generations   # beside the root's file; of a root in a token: root.generations
  erasure_horizon: 7d
)";
}

}  // namespace ecluse
