// How a sealed column stands in the database: its type says what is sealed in it, and hidden columns beside it hold the
// tokens it is found by (docs/decisions/sealed-columns.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policy/policy.h"
#include "vault/value_form.h"

namespace ecluse {

// The owner's schema of domains over bytea, each named as the type that is sealed under it:
// ecluse_sealed."varchar(40)".
inline constexpr std::string_view kSealedSchema = "ecluse_sealed";
// The domain there of columns that envelopes are gathered in, while a table is moved in.
inline constexpr std::string_view kGatheredDomain = "envelope";
inline constexpr std::string_view kGatheredLinks = "pseudonym";  // and pseudonyms

// What a domain of that name seals; nullopt where it is not the one spelling of a type that may be sealed.
std::optional<ValueType> SealedType(std::string_view domain);
// The domain's name. The type may be sealed.
std::string SealedDomain(const ValueType& type);
// The same of columns that hold pseudonyms in the place of ids: ecluse_sealed."id bigint in contact".
struct LinkedIds {
  ValueType type;
  std::string compartment;
};
std::optional<LinkedIds> LinkedAs(std::string_view domain);
std::string LinkedDomain(const ValueType& type, std::string_view compartment);
// The type of either of the two, as `sealing` says.
std::optional<ValueType> StandingType(std::string_view domain, const Sealing& sealing);
// The type as format_type() writes it.
std::string TypeText(const ValueType& type);

// A hidden column of tokens.
struct TokenColumn {
  enum class Kind { equality, prefix, sound, block };
  std::string name;  // __bidx_nir, __bidx_family_name_p3, __bidx_family_name_s, __bidx_birth_date_r0
  Kind kind = Kind::equality;
  unsigned level = 0;  // of prefix: how many characters; of block: 2^level steps
};
// Those of a sealed column, in a fixed order.
std::vector<TokenColumn> TokenColumns(const std::string& column, const ValueType& type, const Sealing& sealing);
// The domain of a range index's columns, in kSealedSchema: its name tells the step.
std::string RangeDomain(const Sealing& sealing);
std::string BlockColumn(const std::string& column, unsigned level);

// The steps that a range index counts in: those of a type's values, as far as it can hold them.
struct RangeSteps {
  int64_t size = 1;             // of days for dates, microseconds for times, else a number
  int64_t first = 0, last = 0;  // the steps of -infinity and infinity; every other value's is between them
  unsigned levels = 1;
  bool discrete = true;  // a next value follows each
};
// Dates and times from year 1 to 9999, integers all, numerics as far as bigint goes. nullopt without a range index.
std::optional<RangeSteps> StepsOf(const ValueType& type, const Sealing& sealing);
// Where a canonical value stands: its step, and whether it is that step's first value and its last. nullopt: it is
// outside, or is NaN; `below` says on which side.
struct StepPlace {
  int64_t step = 0;
  bool first = false, last = false;
};
std::optional<StepPlace> PlaceOf(const ValueType& type, const RangeSteps& steps, std::string_view canonical,
                                 bool* below);

std::string EqualityColumn(const std::string& column);
// Where a sealed column is compared by `=`: there, or, where pseudonyms stand in it, itself.
std::string EqualityColumn(const std::string& column, const Sealing& sealing);
std::string PrefixColumn(const std::string& column, unsigned characters);
std::string SoundColumn(const std::string& column);
// Whether a column of that name may be one of the token columns of `column`, whatever its indexes are or were.
bool IsTokenColumn(const std::string& column, const std::string& name);
// What every name of a token column begins with.
inline constexpr std::string_view kTokenPrefix = "__bidx_";
// The comment of a token column: which search key its tokens are under, 16 hexadecimal digits. A column without it is
// under none that is known.
std::string SearchKeyNote(std::string_view search_key);
// The column whose equality index `name` is, or `name` itself where it is none.
std::string OfEqualityColumn(const std::string& name);

// What is wrong with such an index over such a type; empty where nothing is.
std::string SearchMisfit(const ValueType& type, const Sealing& sealing);

}  // namespace ecluse
