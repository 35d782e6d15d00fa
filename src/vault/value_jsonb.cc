#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/limits.h"
#include "base/utf8.h"
#include "vault/value_parts.h"

namespace ecluse {
namespace {

std::unexpected<Error> NoJson() { return NoValueOf("jsonb"); }

struct ByLength {
  bool operator()(const std::string& a, const std::string& b) const {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  }
};

// JSON (RFC 8259) as PostgreSQL prints a jsonb of it: keys by their length, then their bytes, each once, the last one
// wins; numbers as numerics; strings with no more escapes than they need.
class Jsonb {
 public:
  explicit Jsonb(std::string_view text) : text_(text) {}

  Result<std::string> Whole() {
    ECLUSE_TRY(std::string out, Value(0));
    Space();
    if (!text_.empty()) return NoJson();
    return out;
  }

 private:
  void Space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\t' || text_[0] == '\n' || text_[0] == '\r'))
      text_.remove_prefix(1);
  }
  bool Take(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  Result<std::string> Value(size_t depth) {
    if (depth > limits::kSealedJsonDepth) return NotHeld("54001", "jsonb");
    Space();
    if (Take("{")) return Object(depth);
    if (Take("[")) return Array(depth);
    if (text_.starts_with('"')) {
      ECLUSE_TRY(const std::string text, String());
      return Quoted(text);
    }
    for (const std::string_view word : {"true", "false", "null"})
      if (Take(word)) return std::string(word);
    return Number();
  }

  Result<std::string> Object(size_t depth) {
    std::map<std::string, std::string, ByLength> members;
    size_t held = 0;
    Space();
    if (Take("}")) return "{}";
    do {
      Space();
      ECLUSE_TRY(std::string key, String());
      Space();
      if (!Take(":")) return NoJson();
      ECLUSE_TRY(std::string value, Value(depth + 1));
      held += key.size() + value.size();
      if (held > limits::kSealedJsonBytes) return NotHeld("54000", "jsonb");
      members.insert_or_assign(std::move(key), std::move(value));
      Space();
    } while (Take(","));
    if (!Take("}")) return NoJson();
    std::string out = "{";
    for (const auto& [key, value] : members) {
      if (out.size() > 1) out += ", ";
      out += Quoted(key) + ": " + value;
      if (out.size() > limits::kSealedJsonBytes) return NotHeld("54000", "jsonb");
    }
    return out + "}";
  }

  Result<std::string> Array(size_t depth) {
    std::string out = "[";
    Space();
    if (Take("]")) return "[]";
    do {
      ECLUSE_TRY(const std::string value, Value(depth + 1));
      if (out.size() > 1) out += ", ";
      out += value;
      if (out.size() > limits::kSealedJsonBytes) return NotHeld("54000", "jsonb");
      Space();
    } while (Take(","));
    if (!Take("]")) return NoJson();
    return out + "]";
  }

  // Digits as RFC 8259 has them; their value as PostgreSQL prints a numeric.
  Result<std::string> Number() {
    const std::string_view from = text_;
    const auto digits = [&] {
      size_t count = 0;
      for (; !text_.empty() && text_[0] >= '0' && text_[0] <= '9'; text_.remove_prefix(1)) ++count;
      return count;
    };
    (void)Take("-");
    const bool zero = text_.starts_with('0');
    const size_t before = digits();
    if (before == 0 || (zero && before > 1)) return NoJson();
    if (Take(".") && digits() == 0) return NoJson();
    if (Take("e") || Take("E")) {
      if (!Take("+")) (void)Take("-");
      if (digits() == 0) return NoJson();
    }
    return CanonicalNumeric(from.substr(0, from.size() - text_.size()), -1);
  }

  Result<std::string> String() {
    if (!Take("\"")) return NoJson();
    std::string out;
    while (!text_.empty() && text_[0] != '"') {
      if (static_cast<unsigned char>(text_[0]) < 0x20) return NoJson();
      if (text_[0] != '\\') {
        const Utf8Character c = NextUtf8(text_);
        if (!c.good) return NoJson();
        out += text_.substr(0, c.size);
        text_.remove_prefix(c.size);
        continue;
      }
      text_.remove_prefix(1);
      if (text_.empty()) return NoJson();
      const char c = text_[0];
      text_.remove_prefix(1);
      static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
      if (const size_t at = kLetters.find(c); at != std::string_view::npos) {
        out += kMeant[at];
      } else if (c != 'u') {
        return NoJson();
      } else {
        ECLUSE_TRY(uint32_t code, Hex());
        if (code >= 0xD800 && code < 0xDC00) {
          if (!Take("\\u")) return NoJson();
          ECLUSE_TRY(const uint32_t low, Hex());
          if (low < 0xDC00 || low > 0xDFFF) return NoJson();
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if ((code >= 0xDC00 && code < 0xE000) || code == 0) {
          return NoJson();
        }
        AppendUtf8(out, code);
      }
    }
    if (!Take("\"")) return NoJson();
    return out;
  }

  Result<uint32_t> Hex() {
    if (text_.size() < 4) return NoJson();
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i, text_.remove_prefix(1)) {
      const char c = text_[0];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return NoJson();
      code = code * 16 + static_cast<uint32_t>(digit);
    }
    return code;
  }

  static void AppendUtf8(std::string& out, uint32_t code) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0 | (code >> 6));
      tail(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xE0 | (code >> 12));
      tail(6);
      tail(0);
    } else {
      out += static_cast<char>(0xF0 | (code >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }

  static std::string Quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      static constexpr std::string_view kMeant = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
      if (const size_t at = kMeant.find(c); at != std::string_view::npos) {
        out += '\\';
        out += kLetters[at];
      } else if (static_cast<unsigned char>(c) < 0x20) {
        out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
      } else {
        out += c;
      }
    }
    return out + "\"";
  }

  std::string_view text_;
};

}  // namespace

Result<std::string> CanonicalJsonb(std::string_view text) { return Jsonb(text).Whole(); }

}  // namespace ecluse
