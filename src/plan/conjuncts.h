// A condition in pieces of the client's text: the tree says what its parts are, the tokens where each begins and ends.
// Internal to plan/.
#pragma once

#include <utility>
#include <vector>

#include "plan/clauses.h"
#include "plan/tree.h"

namespace ecluse {

using TokenRange = std::pair<size_t, size_t>;  // [first, last)

// What stands behind WHERE; empty where there is none.
TokenRange WhereOf(const SelectClauses& select);
// What stands behind the ON of the join whose condition token `inside` is part of.
TokenRange OnOf(const Clauses& clauses, const SelectClauses& select, size_t inside);

// A piece of `a AND (b AND c)`, and the parts of the tree that stand in it: one, unless AND stands under other
// parentheses there.
struct Conjunct {
  TokenRange tokens;
  std::vector<const pgq::Node*> parts;
  bool of_join = false;  // of ON, else of WHERE
};

// The pieces of a condition whose text `range` is. None where tokens and tree do not tell the same: then no piece may
// be taken for one that has to hold.
std::vector<Conjunct> ConjunctsOf(const Clauses& clauses, const pgq::Node& condition, TokenRange range, bool of_join);

}  // namespace ecluse
