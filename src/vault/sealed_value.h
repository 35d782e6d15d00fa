// Values of sealed columns, and the tokens they are found by. Formats: docs/vault_format.md, Sealed values and Blind
// indexes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"
#include "vault/hmac.h"
#include "vault/xaes.h"

namespace ecluse {

// Where a sealed value belongs: what it is bound to.
struct Cell {
  std::string_view register_name;
  std::string_view table;    // `schema.table`
  std::string_view column;   // its declared name
  std::string_view subject;  // `space:id`, whom the row is about
  // That person's own key (value_keys.h), of kXaesKey bytes: what is sealed is under it as well, and what is under it
  // opens. Null: neither.
  const Secret* own = nullptr;
};

// The envelope of `plain` under the data key `id`.
std::string SealValue(const Xaes& key, const KeyId& id, const Cell& cell, std::string_view plain);
// nullopt where `key` did not seal it, a byte of it was altered, or it was sealed for another column or person. An
// older value of the same cell opens, and one of another row about the same person.
std::optional<std::string> OpenValue(const Xaes& key, const Cell& cell, std::string_view envelope);
// The data key that the envelope of a value names; nullopt where it is none.
std::optional<KeyId> ValueKeyId(std::string_view envelope);
// Whether it is under its person's own key as well.
bool UnderOwnKey(std::string_view envelope);

using BlindToken = std::array<uint8_t, 16>;

// The tokens of a column. Immutable, so safe for any number of threads.
class BlindIndex {
 public:
  // `search` is the search key of the compartment. Columns of one name in a compartment have the same tokens, so that
  // they can be joined (docs/decisions/blind-indexes.md).
  BlindIndex(const Secret& search, std::string_view register_name, std::string_view column);

  // What stands behind `=`: the canonical text, folded where the column's type is a text.
  BlindToken Equality(std::string_view folded) const;
  // Of the first `characters` (at most 65,535) of a folded text; nullopt where it has fewer.
  std::optional<BlindToken> Prefix(std::string_view folded, unsigned characters) const;
  // What stands in place of that prefix where the text has fewer characters.
  BlindToken NoPrefix(unsigned characters) const;
  BlindToken Sound(std::string_view sound) const;
  // Of the block of 2^level steps that holds `step`; `level` is below 64.
  BlindToken Block(int64_t step, unsigned level) const;

 private:
  BlindToken Token(char kind, unsigned level, std::string_view of) const;
  HmacKey key_;
};

// A block of 2^level steps: those from number * 2^level on.
struct StepBlock {
  unsigned level = 0;
  int64_t number = 0;
  friend bool operator==(const StepBlock&, const StepBlock&) = default;
};

// The fewest blocks of levels below `levels` that hold the steps from `first` to `last`, both included, and no other:
// at most 2 * (levels - 1), and one for each block of the highest level between. nullopt where that would be more than
// `most`; none where first > last.
std::optional<std::vector<StepBlock>> BlocksOf(int64_t first, int64_t last, unsigned levels, size_t most);

}  // namespace ecluse
