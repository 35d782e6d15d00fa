// Reading the values a statement was given: which people its constants and parameters name, and how many are searched
// for.
//
// Ids are compared with those of the hidden `__subject` columns, so every value is brought to the text PostgreSQL
// prints for it (PostgreSQL manual, chapter 8; binary forms as its typsend functions write them).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "execute/run.h"
#include "plan/plan.h"

namespace ecluse {

// A person that the statement itself names.
struct NamedPerson {
  int table_ref = 0;
  std::string id;
};

// `bytes`, a value of `type`, as the text of a person's id. nullopt: it can be nobody's id (not a number, a fraction).
// Fails with 0A000 where the form is one the gate does not read.
Result<std::optional<std::string>> CanonicalId(Oid type, std::string_view bytes, bool binary);

// Whether a text can be a person's id, or a part of one of several columns: 1 to limits::kSubjectId bytes of UTF-8,
// none of them zero or one of the separators of role_schema.h.
bool MayBeId(std::string_view text);

// The elements of an array in PostgreSQL's text form (`{1,2,"a b"}`) or binary form; NULL elements are left out. Nested
// arrays are flattened. `element_type` receives the type a binary array says its elements have, else stays as it is.
// `nulls` (may be null) becomes true where some were left out.
Result<std::vector<std::string>> ArrayElements(std::string_view bytes, bool binary, Oid* element_type,
                                               bool* nulls = nullptr);

// The people named by plan.asked, at most limits::kAskedValues.
Result<std::vector<NamedPerson>> ReadAsked(const Plan& plan, const BoundValues& values);

// What running the statement costs in lookups: one for each arm, one more for each further value of a searched list.
Result<int64_t> CountLookups(const Plan& plan, const BoundValues& values);

// Rows that are charged and swallowed at the start of the result; 0 without OFFSET or with OFFSET
// NULL. A negative one, and a text that is no number, is an error.
Result<int64_t> ReadSkip(const Plan& plan, const BoundValues& values);

}  // namespace ecluse
