// Sealing and opening values on one core: `vault_bench`, a line `bytes opened sealed` a second for each size.
#include <chrono>
#include <cstdio>
#include <string>

#include "base/check.h"
#include "base/random.h"
#include "vault/sealed_value.h"

namespace ecluse {
namespace {

// Calls a second of `work`, over about a second.
template <typename Work>
double Rate(const Work& work) {
  using Clock = std::chrono::steady_clock;
  const auto begun = Clock::now();
  uint64_t calls = 0;
  double seconds = 0;
  while (seconds < 1) {
    for (int i = 0; i < 64; ++i) work();
    calls += 64;
    seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  }
  return static_cast<double>(calls) / seconds;
}

void Measure() {
  Secret bytes(kXaesKey);
  RandomBytes(bytes.mutable_bytes());
  const Xaes key(std::move(bytes));
  const KeyId id{1, 2, 3, 4, 5, 6, 7, 8};
  const Cell cell{"bench", "bench.sealed", "family_name", "person:1234567"};
  for (const size_t size : {16, 64, 256, 1024, 8192, 16384}) {
    const std::string plain(size, 'x');
    const std::string envelope = SealValue(key, id, cell, plain);
    const double opened = Rate([&] { CHECK(OpenValue(key, cell, envelope).has_value()); });
    const double sealed = Rate([&] { CHECK(!SealValue(key, id, cell, plain).empty()); });
    std::printf("%zu %.0f %.0f\n", size, opened, sealed);
  }
}

}  // namespace
}  // namespace ecluse

int main() {
  ecluse::Measure();
  return 0;
}
