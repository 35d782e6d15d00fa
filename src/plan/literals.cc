#include "plan/literals.h"

#include <algorithm>
#include <charconv>

#include "base/limits.h"

namespace ecluse {
namespace {

constexpr Oid kInt4 = 23, kInt8 = 20, kUnknown = 0;

// The type PostgreSQL gives an integer literal (manual 4.1.2.6); 0 where it would be numeric.
Oid IntegerType(std::string_view digits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return 0;
  return value <= INT32_MAX ? kInt4 : kInt8;
}

bool Comparison(std::string_view op) {
  return op == "=" || op == "<" || op == ">" || op == "<=" || op == ">=" || op == "<>" || op == "!=";
}

}  // namespace

Lifted LiftLiterals(std::string_view text, const std::vector<Token>& tokens, size_t begin, size_t end) {
  const auto first = std::ranges::lower_bound(tokens, begin, {}, &Token::begin);
  const auto last = std::ranges::lower_bound(tokens, end, {}, &Token::begin);
  const std::vector<Token>::const_iterator stop = last;
  Lifted lifted;
  if (first == last ||
      !(IsWord(text, *first, "select") || IsWord(text, *first, "update") || IsWord(text, *first, "delete"))) {
    return lifted;
  }
  if (std::any_of(first, last, [](const Token& token) { return token.kind == Token::Kind::parameter; })) return lifted;
  const auto is_name = [&](const Token& token) {
    return token.kind == Token::Kind::word || token.kind == Token::Kind::quoted_word;
  };
  bool in_where = false;
  std::vector<const Token*> places;
  std::vector<std::pair<Oid, std::string_view>> literals;
  for (auto it = first; it != stop && places.size() < limits::kLiftedLiterals; ++it) {
    if (it->kind == Token::Kind::word) {
      if (IsWord(text, *it, "between")) break;  // its AND would be read as a conjunction
      if (IsWord(text, *it, "where")) in_where = true;
      if (IsWord(text, *it, "select") || IsWord(text, *it, "group") || IsWord(text, *it, "order") ||
          IsWord(text, *it, "limit") || IsWord(text, *it, "returning") || IsWord(text, *it, "union")) {
        in_where = false;
      }
    }
    const bool integer = it->kind == Token::Kind::integer;
    const bool string = it->kind == Token::Kind::string;
    if (!in_where || (!integer && !string) || it - first < 3) continue;
    // name [. name] <comparison> literal, between words that begin and end a condition
    if ((it - 1)->kind != Token::Kind::op || !Comparison(TextOf(text, *(it - 1))) || !is_name(*(it - 2))) continue;
    auto before = it - 3;
    if (before - first >= 2 && IsSymbol(text, *before, ".") && is_name(*(before - 1))) before -= 2;
    const bool begins = IsWord(text, *before, "where") || IsWord(text, *before, "and") || IsWord(text, *before, "or");
    const auto after = it + 1;
    const bool ends = after == stop || IsWord(text, *after, "and") || IsWord(text, *after, "or") ||
                      IsWord(text, *after, "group") || IsWord(text, *after, "order") || IsWord(text, *after, "limit") ||
                      IsWord(text, *after, "returning") || IsWord(text, *after, "for");
    if (!begins || !ends) continue;
    const std::string_view literal = TextOf(text, *it);
    const Oid type = integer ? IntegerType(literal) : kUnknown;
    if (integer && type == 0) continue;
    literals.emplace_back(type, literal);
    places.push_back(&*it);
  }
  if (places.empty()) return lifted;
  size_t at = begin, lifted_so_far = 0;
  for (const Token* token : places) {
    lifted.text += text.substr(at, token->begin - at);
    lifted.text += '$' + std::to_string(1 + lifted_so_far++);
    at = token->end;
  }
  lifted.text += text.substr(at, end - at);
  for (const auto& [type, literal] : literals) {
    lifted.types.push_back(type);
    std::string value(literal);
    if (type == kUnknown) {
      value = value.substr(1, value.size() - 2);
      for (size_t quote = value.find("''"); quote != std::string::npos; quote = value.find("''", quote + 1)) {
        value.erase(quote, 1);
      }
    }
    lifted.values.push_back(std::move(value));
  }
  return lifted;
}

}  // namespace ecluse
