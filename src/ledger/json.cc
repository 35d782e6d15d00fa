#include "ledger/json.h"

#include <algorithm>
#include <charconv>

namespace ecluse {
namespace {

struct Character {
  uint32_t code = 0;  // U+FFFD where the bytes are not well formed
  size_t size = 1;    // bytes read
  bool good = false;
};

// The first character of a text that is not empty (Unicode 15, table 3-7).
Character Next(std::string_view text) {
  auto at = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0u; };
  uint32_t first = at(0);
  if (first < 0x80) return {first, 1, true};
  size_t size = first >= 0xC2 && first <= 0xDF   ? 2
                : first >= 0xE0 && first <= 0xEF ? 3
                : first >= 0xF0 && first <= 0xF4 ? 4
                                                 : 0;
  if (size == 0) return {0xFFFD, 1, false};
  uint32_t code = first & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return {0xFFFD, 1, false};
    code = code << 6 | (at(i) & 0x3F);
  }
  bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
  if (overlong || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF) return {0xFFFD, 1, false};
  return {code, size, true};
}

// The two-character escape of a byte, or 0.
char ShortEscape(uint8_t c) {
  switch (c) {
    case '\b':
      return 'b';
    case '\t':
      return 't';
    case '\n':
      return 'n';
    case '\f':
      return 'f';
    case '\r':
      return 'r';
    case '"':
      return '"';
    case '\\':
      return '\\';
    default:
      return 0;
  }
}

bool Plain(char c) {
  return static_cast<uint8_t>(c) >= 0x20 && static_cast<uint8_t>(c) < 0x80 && c != '"' && c != '\\';
}

// Calls `emit` with the pieces of the literal between the quotes.
template <typename Emit>
void Pieces(std::string_view text, Emit emit) {
  while (!text.empty()) {
    size_t run = 0;
    while (run < text.size() && Plain(text[run])) ++run;
    if (run > 0) emit(text.substr(0, run));
    text.remove_prefix(run);
    if (text.empty()) return;
    Character c = Next(text);
    if (!c.good) {
      emit("\xEF\xBF\xBD");
    } else if (c.code >= 0x80) {
      emit(text.substr(0, c.size));
    } else if (char short_escape = ShortEscape(static_cast<uint8_t>(c.code))) {
      const char two[] = {'\\', short_escape};
      emit(std::string_view(two, 2));
    } else {
      static constexpr char kDigits[] = "0123456789abcdef";
      const char six[] = {'\\', 'u', '0', '0', kDigits[c.code >> 4], kDigits[c.code & 15]};
      emit(std::string_view(six, 6));
    }
    text.remove_prefix(c.size);
  }
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  out += '"';
  Pieces(text, [&](std::string_view piece) { out += piece; });
  out += '"';
}

size_t JsonStringSize(std::string_view text) {
  size_t size = 2;
  Pieces(text, [&](std::string_view piece) { size += piece.size(); });
  return size;
}

void AppendJsonInteger(std::string& out, int64_t value) {
  constexpr int64_t kMost = (int64_t{1} << 53) - 1;
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, std::clamp(value, -kMost, kMost)).ptr;
  out.append(digits, end);
}

bool JsonNameLess(std::string_view a, std::string_view b) {
  while (!a.empty() && !b.empty()) {
    Character x = Next(a), y = Next(b);
    if (x.code != y.code) {
      // A surrogate pair sorts by its first half, below U+E000 to U+FFFF.
      auto unit = [](uint32_t code) { return code >= 0x10000 ? 0xD7C0 + (code >> 10) : code; };
      return unit(x.code) != unit(y.code) ? unit(x.code) < unit(y.code) : x.code < y.code;
    }
    a.remove_prefix(x.size);
    b.remove_prefix(y.size);
  }
  return a.empty() && !b.empty();
}

std::string_view CutUtf8(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<uint8_t>(text[bytes]) & 0xC0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace ecluse
