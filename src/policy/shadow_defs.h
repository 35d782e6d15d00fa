// The stand-ins as data. Internal to policy/.
#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ecluse {

// Where the rows of a stand-in come from.
enum class ShadowRows {
  none,    // the real relation's columns and no rows: what the gate has no such thing of, or does not tell
  real,    // rows of the real relation `x` that satisfy `from` (a condition); they tell nothing of the register
  joined,  // `from` is a FROM clause in which `x` is the real relation
  made,    // `from` is a FROM clause without the real relation; columns without an expression are NULL
};

// In texts, {} stands for the role's schema, quoted; {login} for the login's name as a text literal.
struct ShadowRelationDefinition {
  std::string_view schema;
  std::string_view name;
  ShadowRows rows;
  std::string_view from;
  std::vector<std::pair<std::string_view, std::string_view>> columns;  // column -> expression in place of the real one
};

struct ShadowFunctionDefinition {
  std::string_view name;
  std::string_view arguments;  // types only
  std::string_view returns;
  std::string_view body;  // an expression over $1, $2, …
};

const std::vector<ShadowRelationDefinition>& ShadowRelationDefinitions();
std::span<const ShadowFunctionDefinition> ShadowFunctionDefinitions();

}  // namespace ecluse
