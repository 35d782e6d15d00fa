// What of a text a search goes by: the same for all spellings of it that people take for one another.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ecluse {

// `text`, UTF-8, without case, accents, ligatures, or kinds of space, hyphen and apostrophe: NFKC_Casefold and NFKD of
// Unicode (UAX #15) without marks, spaces once and none at the ends (docs/vault_format.md, Folding). Refuses what is
// not UTF-8.
Result<std::string> Fold(std::string_view text);

// What a LIKE looks for: how a text begins or, where not `open`, all of it.
struct LikeBeginning {
  std::string_view text;  // of the pattern, without the % at its end
  bool open = false;
  size_t characters = 0;  // of `text`, folded
};
// nullopt where the pattern looks for anything else, or its text ends in what folding would take with the next letter.
// Refuses what is not UTF-8.
Result<std::optional<LikeBeginning>> BeginningOf(std::string_view pattern);

// How `text`, a name, sounds in French: Lefèvre, Lefebvre, LEFEVRE give the same. Letters of other scripts stand for
// themselves; empty where there is no letter and no digit (docs/vault_format.md, Sounds). Refuses what is not UTF-8.
Result<std::string> SoundOf(std::string_view text);

}  // namespace ecluse
