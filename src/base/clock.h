// Time behind a seam, so that tests and simulations can lie about it.
#pragma once

#include <cstdint>

namespace ecluse {

// Microseconds. Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t WallMicros() const = 0;  // UTC since 1970, CLOCK_REALTIME
  virtual int64_t BootMicros() const = 0;  // since boot, counts suspend, never steps: CLOCK_BOOTTIME
};

// The machine's clock; one for the process.
const Clock& SystemClock();

// A clock a test moves by hand. Thread-safe.
class FakeClock;

}  // namespace ecluse
