#include "base/utf8.h"

#include <algorithm>

namespace ecluse {

Utf8Character NextUtf8(std::string_view text) {
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

size_t CountUtf8(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character c = NextUtf8(text);
    if (!c.good) return false;
    text.remove_prefix(c.size);
  }
  return true;
}

}  // namespace ecluse
