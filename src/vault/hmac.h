// HMAC-SHA-256 (RFC 2104) under a fixed key, fast enough to run for every row.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

namespace ecluse {

// The key as two hash states already past their first block: a short message costs two compressions and no allocation.
// Immutable after construction: safe for any number of threads. Wiped on destruction.
class HmacKey {
 public:
  explicit HmacKey(std::span<const uint8_t> key);
  ~HmacKey();
  HmacKey(HmacKey&&) noexcept;
  HmacKey& operator=(HmacKey&&) noexcept;

  // The first out.size() (at most 32) bytes of the HMAC of `parts` one after the other.
  void Sign(std::initializer_list<std::string_view> parts, std::span<uint8_t> out) const;

 private:
  struct States;
  std::unique_ptr<States> states_;
};

}  // namespace ecluse
