// What is made of a text and its tokens: statements, harmless comments, the ledger's text; and how names and literals
// are written.
#include <algorithm>

#include "plan/lexer.h"

namespace ecluse {
namespace {

// The end of the block comment that begins at `begin`; Lex() has seen that it ends.
size_t CommentEnd(std::string_view text, size_t begin) {
  size_t at = begin, nested = 0;
  do {
    const std::string_view two = text.substr(at, 2);
    if (two == "/*") ++nested;
    if (two == "*/") --nested;
    at += two == "/*" || two == "*/" ? 2 : 1;
  } while (nested > 0 && at < text.size());
  return at;
}

void Quiet(std::string& text, size_t begin, size_t end) {
  const bool ascii =
      std::all_of(text.begin() + static_cast<ptrdiff_t>(begin), text.begin() + static_cast<ptrdiff_t>(end),
                  [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (!ascii) begin += 2, end -= 2;  // positions count characters: these bytes must stay, and so must the comment
  for (size_t i = begin; i < end; ++i) {
    if (ascii || IsOperatorChar(text[i])) text[i] = ' ';
  }
}

}  // namespace

std::string QuietComments(std::string_view text, const std::vector<Token>& tokens) {
  std::string out(text);
  size_t at = 0;
  for (size_t i = 0; i <= tokens.size(); ++i) {
    const size_t gap_end = i < tokens.size() ? tokens[i].begin : text.size();
    while (at < gap_end) {
      const std::string_view two = text.substr(at, 2);
      if (two == "--") {
        at = std::min(text.find_first_of("\r\n", at), text.size());
      } else if (two == "/*") {
        const size_t end = CommentEnd(text, at);
        Quiet(out, at, end);
        at = end;
      } else {
        ++at;
      }
    }
    if (i < tokens.size()) at = tokens[i].end;
  }
  return out;
}

std::vector<std::pair<size_t, size_t>> SplitStatements(std::string_view text, const std::vector<Token>& tokens) {
  std::vector<std::pair<size_t, size_t>> parts;
  size_t begin = 0;
  bool any = false;
  for (const Token& token : tokens) {
    if (token.depth == 0 && IsSymbol(text, token, ";")) {
      if (any) parts.emplace_back(begin, token.begin);
      begin = token.end;
      any = false;
    } else {
      any = true;
    }
  }
  if (any) parts.emplace_back(begin, text.size());
  return parts;
}

std::string Normalise(std::string_view text, const std::vector<Token>& tokens, std::vector<std::string>* literals) {
  std::string out;
  out.reserve(text.size());
  int number = 0;
  for (const Token& token : tokens) {
    if (token.kind == Token::Kind::parameter) {
      number = std::max(number, std::atoi(std::string(TextOf(text, token).substr(1, 6)).c_str()));
    }
  }
  size_t previous_end = 0;
  for (const Token& token : tokens) {
    if (!out.empty() && token.begin > previous_end) out += ' ';
    previous_end = token.end;
    switch (token.kind) {
      case Token::Kind::string:
      case Token::Kind::special_string:
      case Token::Kind::integer:
      case Token::Kind::decimal:
        out += '$' + std::to_string(++number);
        if (literals != nullptr) literals->emplace_back(TextOf(text, token));
        break;
      default:
        out += TextOf(text, token);
    }
  }
  return out;
}

std::string QuoteIdentifier(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

std::string QuoteLiteral(std::string_view value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + '\'';
}

}  // namespace ecluse
