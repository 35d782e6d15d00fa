#include "base/random.h"

#include <openssl/rand.h>

#include <algorithm>

#include "base/check.h"

namespace ecluse {

void RandomBytes(std::span<uint8_t> out) {
  while (!out.empty()) {
    size_t n = std::min<size_t>(out.size(), 1 << 20);
    CHECK(RAND_bytes(out.data(), static_cast<int>(n)) == 1);
    out = out.subspan(n);
  }
}

uint64_t RandomU64() {
  uint64_t value;
  RandomBytes({reinterpret_cast<uint8_t*>(&value), sizeof value});
  return value;
}

}  // namespace ecluse
