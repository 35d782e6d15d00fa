// Time behind a seam, so that tests and simulations can lie about it.
#pragma once

#include <atomic>
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
class FakeClock final : public Clock {
 public:
  // Starts at `wall` (UTC since 1970; by default some day in 2024) and `boot`.
  explicit FakeClock(int64_t wall = 1'714'564'800'000'000, int64_t boot = 1'000'000'000)
      : boot_(boot), ahead_(wall - boot) {}

  int64_t WallMicros() const override { return BootMicros() + ahead_.load(std::memory_order_relaxed); }
  int64_t BootMicros() const override { return boot_.load(std::memory_order_relaxed); }

  // Time passes: both move at once.
  void Advance(int64_t micros) { boot_ += micros; }
  // Somebody sets the clock: only the wall clock moves, and may move back.
  void StepWall(int64_t micros) { ahead_ += micros; }

 private:
  std::atomic<int64_t> boot_;
  std::atomic<int64_t> ahead_;  // of the wall clock, from the boot clock
};

}  // namespace ecluse
