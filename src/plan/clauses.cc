#include "plan/clauses.h"

#include <algorithm>

namespace ecluse {

Clauses::Clauses(std::string_view text, const std::vector<Token>& tokens)
    : text_(text), tokens_(tokens), partner_(tokens.size(), npos), enclosing_(tokens.size(), npos) {
  std::vector<size_t> open;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const bool closes = Symbol(i, ")") || Symbol(i, "]");
    if (closes && !open.empty()) {
      partner_[open.back()] = i;
      partner_[i] = open.back();
      open.pop_back();
    }
    enclosing_[i] = open.empty() ? npos : open.back();
    if (Symbol(i, "(") || Symbol(i, "[")) open.push_back(i);
  }
  Scan();
}

void Clauses::Scan() {
  std::vector<size_t> current;  // for each depth, the SELECT that is open there
  const auto close = [&](size_t depth, size_t at) {
    for (size_t d = depth; d < current.size(); ++d) {
      if (current[d] == npos) continue;
      SelectClauses& select = selects_[current[d]];
      select.end = at;
      if (select.list_end == npos) select.list_end = at;
      if (select.group != npos && select.group_end == npos) select.group_end = at;
      current[d] = npos;
    }
  };
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const size_t depth = tokens_[i].depth;
    if (current.size() <= depth) current.resize(depth + 1, npos);
    if (Symbol(i, ")") || Symbol(i, "]")) close(depth + 1, i);
    if (Symbol(i, ";")) close(0, i);
    if (tokens_[i].kind != Token::Kind::word) continue;
    SelectClauses* select = current[depth] == npos ? nullptr : &selects_[current[depth]];
    const bool in_list = select != nullptr && select->list_end == npos;
    // A column label after AS, or a name after a dot, may be any word.
    if (i > 0 && (Symbol(i - 1, ".") || (in_list && Word(i - 1, "as")))) continue;
    if (Word(i, "select")) {
      close(depth, i);
      SelectClauses next;
      next.select = i;
      next.depth = static_cast<uint32_t>(depth);
      next.list_begin = i + 1;
      if (Word(i + 1, "distinct") || Word(i + 1, "all")) {
        next.distinct = i + 1;
        next.list_begin = i + 2;
        if (Word(i + 2, "on") && Symbol(i + 3, "(") && partner_[i + 3] != npos) next.list_begin = partner_[i + 3] + 1;
      }
      current[depth] = selects_.size();
      selects_.push_back(next);
      continue;
    }
    if (select == nullptr || i < select->list_begin) continue;
    const auto ends_list = [&] {
      if (select->list_end == npos) select->list_end = i;
      if (select->group != npos && select->group_end == npos) select->group_end = i;
    };
    if (Word(i, "union") || Word(i, "intersect") || Word(i, "except") || Word(i, "returning")) {
      close(depth, i);
    } else if (Word(i, "from") && select->from == npos &&
               !(Word(i - 1, "distinct") && (Word(i - 2, "is") || Word(i - 2, "not")))) {
      ends_list();
      select->from = i;
    } else if (Word(i, "where") && select->where == npos) {
      ends_list();
      select->where = i;
    } else if (Word(i, "group") && !Word(i - 1, "within") && Word(i + 1, "by") && select->group == npos) {
      ends_list();
      select->group = i;
    } else if (Word(i, "having") && select->having == npos) {
      ends_list();
      select->having = i;
    } else if (Word(i, "window") && select->window == npos && select->from != npos) {
      ends_list();
      select->window = i;
    } else if (select->tail == npos &&
               (Word(i, "order") || Word(i, "limit") || Word(i, "offset") || Word(i, "fetch") || Word(i, "for"))) {
      ends_list();
      select->tail = i;
    }
  }
  close(0, tokens_.size());
}

const SelectClauses* Clauses::OfTarget(size_t location) const {
  const SelectClauses* best = nullptr;
  for (const SelectClauses& select : selects_) {
    if (select.list_begin >= select.list_end || select.list_begin >= tokens_.size()) continue;
    if (tokens_[select.list_begin].begin <= location && location < tokens_[select.list_end - 1].end &&
        (best == nullptr || select.depth > best->depth)) {
      best = &select;
    }
  }
  return best;
}

size_t Clauses::TokenAt(size_t location) const {
  const auto it = std::ranges::lower_bound(tokens_, location, {}, &Token::begin);
  return it == tokens_.end() || it->begin != location ? npos : static_cast<size_t>(it - tokens_.begin());
}

size_t Clauses::FindWord(size_t from, size_t to, uint32_t depth, std::string_view word) const {
  for (size_t i = from; i < std::min(to, tokens_.size()); ++i) {
    if (tokens_[i].depth == depth && Word(i, word)) return i;
  }
  return npos;
}

size_t Clauses::Partner(size_t open) const { return open < partner_.size() ? partner_[open] : npos; }
size_t Clauses::Enclosing(size_t index) const { return index < enclosing_.size() ? enclosing_[index] : npos; }

}  // namespace ecluse
