#include "base/bytes.h"

#include <array>

namespace ecluse {
namespace {

constexpr char kStandard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kUrl[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string Encode(std::span<const uint8_t> bytes, const char* alphabet, bool pad) {
  std::string out((bytes.size() + 2) / 3 * 4, '=');
  char* at = out.data();
  size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    uint32_t v = uint32_t{bytes[i]} << 16 | uint32_t{bytes[i + 1]} << 8 | bytes[i + 2];
    *at++ = alphabet[v >> 18];
    *at++ = alphabet[v >> 12 & 63];
    *at++ = alphabet[v >> 6 & 63];
    *at++ = alphabet[v & 63];
  }
  size_t rest = bytes.size() - i;
  if (rest == 0) return out;
  uint32_t v = uint32_t{bytes[i]} << 16 | (rest == 2 ? uint32_t{bytes[i + 1]} << 8 : 0);
  *at++ = alphabet[v >> 18];
  *at++ = alphabet[v >> 12 & 63];
  if (rest == 2) *at++ = alphabet[v >> 6 & 63];
  if (!pad) out.resize(static_cast<size_t>(at - out.data()));
  return out;
}

// What each character stands for; -1: nothing.
constexpr std::array<int8_t, 256> MakeDigits(const char* alphabet) {
  std::array<int8_t, 256> digits{};
  digits.fill(-1);
  for (int8_t i = 0; i < 64; ++i) digits[static_cast<uint8_t>(alphabet[i])] = i;
  return digits;
}
constexpr auto kStandardDigits = MakeDigits(kStandard), kUrlDigits = MakeDigits(kUrl);

// `text` without padding. Strict: bits that no byte uses must be zero (RFC 4648, 3.5), so one value has one spelling.
std::optional<std::vector<uint8_t>> Decode(std::string_view text, const std::array<int8_t, 256>& digits) {
  if (text.size() % 4 == 1) return std::nullopt;
  std::vector<uint8_t> out(text.size() * 3 / 4);
  uint8_t* at = out.data();
  auto digit = [&](size_t i) { return int32_t{digits[static_cast<uint8_t>(text[i])]}; };
  size_t i = 0;
  for (; i + 4 <= text.size(); i += 4) {
    const int32_t v = digit(i) << 18 | digit(i + 1) << 12 | digit(i + 2) << 6 | digit(i + 3);
    if (v < 0) return std::nullopt;  // one of them is -1
    *at++ = static_cast<uint8_t>(v >> 16);
    *at++ = static_cast<uint8_t>(v >> 8);
    *at++ = static_cast<uint8_t>(v);
  }
  if (i == text.size()) return out;
  const bool three = i + 3 == text.size();
  const int32_t v = digit(i) << 12 | digit(i + 1) << 6 | (three ? digit(i + 2) : 0);
  if (v < 0 || (v & (three ? 3 : 0x3FF)) != 0) return std::nullopt;
  *at++ = static_cast<uint8_t>(v >> 10);
  if (three) *at = static_cast<uint8_t>(v >> 2);
  return out;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string HexEncode(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

std::optional<std::vector<uint8_t>> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> out;
  out.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    int high = HexDigit(text[i]);
    int low = HexDigit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return out;
}

std::string Base64Encode(std::span<const uint8_t> bytes) { return Encode(bytes, kStandard, true); }

std::optional<std::vector<uint8_t>> Base64Decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
  }
  if (padding != 0 && text.size() % 4 != 4 - padding) return std::nullopt;
  return Decode(text, kStandardDigits);
}

std::string Base64UrlEncode(std::span<const uint8_t> bytes) { return Encode(bytes, kUrl, false); }

std::optional<std::vector<uint8_t>> Base64UrlDecode(std::string_view text) { return Decode(text, kUrlDigits); }

std::string AsciiLower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

}  // namespace ecluse
