// PostgreSQL's lexical rules (manual chapter 4.1) over bytes that may be anything: the first look at a statement,
// before any parser sees it, and the source of the byte offsets that splicing needs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ecluse {

struct Token {
  enum class Kind : uint8_t { word, quoted_word, string, special_string, integer, decimal, parameter, op, punctuation };
  Kind kind = Kind::word;
  uint32_t begin = 0, end = 0;  // byte offsets
  uint32_t depth = 0;           // of parentheses and brackets around it; both ends of a pair carry the outer depth
};

// Splits `text` into tokens; white space and comments are left out. Refuses NUL bytes, invalid UTF-8, unterminated
// strings and comments, and whatever is over limits::kStatementBytes, kStatementTokens, kStatementNesting or
// kOperatorChain: what it lets through, the parser's stack holds. Assumes standard_conforming_strings=on, which the
// gate pins.
Result<std::vector<Token>> Lex(std::string_view text);

// Characters that operators are made of.
inline bool IsOperatorChar(char c) { return std::string_view("~!@#^&|`?+-*/%<>=").contains(c); }

// The token's text.
inline std::string_view TextOf(std::string_view statement, const Token& token) {
  return statement.substr(token.begin, token.end - token.begin);
}

// True for an unquoted word equal to `lower` in any case.
bool IsWord(std::string_view statement, const Token& token, std::string_view lower);
// True for punctuation or operator `symbol`.
bool IsSymbol(std::string_view statement, const Token& token, std::string_view symbol);

// ---- tokens.cc ----

// The statement, byte for byte as long, with its block comments made harmless: blanks where they are ASCII, else
// without operator characters inside. PostgreSQL's scanner reads a run of operator characters again from every comment
// that starts in it, so that a megabyte of `/**/` would hold a parser for minutes.
std::string QuietComments(std::string_view text, const std::vector<Token>& tokens);

// Byte ranges of the statements of a simple-protocol text, split at semicolons outside parentheses; empty ones left
// out.
std::vector<std::pair<size_t, size_t>> SplitStatements(std::string_view text, const std::vector<Token>& tokens);

// The statement with every literal replaced by $n, comments dropped and white space folded, for the ledger; the
// literals in order go to `literals` (may be null).
std::string Normalise(std::string_view text, const std::vector<Token>& tokens, std::vector<std::string>* literals);

// A quoted identifier or string literal as PostgreSQL reads it back.
std::string QuoteIdentifier(std::string_view name);
std::string QuoteLiteral(std::string_view value);

}  // namespace ecluse
