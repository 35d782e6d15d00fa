#include "plan/conjuncts.h"

#include <algorithm>
#include <initializer_list>

namespace ecluse {
namespace {

// A column may have any name behind a dot.
bool Keyword(const Clauses& clauses, size_t index, std::initializer_list<std::string_view> words) {
  return (index == 0 || !clauses.Symbol(index - 1, ".")) &&
         std::ranges::any_of(words, [&](std::string_view word) { return clauses.Word(index, word); });
}

void Split(const Clauses& clauses, TokenRange range, std::vector<TokenRange>& out) {
  auto [begin, end] = range;
  while (begin + 1 < end && clauses.Symbol(begin, "(") && clauses.Partner(begin) == end - 1) ++begin, --end;
  if (begin >= end) return;
  const uint32_t depth = clauses.tokens()[begin].depth;
  std::vector<TokenRange> pieces;
  size_t first = begin;
  int between = 0, cases = 0;
  bool either = false;
  for (size_t i = begin; i < end; ++i) {
    if (clauses.tokens()[i].depth != depth) continue;
    if (Keyword(clauses, i, {"case"})) ++cases;
    if (Keyword(clauses, i, {"end"})) --cases;
    if (cases > 0) continue;
    either |= Keyword(clauses, i, {"or"});
    if (Keyword(clauses, i, {"between"})) ++between;
    if (!Keyword(clauses, i, {"and"}) || (between > 0 && between-- > 0)) continue;
    pieces.emplace_back(first, i);
    first = i + 1;
  }
  pieces.emplace_back(first, end);
  if (either || pieces.size() == 1) {
    out.emplace_back(begin, end);
    return;
  }
  for (const TokenRange& piece : pieces) Split(clauses, piece, out);
}

}  // namespace

TokenRange WhereOf(const SelectClauses& select) {
  if (select.where == Clauses::npos) return {0, 0};
  size_t end = select.end;
  for (const size_t next : {select.group, select.having, select.window, select.tail})
    if (next != Clauses::npos) end = std::min(end, next);
  return {select.where + 1, end};
}

TokenRange OnOf(const Clauses& clauses, const SelectClauses& select, size_t inside) {
  size_t on = inside;
  const uint32_t depth = clauses.tokens()[inside].depth;
  while (on > 0 && !(clauses.tokens()[on].depth <= depth && Keyword(clauses, on, {"on"}))) --on;
  const uint32_t outer = clauses.tokens()[on].depth;
  const auto behind = [&](size_t i) {
    if (clauses.tokens()[i].depth < outer) return true;  // the parenthesis around the join
    if (clauses.tokens()[i].depth > outer) return false;
    return clauses.Symbol(i, ",") || Keyword(clauses, i,
                                             {"join", "where", "group", "having", "order", "limit", "on", "window",
                                              "offset", "fetch", "for", "union", "intersect", "except"});
  };
  size_t end = on + 1;
  while (end < select.end && !behind(end)) ++end;
  if (end < select.end && Keyword(clauses, end, {"join"})) {
    while (Keyword(clauses, end - 1, {"inner", "left", "right", "full", "outer", "cross", "natural"})) --end;
  }
  return {on + 1, end};
}

std::vector<Conjunct> ConjunctsOf(const Clauses& clauses, const pgq::Node& condition, TokenRange range, bool of_join) {
  std::vector<TokenRange> pieces;
  Split(clauses, range, pieces);
  std::vector<Conjunct> conjuncts;
  for (const TokenRange& piece : pieces) conjuncts.push_back({piece, {}, of_join});
  std::vector<const pgq::Node*> parts;
  Flatten(condition, parts);
  for (const pgq::Node* part : parts) {
    const auto holds = std::ranges::find_if(conjuncts, [&](const Conjunct& conjunct) {
      return StandsIn(*part, clauses.tokens()[conjunct.tokens.first].begin,
                      clauses.tokens()[conjunct.tokens.second - 1].end);
    });
    if (holds == conjuncts.end()) return {};
    holds->parts.push_back(part);
  }
  if (std::ranges::any_of(conjuncts, [](const Conjunct& conjunct) { return conjunct.parts.empty(); })) return {};
  return conjuncts;
}

}  // namespace ecluse
