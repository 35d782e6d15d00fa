#include "vault/link.h"

#include <openssl/evp.h>

#include <memory>

#include "base/bytes.h"
#include "base/check.h"
#include "vault/hmac.h"

namespace ecluse {
namespace {

constexpr size_t kSivKey = 64;  // of AES-256-SIV: one half authenticates, the other encrypts
constexpr std::string_view kAssociated = "ecluse pseudonym";

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
struct FreeCipher {
  void operator()(EVP_CIPHER* cipher) const { EVP_CIPHER_free(cipher); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const EVP_CIPHER* Siv() {
  static const std::unique_ptr<EVP_CIPHER, FreeCipher> cipher(EVP_CIPHER_fetch(nullptr, "AES-256-SIV", nullptr));
  CHECK(cipher != nullptr);
  return cipher.get();
}

void AppendText(std::string& out, std::string_view text) {
  CHECK(text.size() <= UINT16_MAX);
  AppendU16(out, static_cast<uint16_t>(text.size()));
  out += text;
}

const unsigned char* Bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

void Associate(EVP_CIPHER_CTX* context) {
  int length = 0;
  CHECK(EVP_CipherUpdate(context, nullptr, &length, Bytes(kAssociated), static_cast<int>(kAssociated.size())) == 1);
}

}  // namespace

Links::Links(const Secret& link, std::string_view register_name, std::string_view space) : key_(kSivKey) {
  std::string of = "ecluse pseudonyms";
  AppendText(of, register_name);
  AppendText(of, space);
  const HmacKey key(link.bytes());
  key.Sign({of, "1"}, key_.mutable_bytes().first(kSivKey / 2));
  key.Sign({of, "2"}, key_.mutable_bytes().subspan(kSivKey / 2));
}

std::string Links::Of(std::string_view id) const {
  CHECK(!id.empty() && !id.contains('\0'));
  std::string plain(id);
  plain.resize((id.size() + kLinkBlock - 1) / kLinkBlock * kLinkBlock);
  std::string out(kLinkTag + plain.size(), '\0');
  const Context context(EVP_CIPHER_CTX_new());
  CHECK(context != nullptr && EVP_EncryptInit_ex2(context.get(), Siv(), key_.bytes().data(), nullptr, nullptr) == 1);
  Associate(context.get());
  int length = 0;
  auto* to = reinterpret_cast<unsigned char*>(out.data());
  CHECK(EVP_EncryptUpdate(context.get(), to + kLinkTag, &length, Bytes(plain), static_cast<int>(plain.size())) == 1 &&
        static_cast<size_t>(length) == plain.size());
  CHECK(EVP_EncryptFinal_ex(context.get(), to + out.size(), &length) == 1 && length == 0);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kLinkTag), to) == 1);
  return out;
}

std::optional<std::string> Links::IdOf(std::string_view pseudonym) const {
  if (pseudonym.size() <= kLinkTag || (pseudonym.size() - kLinkTag) % kLinkBlock != 0) return std::nullopt;
  std::string tag(pseudonym.substr(0, kLinkTag));
  const std::string_view sealed = pseudonym.substr(kLinkTag);
  std::string plain(sealed.size(), '\0');
  const Context context(EVP_CIPHER_CTX_new());
  CHECK(context != nullptr && EVP_DecryptInit_ex2(context.get(), Siv(), key_.bytes().data(), nullptr, nullptr) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(kLinkTag), tag.data()) == 1);
  Associate(context.get());
  int length = 0;
  auto* to = reinterpret_cast<unsigned char*>(plain.data());
  if (EVP_DecryptUpdate(context.get(), to, &length, Bytes(sealed), static_cast<int>(sealed.size())) != 1 ||
      static_cast<size_t>(length) != plain.size() ||
      EVP_DecryptFinal_ex(context.get(), to + plain.size(), &length) != 1) {
    return std::nullopt;
  }
  const size_t end = plain.find('\0');
  if (end == 0 || plain.find_first_not_of('\0', std::min(end, plain.size())) != std::string::npos) return std::nullopt;
  if (end != std::string::npos) plain.resize(end);
  return plain;
}

}  // namespace ecluse
