#include "ledger/json.h"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "base/utf8.h"

namespace ecluse {
namespace {

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
    Utf8Character c = NextUtf8(text);
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
    Utf8Character x = NextUtf8(a), y = NextUtf8(b);
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

std::string_view TextOf(const boost::json::object& in, std::string_view name) {
  const boost::json::value* value = in.if_contains({name.data(), name.size()});
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

}  // namespace ecluse
