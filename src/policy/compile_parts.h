// The checks of a policy against a catalog that are about more than one column. Internal to policy/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "policy/catalog.h"
#include "policy/policy.h"

namespace ecluse {

struct Compiler {
  std::shared_ptr<const Policy> policy;
  const Catalog& catalog;
  std::vector<PolicyProblem> problems;

  void Problem(Mark mark, std::string message) { problems.push_back({mark, std::move(message), false}); }
  void Warn(Mark mark, std::string message) { problems.push_back({mark, std::move(message), true}); }
};

// Open tables exist and read no guarded one.
void CheckOpenTables(Compiler& compiler);
// No foreign key hands out in clear what the role sees under a pseudonym.
void CheckPseudonyms(Compiler& compiler, const Role& role);
// Writing must not tell of rows or columns that the role cannot see: by unique keys, foreign keys, checks, triggers.
void CheckWrites(Compiler& compiler, const Role& role);

}  // namespace ecluse
