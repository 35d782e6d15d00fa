#include "plan/conjuncts.h"

#include <gtest/gtest.h>

#include <string>

#include "plan/lexer.h"
#include "plan/parse.h"

namespace ecluse {
namespace {

// The pieces of WHERE, or of the first join's ON, with `|` between them; "-" where tokens and tree do not agree.
std::string Pieces(const std::string& text, bool on = false) {
  const auto tokens = Lex(text);
  const auto tree = ParseTree(text);
  if (!tokens || !tree) return "?";
  const Clauses clauses(text, *tokens);
  const pgq::SelectStmt& select = tree->stmts(0).stmt().select_stmt();
  const SelectClauses* own = clauses.OfTarget(static_cast<size_t>(select.target_list(0).res_target().location()));
  const pgq::Node* condition = &select.where_clause();
  TokenRange range = WhereOf(*own);
  if (on) {
    const pgq::Node* join = &select.from_clause(0);
    while (join->join_expr().larg().has_join_expr()) join = &join->join_expr().larg();
    condition = &join->join_expr().quals();
    range = OnOf(clauses, *own, clauses.TokenAt(static_cast<size_t>(AnyLocation(*condition))));
  }
  const auto conjuncts = ConjunctsOf(clauses, *condition, range, on);
  if (conjuncts.empty()) return "-";
  std::string pieces;
  for (const Conjunct& conjunct : conjuncts) {
    if (!pieces.empty()) pieces += "|";
    for (size_t i = conjunct.tokens.first; i < conjunct.tokens.second; ++i)
      pieces.append(i > conjunct.tokens.first ? " " : "").append(clauses.TextOf(i));
    if (conjunct.parts.size() > 1) pieces += " #" + std::to_string(conjunct.parts.size());
  }
  return pieces;
}

TEST(Conjuncts, OfWhere) {
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE a = 1"), "a = 1");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE a = 1 AND (b = 2 AND ((c = 3))) GROUP BY x"), "a = 1|b = 2|c = 3");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE a = 1 OR b = 2 AND c = 3"), "a = 1 OR b = 2 AND c = 3");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE (a = 1 OR b = 2) AND c = 3 ORDER BY 1"), "a = 1 OR b = 2|c = 3");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE a BETWEEN 1 AND 2 AND b = 3 LIMIT 1"), "a BETWEEN 1 AND 2|b = 3");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE CASE WHEN a = 1 AND b = 2 THEN c = 3 END AND d = 4"),
            "CASE WHEN a = 1 AND b = 2 THEN c = 3 END|d = 4");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE NOT (a = 1 AND b = 2) AND c = 3"), "NOT ( a = 1 AND b = 2 )|c = 3");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE t.and = 1 AND t.or = 2 AND \"or\" = 3"), "t . and = 1|t . or = 2|\"or\" = 3");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE (a, b) = (1, 2) AND c IN (3, 4)"), "( a , b ) = ( 1 , 2 )|c IN ( 3 , 4 )");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE a = 1 /* AND b = 2 */ AND c = ' AND d' -- AND e\n"), "a = 1|c = ' AND d'");
  EXPECT_EQ(Pieces("SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM u WHERE x = 1 AND y = 2) AND c = 3"),
            "EXISTS ( SELECT 1 FROM u WHERE x = 1 AND y = 2 )|c = 3");
}

TEST(Conjuncts, OfOn) {
  EXPECT_EQ(Pieces("SELECT 1 FROM t JOIN u ON t.a = u.a AND u.b = 1 WHERE c = 2", true), "t . a = u . a|u . b = 1");
  EXPECT_EQ(Pieces("SELECT 1 FROM t JOIN u ON (t.a = u.a) AND u.b = 1 LEFT OUTER JOIN v ON v.c = 2", true),
            "t . a = u . a|u . b = 1");
  EXPECT_EQ(Pieces("SELECT 1 FROM (t JOIN u ON t.a = u.a AND u.b = 1), v WHERE v.c = 2", true),
            "t . a = u . a|u . b = 1");
  EXPECT_EQ(Pieces("SELECT 1 FROM t JOIN u ON ((t.a = u.a AND u.b = 1) AND t.on = 3) CROSS JOIN v", true),
            "t . a = u . a|u . b = 1|t . on = 3");
  EXPECT_EQ(Pieces("SELECT 1 FROM t JOIN u ON t.a = u.a, v WHERE t.b = 1", true), "t . a = u . a");
}

}  // namespace
}  // namespace ecluse
