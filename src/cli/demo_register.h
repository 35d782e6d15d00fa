// The demonstration register: four schemas of entirely fictitious people, made from a seed.
//
// Every row is a function of (seed, table, number), so that tables can be made in any order, in parallel, and of any
// size without holding anything in memory; the same seed, size and day always give the same bytes. What could be mistaken
// for somebody's is drawn from ranges that are never given out: NIRs name communes 950 to 999, which no department has,
// plates begin with I, O or U, which plates do not use, telephone numbers lie in the block kept for films, postal codes
// begin with 99.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

namespace ecluse::demo {

inline constexpr int64_t kDefaultSubjects = 100'000;
inline constexpr int64_t kMaxSubjects = 16'400'000;
inline constexpr int64_t kSightingDays = 35;

// How large, and from which seed.
struct Shape {
  int64_t subjects = kDefaultSubjects;  // people in taj.person, 1 to kMaxSubjects; all else follows
  uint64_t seed = 1;
  // Plates were seen in the kSightingDays before it.
  std::chrono::sys_days today = std::chrono::year(2026) / 7 / 1;

  int64_t cases() const;
  int64_t owners() const;
};

// One table. Rows come in units: a unit is one number of the generator and makes no, one or several rows.
struct Table {
  const char* name;     // as SQL writes it: taj."case"
  const char* columns;  // as COPY takes them
  int64_t (*units)(const Shape& shape);
  // Appends the rows of unit `number` (from 1) in COPY's text format; returns how many.
  int (*rows)(const Shape& shape, int64_t number, std::string& out);
};

// Larger ones first, so that parallel loading ends evenly.
std::span<const Table> Tables();

// The 13 digits of person `id` with their two-digit key: unique below kMaxSubjects.
std::string Nir(const Shape& shape, int64_t id);
// The plate of vehicle `number`, "OA-123-BC": unique below 50,000,000.
std::string Plate(int64_t number);

// SQL: schemas and tables without keys; then keys and indexes, each statement by itself, in two groups that may run in
// parallel within themselves; then what has to come last.
const char* SchemaSql();
std::span<const char* const> KeySql();
std::span<const char* const> ReferenceSql();
const char* FinishSql();

}  // namespace ecluse::demo
