// Compiling a policy into a database: logins, schemas, views, stand-ins, grants. Run by someone who may create roles
// and grant on the tables; no superuser is needed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "policy/database.h"
#include "policy/policy.h"
#include "vault/keys.h"

namespace ecluse {

enum class ApplyMode {
  apply,    // make it so
  dry_run,  // say what apply would run; everything is tried in a transaction that is rolled back
  remove,   // take away everything that apply made for this register
};

struct ApplyReport {
  std::vector<std::string> statements;  // run, or to be run; passwords left out. Empty: nothing differs
  std::vector<PolicyProblem> problems;  // of the policy against the database: nothing was done
  std::vector<std::string> refusals;    // of the database itself, each with the SQL that mends it: nothing was done
  std::vector<std::string> warnings;
  bool done() const { return problems.empty() && refusals.empty(); }
};

// One transaction under an advisory lock: all of it or nothing. `keys` wraps new passwords; it may be null for dry_run
// and remove. Whoever runs it twice finds nothing left to do the second time. An Error is a database that cannot be
// asked or a data folder that cannot be written.
//
// `change` alters the tables that the roles' views stand on, in the same transaction: the views are dropped, it runs,
// and they are made anew. Where it fails, or the report is not done(), nothing has happened.
Result<ApplyReport> Apply(Database& owner, std::shared_ptr<const Policy> policy, KeyRing* keys, ApplyMode mode,
                          const std::function<Status()>& change = {});

// The policy against the database, without the intention of applying it: everything Apply would refuse. Changes
// nothing.
Result<ApplyReport> CheckAgainst(Database& owner, std::shared_ptr<const Policy> policy);

}  // namespace ecluse
