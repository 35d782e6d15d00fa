#include "base/random.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/check.h"

namespace ecluse {
namespace {

constexpr size_t kSmall = 64;

std::atomic<unsigned> forks = 0;

void Generate(std::span<uint8_t> out) {
  while (!out.empty()) {
    size_t n = std::min<size_t>(out.size(), 1 << 20);
    CHECK(RAND_bytes(out.data(), static_cast<int>(n)) == 1);
    out = out.subspan(n);
  }
}

// Bytes made together, each given out once and wiped: a call of the generator costs as much as sealing a short text.
class Stock {
 public:
  Stock() {
    static const int watching = pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1); });
    CHECK(watching == 0);
  }
  ~Stock() {
    OPENSSL_cleanse(bytes_.data(), bytes_.size());
    left_ = 0;  // whoever asks while the thread ends gets fresh ones
  }

  void Take(std::span<uint8_t> out) {
    // A child process would otherwise give out what its parent does.
    if (left_ < out.size() || forks_ != forks.load(std::memory_order_relaxed)) {
      Generate(bytes_);
      left_ = bytes_.size();
      forks_ = forks.load(std::memory_order_relaxed);
    }
    uint8_t* from = bytes_.data() + bytes_.size() - left_;
    std::memcpy(out.data(), from, out.size());
    OPENSSL_cleanse(from, out.size());
    left_ -= out.size();
  }

 private:
  std::array<uint8_t, 4'096> bytes_;
  size_t left_ = 0;
  unsigned forks_ = 0;
};

}  // namespace

void RandomBytes(std::span<uint8_t> out) {
  if (out.empty()) return;
  if (out.size() > kSmall) return Generate(out);
  thread_local Stock stock;
  stock.Take(out);
}

uint64_t RandomU64() {
  uint64_t value;
  RandomBytes({reinterpret_cast<uint8_t*>(&value), sizeof value});
  return value;
}

}  // namespace ecluse
