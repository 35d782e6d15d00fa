#include "vault/folding.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/utf8.h"

namespace ecluse {
namespace {

// Letters that Unicode does not take apart, and marks of which there are several.
std::u16string_view PlainFormOf(UChar32 c) {
  switch (c) {
    case 0x00E6:  // æ
      return u"ae";
    case 0x0153:  // œ
      return u"oe";
    case 0x00F8:  // ø
      return u"o";
    case 0x0142:  // ł
      return u"l";
    case 0x0111:  // đ
    case 0x00F0:  // ð
      return u"d";
    case 0x00FE:  // þ
      return u"th";
    case 0x0131:  // ı
      return u"i";
    case 0x2018:
    case 0x2019:
    case 0x02BC:
    case 0x0060:
      return u"'";
    case 0x2010:
    case 0x2011:
    case 0x2012:
    case 0x2013:
    case 0x2014:
    case 0x2212:
      return u"-";
    default:
      return {};
  }
}

icu::UnicodeString Folded(icu::UnicodeString text) {
  UErrorCode failed = U_ZERO_ERROR;
  const icu::Normalizer2* caseless = icu::Normalizer2::getNFKCCasefoldInstance(failed);
  const icu::Normalizer2* apart = icu::Normalizer2::getNFKDInstance(failed);
  CHECK(U_SUCCESS(failed));
  text.findAndReplace(u"\u00B4", u"'");  // which NFKC makes a space with an accent
  text = apart->normalize(caseless->normalize(text, failed), failed);
  CHECK(U_SUCCESS(failed));
  icu::UnicodeString out;
  bool space = false;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    if ((U_GET_GC_MASK(c) & U_GC_M_MASK) != 0) continue;
    if (u_isUWhiteSpace(c)) {
      space = true;
      continue;
    }
    if (std::exchange(space, false) && !out.isEmpty()) out.append(u' ');
    const std::u16string_view plain = PlainFormOf(c);
    if (plain.empty()) {
      out.append(c);
    } else {
      out.append(plain.data(), static_cast<int32_t>(plain.size()));
    }
  }
  return out;
}

Result<icu::UnicodeString> Decoded(std::string_view text) {
  if (text.size() > limits::kSearchedText)
    return Fail("54000", "a text that is to be found by its spelling or sound is too long",
                "search in shorter columns: names, numbers, streets", "vault.folding");
  if (!IsUtf8(text))
    return Fail("22021", "a text that is to be sealed or searched for is not UTF-8", "send it in the client's encoding",
                "vault.folding");
  return icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())});
}

bool In(char c, std::string_view set) { return c != '\0' && set.find(c) != std::string_view::npos; }
bool IsVowel(char c) { return In(c, "aeiouy"); }

constexpr size_t kParticle = 3;  // words of so few letters belong to the next: Le Goff, De la Tour, d'Ormesson

// The French sound of a word of the letters a to z. What is written to `out` are names of sounds: capital letters, and
// 1, 2, 3 for the nasal ones of `vin`, `vent`, `vont`.
class French {
 public:
  explicit French(std::string_view word) {
    for (const char c : word)
      if (word_.empty() || word_.back() != c || IsVowel(c)) word_ += c;
    DropSilentEnd();
    while (at_ < word_.size()) Sound();
    // `é`, `er`, `ez`, `et`, and an `e` that is mute: where accents are not written, nobody tells them apart.
    if (out_.size() > 1 && out_.back() == 'E') out_.pop_back();
  }
  std::string Take() { return std::move(out_); }

 private:
  char Next(size_t by = 1) const { return at_ + by < word_.size() ? word_[at_ + by] : '\0'; }
  std::string_view From(size_t at) const { return std::string_view(word_).substr(at); }
  bool Here(std::string_view letters) const { return From(at_).starts_with(letters); }
  // Behind so many letters: n or m that no vowel follows.
  bool Nasal(size_t letters) const { return In(Next(letters), "nm") && !IsVowel(Next(letters + 1)); }
  void Say(std::string_view sound, size_t letters) {
    if (!out_.ends_with(sound)) out_ += sound;
    at_ += letters;
  }

  void DropSilentEnd() {
    const auto last = [&](size_t back) { return word_.size() > back ? word_[word_.size() - 1 - back] : '\0'; };
    while (word_.size() > 2) {
      const bool silent = In(last(0), "dgstxz") || (last(0) == 'p' && In(last(1), "mu"));
      const bool l = last(0) == 'l' && last(1) == 'u' && dropped_;  // -ault, -ould
      if (!silent && !l) break;
      word_.pop_back();
      dropped_ = true;
    }
    if (word_.size() > 4 && word_.ends_with("er")) word_.pop_back();
  }

  void Sound() {
    if (IsVowel(word_[at_])) return Vowel();
    Consonant();
  }

  void Vowel() {
    struct Rule {
      std::string_view letters, nasal, sound;  // `nasal`: before n or m; empty where that changes nothing
    };
    static constexpr Rule kRules[] = {
        {"eau", "", "O"}, {"oeu", "", "E"},  {"ieu", "", "IE"}, {"oui", "", "UI"}, {"ea", "2", "A"}, {"au", "", "O"},
        {"ou", "", "U"},  {"oi", "W1", "W"}, {"oy", "", "W"},   {"oe", "", "E"},   {"oo", "", "U"},  {"ai", "1", "E"},
        {"ay", "", "E"},  {"ei", "1", "E"},  {"ey", "", "E"},   {"eu", "", "E"},   {"ae", "2", "E"}, {"ie", "I1", "IE"},
        {"a", "2", "A"},  {"e", "2", "E"},   {"i", "1", "I"},   {"y", "1", "I"},   {"o", "3", "O"},  {"u", "1", "Y"},
    };
    for (const Rule& rule : kRules) {
      if (!Here(rule.letters)) continue;
      if (!rule.nasal.empty() && Nasal(rule.letters.size())) return Say(rule.nasal, rule.letters.size() + 1);
      return Say(rule.sound, rule.letters.size());
    }
  }

  void Consonant() {
    const char c = word_[at_];
    const bool soft = In(Next(), "eiy");
    switch (c) {
      case 'b':
        return Next() == 'v' ? Say("", 1) : Say("B", 1);
      case 'c':
        if (Next() == 'h') return In(Next(2), "rl") ? Say("K", 2) : Say("X", 2);
        if (In(Next(), "kq")) return Say("K", 2);
        // `ancoi`: a cedilla that capitals lost.
        return soft || (at_ >= 2 && From(at_ - 2).starts_with("ancoi")) ? Say("S", 1) : Say("K", 1);
      case 'g':
        if (Next() == 'n') return Say("N", 2);
        if (Next() == 'u' && In(Next(2), "eiy")) return Say("G", 2);
        if (Next() == 'e' && In(Next(2), "ao")) return Say("J", 2);
        return soft ? Say("J", 1) : Say("G", 1);
      case 'h':
        return Say("", 1);
      case 'k':
        return Say("K", 1);
      case 'l':  // Gaultier
        return at_ >= 2 && From(at_ - 2).starts_with("aul") && In(Next(), "tdx") ? Say("", 1) : Say("L", 1);
      case 'p':
        return Next() == 'h' ? Say("F", 2) : Say("P", 1);
      case 'q':
        return Say("K", Next() == 'u' ? 2 : 1);
      case 's':
        if (Here("sch")) return Say("X", 3);
        if (Next() == 'h') return Say("X", 2);
        if (Next() == 'c' && In(Next(2), "eiy")) return Say("S", 2);
        return Say("S", 1);
      case 'z':
        return Say("S", 1);
      case 't':
        return Say("T", Next() == 'h' ? 2 : 1);
      case 'v':
      case 'w':
        return Say("V", 1);
      case 'x':
        return Say("KS", 1);
      default: {
        const char sound = static_cast<char>(c - 'a' + 'A');
        return Say({&sound, 1}, 1);
      }
    }
  }

  std::string word_, out_;
  size_t at_ = 0;
  bool dropped_ = false;
};

}  // namespace

Result<std::string> Fold(std::string_view text) {
  ECLUSE_TRY(const icu::UnicodeString decoded, Decoded(text));
  std::string out;
  return Folded(decoded).toUTF8String(out);
}

Result<std::optional<LikeBeginning>> BeginningOf(std::string_view pattern) {
  LikeBeginning out;
  out.open = pattern.ends_with('%');
  while (pattern.ends_with('%')) pattern.remove_suffix(1);
  out.text = pattern;
  ECLUSE_TRY(const std::string folded, Fold(pattern));
  ECLUSE_TRY(const std::string longer, Fold(std::string(pattern) + "x"));
  if (pattern.find_first_of("%_\\") != std::string_view::npos || longer != folded + "x") return std::nullopt;
  out.characters = CountUtf8(folded);
  return out;
}

Result<std::string> SoundOf(std::string_view text) {
  ECLUSE_TRY(icu::UnicodeString decoded, Decoded(text));
  UErrorCode failed = U_ZERO_ERROR;
  decoded = icu::Normalizer2::getNFCInstance(failed)->normalize(decoded, failed);
  CHECK(U_SUCCESS(failed));
  decoded.findAndReplace(u"\u00E7", u"s").findAndReplace(u"\u00C7", u"s");
  std::string folded;
  Folded(decoded).toUTF8String(folded);
  std::string out, word;
  size_t piece = 0;  // letters since the last space, hyphen or apostrophe
  const auto say = [&] {
    if (!word.empty()) out += French(word).Take();
    word.clear();
    piece = 0;
  };
  for (std::string_view left = folded; !left.empty();) {
    const Utf8Character c = NextUtf8(left);
    const auto letter = static_cast<UChar32>(c.code);
    if (letter >= 'a' && letter <= 'z') {
      word += static_cast<char>(letter);
      ++piece;
    } else if (u_isalnum(letter)) {
      say();
      out += left.substr(0, c.size);
    } else if (letter == ' ' || letter == '-' || letter == '\'') {
      if (piece > kParticle) say();
      piece = 0;
    }
    left.remove_prefix(c.size);
  }
  say();
  return out;
}

}  // namespace ecluse
