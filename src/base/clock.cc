#include "base/clock.h"

#include <ctime>

#include "base/check.h"

namespace ecluse {
namespace {

int64_t Micros(clockid_t id) {
  timespec now{};
  CHECK(clock_gettime(id, &now) == 0);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
}

class MachineClock final : public Clock {
 public:
  int64_t WallMicros() const override { return Micros(CLOCK_REALTIME); }
  int64_t BootMicros() const override { return Micros(CLOCK_BOOTTIME); }
};

}  // namespace

const Clock& SystemClock() {
  static const MachineClock clock;
  return clock;
}

}  // namespace ecluse
