#include <algorithm>
#include <charconv>
#include <vector>

#include "base/bytes.h"
#include "vault/value_parts.h"

namespace ecluse {
namespace {

constexpr int64_t kMostBefore = 131'072, kMostBehind = 16'383;  // digits, PostgreSQL manual 8.1.2
constexpr uint16_t kNegative = 0x4000, kNan = 0xC000, kInfinity = 0xD000, kMinusInfinity = 0xF000;

// A number as its digits: those before the point without leading zeros, and all that are printed behind it.
struct Decimal {
  bool negative = false;
  std::string before, behind;

  bool zero() const {
    return before.find_first_not_of('0') == std::string::npos && behind.find_first_not_of('0') == std::string::npos;
  }

  // Half away from zero, to so many digits behind the point; below zero: to tens, hundreds.
  void RoundTo(int64_t scale) {
    if (scale >= static_cast<int64_t>(behind.size())) {
      behind.append(static_cast<size_t>(scale) - behind.size(), '0');
      return;
    }
    std::string digits = "0" + before + behind;
    // The digit before all of them is a zero, which what is rounded up may need.
    const int64_t keep = static_cast<int64_t>(before.size()) + 1 + scale;
    const auto kept = static_cast<size_t>(std::max<int64_t>(keep, 0));
    bool up = digits[kept] >= '5';
    std::fill(digits.begin() + static_cast<ptrdiff_t>(kept), digits.end(), '0');
    for (size_t i = kept; up && i-- > 0;) {
      up = digits[i] == '9';
      digits[i] = up ? '0' : static_cast<char>(digits[i] + 1);
    }
    before = digits.substr(0, 1 + before.size());
    behind = scale > 0 ? digits.substr(before.size(), static_cast<size_t>(scale)) : "";
    before.erase(0, std::min(before.find_first_not_of('0'), before.size()));
  }

  std::string Text() const {
    std::string out = negative && !zero() ? "-" : "";
    out += before.empty() ? "0" : before;
    if (!behind.empty()) out += "." + behind;
    return out;
  }
};

std::unexpected<Error> NoNumeric() { return NoValueOf("numeric"); }

// By the modifier: precision and scale, and that it fits into them.
Result<std::string> Measured(Decimal number, int32_t modifier) {
  if (modifier >= 4) {
    const int64_t precision = ((modifier - 4) >> 16) & 0xFFFF;
    const int64_t scale = (((modifier - 4) & 0x7FF) ^ 1024) - 1024;
    number.RoundTo(scale);
    const auto empty = static_cast<size_t>(std::max<int64_t>(scale - precision, 0));  // digits that have to be zeros
    if (static_cast<int64_t>(number.before.size()) > std::max<int64_t>(precision - scale, 0) ||
        number.behind.find_first_not_of('0') < empty)
      return NotHeld("22003", "numeric");
  }
  if (static_cast<int64_t>(number.before.size()) > kMostBefore ||
      static_cast<int64_t>(number.behind.size()) > kMostBehind)
    return NotHeld("22003", "numeric");
  return number.Text();
}

Result<std::string> Special(std::string_view word, int32_t modifier) {
  if (word != "NaN" && modifier >= 4) return NotHeld("22003", "numeric");
  return std::string(word);
}

}  // namespace

Result<std::string> CanonicalNumeric(std::string_view text, int32_t modifier) {
  text = TrimSpace(text);
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (lower == "nan") return Special("NaN", modifier);
  if (lower == "infinity" || lower == "inf" || lower == "+infinity" || lower == "+inf")
    return Special("Infinity", modifier);
  if (lower == "-infinity" || lower == "-inf") return Special("-Infinity", modifier);
  Decimal number;
  number.negative = text.starts_with('-');
  if (number.negative || text.starts_with('+')) text.remove_prefix(1);
  const auto digits = [&](std::string& to) {
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1)) to += text[0];
  };
  digits(number.before);
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    digits(number.behind);
  }
  if (number.before.empty() && number.behind.empty()) return NoNumeric();
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
    int64_t exponent = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exponent);
    if (error == std::errc::invalid_argument || end != text.data() + text.size()) return NoNumeric();
    if (error != std::errc() || exponent > kMostBefore || exponent < -kMostBehind) return NotHeld("22003", "numeric");
    if (exponent > 0) {
      const size_t moved = std::min(number.behind.size(), static_cast<size_t>(exponent));
      number.before.append(number.behind, 0, moved).append(static_cast<size_t>(exponent) - moved, '0');
      number.behind.erase(0, moved);
    }
    if (exponent < 0) {
      const auto by = static_cast<size_t>(-exponent);
      if (number.before.size() < by) number.before.insert(0, by - number.before.size(), '0');
      number.behind.insert(0, number.before.substr(number.before.size() - by));
      number.before.resize(number.before.size() - by);
    }
  } else if (!text.empty()) {
    return NoNumeric();
  }
  number.before.erase(0, std::min(number.before.find_first_not_of('0'), number.before.size()));
  return Measured(std::move(number), modifier);
}

// numeric_recv: how many digits of base 10,000, weight of the first, sign, digits behind the point, then the digits.
Result<std::string> CanonicalNumericBinary(std::string_view bytes, int32_t modifier) {
  if (bytes.size() < 8) return NoNumeric();
  const size_t count = LoadU16(bytes.data());
  const int weight = static_cast<int16_t>(LoadU16(bytes.data() + 2));
  const uint16_t sign = LoadU16(bytes.data() + 4), scale = LoadU16(bytes.data() + 6);
  if (bytes.size() != 8 + 2 * count || scale > kMostBehind) return NoNumeric();
  if (sign == kNan) return Special("NaN", modifier);
  if (sign == kInfinity) return Special("Infinity", modifier);
  if (sign == kMinusInfinity) return Special("-Infinity", modifier);
  if (sign != 0 && sign != kNegative) return NoNumeric();
  Decimal number;
  number.negative = sign == kNegative;
  const auto group = [&](int at) {  // of weight - at
    return at >= 0 && static_cast<size_t>(at) < count ? LoadU16(bytes.data() + 8 + 2 * at) : uint16_t{0};
  };
  for (size_t i = 0; i < count; ++i)
    if (group(static_cast<int>(i)) > 9'999) return NoNumeric();
  const auto append = [](std::string& to, uint16_t value) {
    for (const int unit : {1'000, 100, 10, 1}) to += static_cast<char>('0' + value / unit % 10);
  };
  for (int at = 0; at <= weight; ++at) append(number.before, group(at));
  for (int at = weight + 1; number.behind.size() < scale; ++at) append(number.behind, group(at));
  number.behind.resize(scale);
  number.before.erase(0, std::min(number.before.find_first_not_of('0'), number.before.size()));
  return Measured(std::move(number), modifier);
}

std::string NumericBinary(std::string_view canonical) {
  const auto head = [](uint16_t count, int weight, uint16_t sign, size_t scale) {
    std::string out;
    AppendU16(out, count);
    AppendU16(out, static_cast<uint16_t>(static_cast<int16_t>(weight)));
    AppendU16(out, sign);
    AppendU16(out, static_cast<uint16_t>(scale));
    return out;
  };
  if (canonical == "NaN") return head(0, 0, kNan, 0);
  if (canonical == "Infinity") return head(0, 0, kInfinity, 0);
  if (canonical == "-Infinity") return head(0, 0, kMinusInfinity, 0);
  const bool negative = canonical.starts_with('-');
  if (negative) canonical.remove_prefix(1);
  const size_t point = canonical.find('.');
  std::string before(canonical.substr(0, point));
  std::string behind(point == std::string_view::npos ? "" : canonical.substr(point + 1));
  const size_t scale = behind.size();
  before.insert(0, (4 - before.size() % 4) % 4, '0');
  behind.append((4 - behind.size() % 4) % 4, '0');
  const std::string digits = before + behind;
  std::vector<uint16_t> groups;
  for (size_t i = 0; i < digits.size(); i += 4) {
    uint16_t group = 0;
    for (size_t j = i; j < i + 4; ++j) group = static_cast<uint16_t>(group * 10 + (digits[j] - '0'));
    groups.push_back(group);
  }
  int weight = static_cast<int>(before.size() / 4) - 1;
  while (!groups.empty() && groups.back() == 0) groups.pop_back();
  const auto first = std::ranges::find_if(groups, [](uint16_t group) { return group != 0; });
  weight -= static_cast<int>(first - groups.begin());
  groups.erase(groups.begin(), first);
  if (groups.empty()) weight = 0;
  std::string out = head(static_cast<uint16_t>(groups.size()), weight, negative ? kNegative : uint16_t{0}, scale);
  for (const uint16_t group : groups) AppendU16(out, group);
  return out;
}

}  // namespace ecluse
