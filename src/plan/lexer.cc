#include "plan/lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.h"

namespace ecluse {
namespace {

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool IsWordPart(char c) { return IsWordStart(c) || IsDigit(c) || c == '$'; }

bool ValidUtf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c == 0) return false;
    if (c < 0x80) {
      ++i;
      continue;
    }
    const int extra = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || i + extra >= s.size()) return false;
    for (int k = 1; k <= extra; ++k) {
      if ((static_cast<unsigned char>(s[i + k]) & 0xc0) != 0x80) return false;
    }
    const auto second = static_cast<unsigned char>(s[i + 1]);
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
        (c == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += extra + 1;
  }
  return true;
}

// Counts what makes a parse tree deep between two places where depth starts over.
class DepthMeter {
 public:
  // False where the tree could become deeper than the parser's stack is measured for.
  bool Deepen() {
    ++open_.back();
    return ++total_ <= limits::kOperatorChain;
  }
  void StartOver() {
    total_ -= open_.back();
    open_.back() = 0;
  }
  void Enter() { open_.push_back(0); }
  void Leave() {
    if (open_.size() < 2) return;
    total_ -= open_.back();
    open_.pop_back();
  }
  size_t nesting() const { return open_.size() - 1; }

 private:
  std::vector<size_t> open_{0};
  size_t total_ = 0;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> Run() {
    while (true) {
      ECLUSE_OK(SkipBlank());
      if (at_ >= text_.size()) break;
      ECLUSE_OK(Next());
      if (tokens_.size() > limits::kStatementTokens) {
        return TooComplex("the statement has more than " + std::to_string(limits::kStatementTokens) + " words");
      }
      ECLUSE_OK(Measure(tokens_.back()));
    }
    return std::move(tokens_);
  }

 private:
  static std::unexpected<Error> TooComplex(std::string what) {
    return Fail(sqlstate::kTooComplex, std::move(what),
                "Send it in smaller statements, or pass long lists as one array parameter.", "plan.too-complex");
  }
  std::unexpected<Error> Unterminated(size_t begin, std::string_view what) const {
    auto error = Fail(sqlstate::kSyntax, "unterminated " + std::string(what), {}, "plan.syntax");
    error.error().position = static_cast<int>(begin) + 1;
    return error;
  }
  static std::unexpected<Error> Beside(size_t begin) {
    auto error = Fail(sqlstate::kSyntax, "syntax error: a string literal beside another one",
                      "A literal goes on in the next line, without a block comment in between.", "plan.syntax");
    error.error().position = static_cast<int>(begin) + 1;
    return error;
  }
  static bool IsString(Token::Kind kind) { return kind == Token::Kind::string || kind == Token::Kind::special_string; }
  char Peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  Status SkipBlank() {
    while (at_ < text_.size()) {
      if (IsSpace(Peek())) {
        ++at_;
      } else if (Peek() == '-' && Peek(1) == '-') {
        while (at_ < text_.size() && Peek() != '\n' && Peek() != '\r') ++at_;
      } else if (Peek() == '/' && Peek(1) == '*') {
        const size_t begin = at_;
        size_t nested = 0;
        do {
          if (at_ + 1 >= text_.size()) return Unterminated(begin, "comment");
          if (Peek() == '/' && Peek(1) == '*') {
            // The parser's own scanner takes time that grows with the square of this depth.
            if (++nested > limits::kStatementNesting)
              return TooComplex("comments nest deeper than " + std::to_string(limits::kStatementNesting));
            at_ += 2;
          } else if (Peek() == '*' && Peek(1) == '/') {
            --nested, at_ += 2;
          } else {
            ++at_;
          }
        } while (nested > 0);
      } else {
        break;
      }
    }
    return {};
  }

  Status Next() {
    const size_t begin = at_;
    const char c = Peek();
    if (IsWordStart(c)) return Word(begin);
    if (c == '"') return Quoted(begin, '"', false, Token::Kind::quoted_word, "quoted identifier");
    if (c == '\'') {
      // Two literals beside each other are no SQL; without a comment that stood between them they would be one.
      if (!tokens_.empty() && IsString(tokens_.back().kind)) return Beside(begin);
      return Quoted(begin, '\'', false, Token::Kind::string, "quoted string");
    }
    if (c == '$') return Dollar(begin);
    if (IsDigit(c) || (c == '.' && IsDigit(Peek(1)))) return Number(begin);
    if (IsOperatorChar(c)) return Operator(begin);
    ++at_;
    if (c == ':' && (Peek() == ':' || Peek() == '=')) ++at_;
    Add(Token::Kind::punctuation, begin);
    return {};
  }

  Status Word(size_t begin) {
    const char c = Peek();
    const char next = Peek(1);
    // E'…', B'…', X'…', N'…', U&'…' and U&"…" are one token each.
    if (next == '\'' && std::string_view("eEbBxXnN").contains(c)) {
      ++at_;
      return Quoted(begin, '\'', c == 'e' || c == 'E', Token::Kind::special_string, "quoted string");
    }
    if ((c == 'u' || c == 'U') && next == '&' && (Peek(2) == '\'' || Peek(2) == '"')) {
      at_ += 2;
      const bool name = Peek() == '"';
      return Quoted(begin, Peek(), false, name ? Token::Kind::quoted_word : Token::Kind::special_string,
                    name ? "quoted identifier" : "quoted string");
    }
    while (at_ < text_.size() && IsWordPart(Peek())) ++at_;
    Add(Token::Kind::word, begin);
    return {};
  }

  Status Quoted(size_t begin, char quote, bool backslash, Token::Kind kind, std::string_view what) {
    ++at_;
    while (at_ < text_.size()) {
      if (backslash && Peek() == '\\') {
        at_ += 2;
      } else if (Peek() == quote) {
        ++at_;
        if (Peek() == quote) {
          ++at_;
        } else if (const size_t more = quote == '"' ? 0 : Continued(); more > 0) {
          at_ = more;
          kind = Token::Kind::special_string;
        } else {
          Add(kind, begin);
          return {};
        }
      } else {
        ++at_;
      }
    }
    return Unterminated(begin, what);
  }

  // Behind a closing quote: where the literal goes on, past the next quote, or 0 (manual 4.1.2.1: white space with a
  // line break in it, and comments to the end of a line).
  size_t Continued() const {
    bool line = false;
    size_t at = at_;
    while (at < text_.size() && text_[at] != '\'') {
      if (text_.substr(at, 2) == "--") {
        at = std::min(text_.find_first_of("\r\n", at), text_.size());
      } else if (std::string_view(" \t\n\r\f").contains(text_[at])) {
        line |= text_[at] == '\n' || text_[at] == '\r';
        ++at;
      } else {
        return 0;
      }
    }
    return line && at < text_.size() ? at + 1 : 0;
  }

  Status Dollar(size_t begin) {
    if (IsDigit(Peek(1))) {
      ++at_;
      size_t number = 0;
      for (; IsDigit(Peek()); ++at_)
        number = std::min(number * 10 + static_cast<size_t>(Peek() - '0'), size_t{1} << 40);
      if (number == 0 || number > limits::kParameters) {
        return Fail("42P02",
                    fmt::format("there is no parameter {}", text_.substr(begin, std::min<size_t>(at_ - begin, 20))),
                    fmt::format("Parameters are $1 to ${}.", limits::kParameters), "plan.parameter");
      }
      Add(Token::Kind::parameter, begin);
      return {};
    }
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != '$' && IsWordPart(text_[end])) ++end;
    if (end >= text_.size() || text_[end] != '$') {
      ++at_;
      Add(Token::Kind::punctuation, begin);
      return {};
    }
    const std::string_view tag = text_.substr(at_, end + 1 - at_);
    const size_t close = text_.find(tag, end + 1);
    if (close == std::string_view::npos) return Unterminated(begin, "dollar-quoted string");
    at_ = close + tag.size();
    Add(Token::Kind::special_string, begin);
    return {};
  }

  Status Number(size_t begin) {
    bool integer = true;
    while (IsDigit(Peek())) ++at_;
    if (Peek() == '.' && Peek(1) != '.') {
      integer = false;
      ++at_;
      while (IsDigit(Peek())) ++at_;
    }
    if ((Peek() == 'e' || Peek() == 'E') &&
        (IsDigit(Peek(1)) || ((Peek(1) == '+' || Peek(1) == '-') && IsDigit(Peek(2))))) {
      integer = false;
      at_ += 2;
      while (IsDigit(Peek())) ++at_;
    }
    Add(integer ? Token::Kind::integer : Token::Kind::decimal, begin);
    return {};
  }

  Status Operator(size_t begin) {
    while (at_ < text_.size() && IsOperatorChar(Peek())) {
      if (at_ > begin && ((Peek() == '-' && Peek(1) == '-') || (Peek() == '/' && Peek(1) == '*'))) break;
      ++at_;
    }
    // A trailing + or - belongs to the operator only if it has one of these characters in it (manual 4.1.3).
    while (at_ - begin > 1 && (text_[at_ - 1] == '+' || text_[at_ - 1] == '-') &&
           text_.substr(begin, at_ - begin).find_first_of("~!@#^&|`?%") == std::string_view::npos) {
      --at_;
    }
    Add(Token::Kind::op, begin);
    return {};
  }

  void Add(Token::Kind kind, size_t begin) {
    tokens_.push_back({kind, static_cast<uint32_t>(begin), static_cast<uint32_t>(std::min(at_, text_.size())), 0});
    at_ = tokens_.back().end;
  }

  Status Measure(Token& token) {
    static constexpr std::string_view kDeepening[] = {"not",     "is",      "like",     "ilike", "similar",
                                                      "in",      "between", "collate",  "at",    "isnull",
                                                      "notnull", "when",    "overlaps", "array", "escape"};
    static constexpr std::string_view kStartingOver[] = {"and", "or", "from", "where", "select", "values"};
    static constexpr std::string_view kArms[] = {"union", "intersect", "except"};
    const std::string_view text = TextOf(text_, token);
    bool deeper = false;
    if (token.kind == Token::Kind::punctuation) {
      if (text == "(" || text == "[") {
        token.depth = static_cast<uint32_t>(meter_.nesting());
        meter_.Enter();
        if (meter_.nesting() > limits::kStatementNesting) {
          return TooComplex("the statement nests deeper than " + std::to_string(limits::kStatementNesting));
        }
        return {};
      }
      if (text == ")" || text == "]") meter_.Leave();
      if (text == "," || text == ";") meter_.StartOver();
      deeper = text == "::";
    } else if (token.kind == Token::Kind::op) {
      deeper = true;
    } else if (token.kind == Token::Kind::word) {
      const auto is = [&](std::string_view word) { return IsWord(text_, token, word); };
      if (std::ranges::any_of(kStartingOver, is)) meter_.StartOver();
      deeper = std::ranges::any_of(kDeepening, is) || is("case");
      if (std::ranges::any_of(kArms, is) && ++arms_ >= limits::kSetArms) {
        return TooComplex("the statement combines more than " + std::to_string(limits::kSetArms) + " queries");
      }
      if (is("join") && ++joins_ >= limits::kRelationsPerStatement) {
        return TooComplex("the statement joins more than " + std::to_string(limits::kRelationsPerStatement) +
                          " tables");
      }
      if (is("case") && ++cases_ > 10 * limits::kStatementNesting) return TooComplex("the statement has too many CASE");
    }
    token.depth = static_cast<uint32_t>(meter_.nesting());
    if (deeper && !meter_.Deepen()) {
      return TooComplex("an expression chains more than " + std::to_string(limits::kOperatorChain) + " operators");
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<Token> tokens_;
  DepthMeter meter_;
  size_t arms_ = 0, joins_ = 0, cases_ = 0;
};

}  // namespace

Result<std::vector<Token>> Lex(std::string_view text) {
  if (text.size() > limits::kStatementBytes) {
    return Fail(sqlstate::kProgramLimit,
                "the statement is longer than " + std::to_string(limits::kStatementBytes) + " bytes",
                "Pass long values as parameters.", "plan.too-long");
  }
  if (!ValidUtf8(text)) {
    return Fail("22021", "the statement is not valid UTF-8, or holds a NUL byte", "Set client_encoding to UTF8.",
                "plan.encoding");
  }
  return Lexer(text).Run();
}

bool IsWord(std::string_view statement, const Token& token, std::string_view lower) {
  if (token.kind != Token::Kind::word || token.end - token.begin != lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    const char c = statement[token.begin + i];
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != lower[i]) return false;
  }
  return true;
}

bool IsSymbol(std::string_view statement, const Token& token, std::string_view symbol) {
  return (token.kind == Token::Kind::punctuation || token.kind == Token::Kind::op) &&
         TextOf(statement, token) == symbol;
}

}  // namespace ecluse
