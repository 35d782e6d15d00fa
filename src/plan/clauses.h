// Where the clauses of each SELECT stand in the text. The parse tree has no end offsets and no location for joins,
// sub-selects, aliases and whole statements; the tokens have all of them, so the two are combined here.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "plan/lexer.h"

namespace ecluse {

// One `SELECT … [FROM …] [WHERE …] …`; token indices, `npos` where the clause is not there.
struct SelectClauses {
  static constexpr size_t npos = static_cast<size_t>(-1);
  size_t select = npos;      // the word SELECT
  size_t distinct = npos;    // DISTINCT or ALL after it
  size_t list_begin = npos;  // first token of the select list
  size_t list_end = npos;    // one past its last token
  size_t from = npos, where = npos, group = npos, having = npos, window = npos;
  size_t group_end = npos;  // one past the last token of GROUP BY
  size_t tail = npos;       // ORDER, LIMIT, OFFSET, FETCH or FOR behind it, whichever is first
  size_t end = npos;        // one past its last token, its tail included
  uint32_t depth = 0;
};

class Clauses {
 public:
  static constexpr size_t npos = SelectClauses::npos;
  Clauses(std::string_view text, const std::vector<Token>& tokens);

  // The SELECT whose select list holds byte `location`, innermost; null where there is none.
  const SelectClauses* OfTarget(size_t location) const;
  size_t count() const { return selects_.size(); }

  // Index of the token that begins at byte `location`, or npos.
  size_t TokenAt(size_t location) const;
  // The last token index before `index` that is not deeper than it, looking for the word; npos if none at that depth.
  size_t FindWord(size_t from, size_t to, uint32_t depth, std::string_view word) const;
  // For an opening parenthesis or bracket, the index of its partner; npos where there is none.
  size_t Partner(size_t open) const;
  // The parenthesis that encloses token `index`, or npos at the outermost level.
  size_t Enclosing(size_t index) const;

  const std::vector<Token>& tokens() const { return tokens_; }
  std::string_view text() const { return text_; }
  bool Word(size_t index, std::string_view word) const {
    return index < tokens_.size() && IsWord(text_, tokens_[index], word);
  }
  bool Symbol(size_t index, std::string_view symbol) const {
    return index < tokens_.size() && IsSymbol(text_, tokens_[index], symbol);
  }
  std::string_view TextOf(size_t index) const { return ecluse::TextOf(text_, tokens_[index]); }

 private:
  void Scan();
  std::string_view text_;
  const std::vector<Token>& tokens_;
  std::vector<SelectClauses> selects_;
  std::vector<size_t> partner_, enclosing_;
};

}  // namespace ecluse
