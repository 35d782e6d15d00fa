#include "vault/xaes.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"

namespace ecluse {
namespace {

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }  // wipes the expanded key
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

Context NewContext() {
  Context context(EVP_CIPHER_CTX_new());
  CHECK(context != nullptr);
  return context;
}

// Fetched once: a fetch by name on every message would take a global lock. Kept until the process ends.
const EVP_CIPHER* Fetch(const char* name) {
  const EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  CHECK(cipher != nullptr);
  return cipher;
}
const EVP_CIPHER* Ecb() {
  static const EVP_CIPHER* cipher = Fetch("AES-256-ECB");
  return cipher;
}
const EVP_CIPHER* Gcm() {
  static const EVP_CIPHER* cipher = Fetch("AES-256-GCM");
  return cipher;
}

// AES-256 of whole blocks.
void EncryptBlocks(std::span<const uint8_t> key, std::span<const uint8_t> in, uint8_t* out) {
  Context context = NewContext();
  CHECK(EVP_EncryptInit_ex2(context.get(), Ecb(), key.data(), nullptr, nullptr) == 1);
  int n = 0;  // padding would come with EVP_EncryptFinal_ex(), which is not called
  CHECK(EVP_EncryptUpdate(context.get(), out, &n, in.data(), static_cast<int>(in.size())) == 1);
  CHECK(n == static_cast<int>(in.size()));
}

const uint8_t* Data(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

}  // namespace

Xaes::Xaes(Secret key) : key_(std::move(key)), subkey_(size_t{16}) {
  CHECK(key_.size() == kXaesKey);
  std::array<uint8_t, 16> zero{};
  auto k1 = subkey_.mutable_bytes();
  EncryptBlocks(key_.bytes(), zero, k1.data());
  // Doubling in GF(2^128), without branching on the secret.
  auto reduce = static_cast<uint8_t>(-(k1[0] >> 7) & 0x87);
  for (size_t i = 0; i < 15; ++i) k1[i] = static_cast<uint8_t>(k1[i] << 1 | k1[i + 1] >> 7);
  k1[15] = static_cast<uint8_t>(k1[15] << 1) ^ reduce;
}

// The two counter-mode CMAC blocks are single blocks, so each is one AES call over the block xored with K1.
void Xaes::Derive(std::span<const uint8_t, kXaesNonce> nonce, std::span<uint8_t, kXaesKey> out) const {
  std::array<uint8_t, 32> blocks{};
  for (uint8_t half = 0; half < 2; ++half) {
    uint8_t* block = blocks.data() + 16 * half;
    block[1] = half + 1;
    block[2] = 'X';
    std::memcpy(block + 4, nonce.data(), 12);
    for (size_t i = 0; i < 16; ++i) block[i] ^= subkey_.bytes()[i];
  }
  EncryptBlocks(key_.bytes(), blocks, out.data());
  OPENSSL_cleanse(blocks.data(), blocks.size());
}

std::string Xaes::Seal(std::span<const uint8_t, kXaesNonce> nonce, std::string_view plain,
                       std::string_view associated) const {
  CHECK(plain.size() < (size_t{1} << 30) && associated.size() < (size_t{1} << 30));
  std::array<uint8_t, kXaesKey> derived;
  Derive(nonce, derived);
  Context context = NewContext();
  CHECK(EVP_EncryptInit_ex2(context.get(), Gcm(), derived.data(), nonce.data() + 12, nullptr) == 1);
  OPENSSL_cleanse(derived.data(), derived.size());
  int n = 0;
  if (!associated.empty())
    CHECK(EVP_EncryptUpdate(context.get(), nullptr, &n, Data(associated), static_cast<int>(associated.size())) == 1);
  std::string out(plain.size() + kXaesTag, '\0');
  auto* at = reinterpret_cast<uint8_t*>(out.data());
  if (!plain.empty()) {
    CHECK(EVP_EncryptUpdate(context.get(), at, &n, Data(plain), static_cast<int>(plain.size())) == 1);
    CHECK(n == static_cast<int>(plain.size()));
  }
  CHECK(EVP_EncryptFinal_ex(context.get(), at + plain.size(), &n) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kXaesTag, at + plain.size()) == 1);
  return out;
}

std::optional<std::string> Xaes::Open(std::span<const uint8_t, kXaesNonce> nonce, std::string_view sealed,
                                      std::string_view associated) const {
  if (sealed.size() < kXaesTag || sealed.size() >= (size_t{1} << 30)) return std::nullopt;
  std::string_view body = sealed.substr(0, sealed.size() - kXaesTag);
  std::array<uint8_t, kXaesKey> derived;
  Derive(nonce, derived);
  Context context = NewContext();
  CHECK(EVP_DecryptInit_ex2(context.get(), Gcm(), derived.data(), nonce.data() + 12, nullptr) == 1);
  OPENSSL_cleanse(derived.data(), derived.size());
  int n = 0;
  if (!associated.empty())
    CHECK(EVP_DecryptUpdate(context.get(), nullptr, &n, Data(associated), static_cast<int>(associated.size())) == 1);
  std::string out(body.size(), '\0');
  auto* at = reinterpret_cast<uint8_t*>(out.data());
  if (!body.empty()) CHECK(EVP_DecryptUpdate(context.get(), at, &n, Data(body), static_cast<int>(body.size())) == 1);
  std::array<uint8_t, kXaesTag> tag;
  std::memcpy(tag.data(), sealed.data() + body.size(), kXaesTag);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kXaesTag, tag.data()) == 1);
  if (EVP_DecryptFinal_ex(context.get(), at + body.size(), &n) != 1) {
    OPENSSL_cleanse(out.data(), out.size());
    return std::nullopt;
  }
  return out;
}

std::string SealEnvelope(const Xaes& key, const KeyId& id, std::string_view plain, std::string_view associated,
                         EnvelopeVersion version) {
  std::array<uint8_t, kXaesNonce> nonce;
  RandomBytes(nonce);
  std::string out(1, static_cast<char>(version));
  out.reserve(plain.size() + kEnvelopeOverhead);
  out.append(reinterpret_cast<const char*>(id.data()), id.size());
  out.append(reinterpret_cast<const char*>(nonce.data()), nonce.size());
  out += key.Seal(nonce, plain, out.substr(0, 9).append(associated));
  return out;
}

std::optional<KeyId> EnvelopeKeyId(std::string_view envelope, EnvelopeVersion version) {
  if (envelope.size() < kEnvelopeOverhead || envelope[0] != static_cast<char>(version)) return std::nullopt;
  KeyId id;
  std::memcpy(id.data(), envelope.data() + 1, id.size());
  return id;
}

std::optional<std::string> OpenEnvelope(const Xaes& key, std::string_view envelope, std::string_view associated,
                                        EnvelopeVersion version) {
  if (!EnvelopeKeyId(envelope, version)) return std::nullopt;
  std::array<uint8_t, kXaesNonce> nonce;
  std::memcpy(nonce.data(), envelope.data() + 9, nonce.size());
  return key.Open(nonce, envelope.substr(9 + kXaesNonce), std::string(envelope.substr(0, 9)).append(associated));
}

}  // namespace ecluse
