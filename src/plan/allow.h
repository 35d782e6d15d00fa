// The lists: functions, operators and types a statement may use. What is not here is refused.
#pragma once

#include <string_view>

namespace ecluse::allow {

// Built-in functions of pg_catalog that compute from their arguments alone (manual chapter 9). Names in lower case.
bool Function(std::string_view name);
// Aggregates over rows; a subset of the functions above.
bool Aggregate(std::string_view name);
// Window functions proper (row_number …); a subset of the functions above.
bool WindowFunction(std::string_view name);
// Window functions whose answer is a place among the partition's rows: row_number, rank, dense_rank, ntile.
bool Ranking(std::string_view name);
// Functions that return a set of rows; a subset of the functions above.
bool SetReturning(std::string_view name);
// Functions only statements over catalogs alone may use, beyond those above.
bool CatalogFunction(std::string_view name);
// Operators of pg_catalog.
bool Operator(std::string_view name);
// Types of pg_catalog that values may be cast to.
bool Type(std::string_view name);
// Types whose input looks names up in the catalog (regclass …).
bool NameType(std::string_view name);

// The output columns of a function in FROM: a record function's own names, or empty for a function whose single column
// takes the alias's name.
struct RecordColumns {
  const std::string_view* names = nullptr;
  size_t count = 0;
};
RecordColumns Columns(std::string_view function);

}  // namespace ecluse::allow
