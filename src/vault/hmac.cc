// OpenSSL 3 calls the SHA256_* functions deprecated in favour of EVP, which allocates on every copy of a state: three
// times slower for the short messages that are signed for every row.
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
#include "vault/hmac.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <array>
#include <cstring>

#include "base/check.h"

namespace ecluse {

struct HmacKey::States {
  SHA256_CTX inner;
  SHA256_CTX outer;
  ~States() { OPENSSL_cleanse(this, sizeof *this); }
};

HmacKey::HmacKey(std::span<const uint8_t> key) : states_(std::make_unique<States>()) {
  std::array<uint8_t, SHA256_CBLOCK> block{};
  if (key.size() > block.size()) {
    CHECK(SHA256(key.data(), key.size(), block.data()) != nullptr);
  } else if (!key.empty()) {
    std::memcpy(block.data(), key.data(), key.size());
  }
  for (auto& byte : block) byte ^= 0x36;
  CHECK(SHA256_Init(&states_->inner) == 1 && SHA256_Update(&states_->inner, block.data(), block.size()) == 1);
  for (auto& byte : block) byte ^= 0x36 ^ 0x5c;
  CHECK(SHA256_Init(&states_->outer) == 1 && SHA256_Update(&states_->outer, block.data(), block.size()) == 1);
  OPENSSL_cleanse(block.data(), block.size());
}

HmacKey::~HmacKey() = default;
HmacKey::HmacKey(HmacKey&&) noexcept = default;
HmacKey& HmacKey::operator=(HmacKey&&) noexcept = default;

void HmacKey::Sign(std::initializer_list<std::string_view> parts, std::span<uint8_t> out) const {
  CHECK(out.size() <= SHA256_DIGEST_LENGTH);
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  SHA256_CTX state = states_->inner;
  for (std::string_view part : parts) CHECK(SHA256_Update(&state, part.data(), part.size()) == 1);
  CHECK(SHA256_Final(digest.data(), &state) == 1);
  state = states_->outer;
  CHECK(SHA256_Update(&state, digest.data(), digest.size()) == 1);
  CHECK(SHA256_Final(digest.data(), &state) == 1);
  std::memcpy(out.data(), digest.data(), out.size());
  OPENSSL_cleanse(digest.data(), digest.size());
}

}  // namespace ecluse
