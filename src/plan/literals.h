// Lifting literals out of simple-protocol texts, so that lookups that differ in a value alone share one plan.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/lexer.h"
#include "policy/role_schema.h"

namespace ecluse {

struct Lifted {
  std::string text;                 // the statement with $1 … in place of literals; empty where nothing was lifted
  std::vector<Oid> types;           // of the parameters; 0 where PostgreSQL decides as it would for the literal
  std::vector<std::string> values;  // as text
};

// Lifts what is surely the same as a parameter: in a SELECT, UPDATE or DELETE without parameters of its own, a plain
// integer or plain string that is one whole side of a comparison with a column in WHERE. Everything else (LIMIT,
// function arguments, casts, select lists, IN lists) keeps its literals, because there a parameter can mean something
// else; so does what stands behind a BETWEEN, and behind the first limits::kLiftedLiterals. [begin, end) is the
// statement.
Lifted LiftLiterals(std::string_view text, const std::vector<Token>& tokens, size_t begin, size_t end);

}  // namespace ecluse
